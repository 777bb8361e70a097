// SPDX-License-Identifier: GPL-3.0-or-later
//
// What systemd is told and expects of a service, as sd_notify(3) and sd-daemon(3) say, without
// its library: nothing where the program is no service.

#pragma once

#include <string>
#include <string_view>

namespace extmerge {

// Sends `state`, such as "READY=1", to NOTIFY_SOCKET. A manager that does not listen is no failure.
void notify_service_manager(const std::string& state);

// Whether what is written to `fd` goes to the journal, which takes "<3>" before a line for its
// level (JOURNAL_STREAM names that very file).
bool goes_to_journal(int fd);

// `text` with that before each of its lines; 3 is an error, 7 the least.
std::string with_level(std::string_view text, int level);

}  // namespace extmerge
