// SPDX-License-Identifier: GPL-3.0-or-later
//
// Standard output: a result that cannot be written is a failure.

#pragma once

#include <string_view>

namespace extmerge {

// Writes to a buffer. Throws Error(kOutputFailed).
void print(std::string_view text);
// Writes the buffer. Throws Error(kOutputFailed).
void flush_output();

}  // namespace extmerge
