// SPDX-License-Identifier: GPL-3.0-or-later
//
// The reports of `status`: one merge or copy, and the list of all.

#include <algorithm>
#include <array>

#include "cli/show/report.h"
#include "io/text.h"

namespace extmerge {

std::string status_text(const MergeStatus& status, const SizeFormat& sizes,
                        const std::optional<SystemChanges>& changes) {
  const MergeRecord& record = status.record;
  const auto size = [&](Bytes bytes) { return format_size(bytes, sizes); };
  std::string text = (record.is_copy() ? "Copy of thin " : "Merge of thin ") +
                     std::to_string(value(record.thin_id)) +
                     (record.is_copy() ? " to " : " into ") + printable(record.origin.path) + "\n";
  const bool waits = status.running && changes && changes->waiting;
  text +=
      report_line("state", waits ? "waiting: " + changes->thin_name() + " may be closed now"
                                 : state_text(status.state) + (status.running ? ", running" : ""));
  text += report_line("durable",
                      size(status.progress.position) + " of " + size(record.copy_bytes) +
                          (record.base ? ", changed since the " + record.deed() + " before" : ""));
  text += report_line("read", size(status.progress.counters.bytes_read));
  text += report_line("equal already", size(status.progress.counters.bytes_compared_equal));
  text += report_line("written", size(status.progress.counters.bytes_written));
  text += report_line("metadata", record.metadata.path);
  text += report_line("data", record.data.path);
  if (record.is_copy())
    text +=
        report_line("origin", record.copy->origin.path) +
        report_line("parts", record.copy->whole ? "all that the thin shows" : "what the thin maps");
  text += report_line("plan", to_string(record.digest));
  if (!record.undo_log.empty()) text += report_line("undo log", record.undo_log);
  text += report_line("journal", status.journal);
  const bool is_over = status.state == JournalState::kDone || status.state == JournalState::kUndone;
  if (is_over || status.running) return text;
  if (status.state == JournalState::kUndoing)
    return text + report_line("next", "extmerge undo " + shell_word(status.journal));
  if (!changes) return text + report_line("next", "extmerge resume " + shell_word(status.journal));
  // Without a freeze a merge restarts from the beginning.
  const std::string name =
      changes->is_of_lvm() ? changes->thin_name() : "/dev/mapper/" + changes->thin;
  if (record.is_copy())
    return text + report_line("next", "extmerge resume " + shell_word(status.journal));
  const char* const deed = changes->freeze.empty() ? "extmerge merge " : "extmerge resume ";
  return text + report_line("next", deed + shell_word(name));
}

std::string status_table(const std::vector<MergeStatus>& all, bool headings,
                         const SizeFormat& sizes) {
  std::vector<std::array<std::string, 6>> rows;
  const bool has_copies = std::ranges::any_of(
      all, [](const MergeStatus& status) { return !status.damage && status.record.is_copy(); });
  if (headings)
    rows.push_back(
        {"STATE", "DURABLE", "TOTAL", "THIN", has_copies ? "ORIGIN/TARGET" : "ORIGIN", "JOURNAL"});
  for (const MergeStatus& status : all) {
    if (status.damage) {
      rows.push_back(
          {to_string(status.damage->id()), "-", "-", "-", "-", printable(status.journal)});
      continue;
    }
    rows.push_back({state_text(status.state) + (status.running ? ",running" : ""),
                    format_size(status.progress.position, sizes),
                    format_size(status.record.copy_bytes, sizes),
                    std::to_string(value(status.record.thin_id)),
                    printable(status.record.origin.path), printable(status.journal)});
  }
  std::array<size_t, 6> width{};
  for (const auto& row : rows) {
    for (size_t i = 0; i < row.size(); ++i) width[i] = std::max(width[i], row[i].size());
  }
  std::string text;
  for (const auto& row : rows) {
    for (size_t i = 0; i + 1 < row.size(); ++i)
      text += row[i] + std::string(width[i] - row[i].size() + 2, ' ');
    text += row.back() + "\n";
  }
  return text;
}

std::string changes_text(const SystemChanges& changes) {
  std::string text = report_line("of", changes.thin_name());
  if (!changes.freeze.empty()) text += report_line("frozen in", changes.vg + "/" + changes.freeze);
  if (changes.origin_marked)
    text += report_line("marked", changes.origin_name() + ": half merged, skips activation");
  if (changes.is_of_lvm()) {
    const auto writable = origin_is_writable(changes);
    text += report_line("origin", changes.origin_name() + (!writable   ? ""
                                                           : *writable ? ", writable now"
                                                                       : ", read-only"));
  }
  if (!changes.given_up.empty())
    text += report_line("given up",
                        joined(changes.given_up_names(), ", ") + ": " +
                            (changes.removing ? "about to be removed" : "contents are lost"));
  if (changes.holding) {
    text += report_line("metadata snapshot", "reserved in " + changes.pool + ", or about to be");
  }
  if (changes.sibling_pool.holding) {
    text += report_line("metadata snapshot",
                        "reserved in " + changes.sibling_pool.pool + ", or about to be");
  }
  if (changes.thin_kept_inactive) text += report_line("kept inactive", changes.thin_name());
  if (!changes.pool_was_active)
    text += report_line("activated", "the pool of " + changes.thin_name());
  if (changes.origin_activated) text += report_line("activated", changes.origin_name());
  if (changes.removing)
    text += report_line("next", "extmerge merge --finish " + shell_word(changes.thin_name()));
  return text;
}

}  // namespace extmerge
