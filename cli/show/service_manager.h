// SPDX-License-Identifier: GPL-3.0-or-later
//
// Notifications to systemd, as sd_notify(3) and sd-daemon(3) define them, without its library.
// Nothing is sent if the program is not a service.

#pragma once

#include <string>
#include <string_view>

namespace extmerge {

// Sends `state`, such as "READY=1", to NOTIFY_SOCKET. A manager that does not listen is ignored.
void notify_service_manager(const std::string& state);

// Whether `fd` leads to systemd's journal, as JOURNAL_STREAM says. There "<3>" before a line gives
// its level.
bool goes_to_journal(int fd);

// `text` with its level before each line; 3 is an error, 7 the lowest.
std::string with_level(std::string_view text, int level);

}  // namespace extmerge
