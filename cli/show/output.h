// SPDX-License-Identifier: GPL-3.0-or-later
//
// Standard output, where a result that could not be written is a failure and
// not a silence.

#pragma once

#include <string_view>

namespace extmerge {

// Buffered. Throws Error(kOutputFailed).
void print(std::string_view text);
// Writes what is buffered; likewise.
void flush_output();

}  // namespace extmerge
