// SPDX-License-Identifier: GPL-3.0-or-later

#include "cli/show/report.h"

#include <algorithm>
#include <array>
#include <cstdio>

#include "io/text.h"

namespace extmerge {

std::string report_line(const std::string& label, const std::string& value) {
  constexpr size_t kValueColumn = 21;
  std::string text = "  " + label;
  text.resize(std::max(text.size() + 1, kValueColumn), ' ');
  return text + printable(value) + "\n";
}

namespace {

const auto line = report_line;

std::string id_text(ThinId id) { return "thin " + std::to_string(value(id)); }

// "vg/snap (thin 3)", or only the id.
std::string thin_text(ThinId id, const DeviceNames& names) {
  return names.thin_name.empty() ? id_text(id)
                                 : printable(names.thin_name) + " (" + id_text(id) + ")";
}

// The destination.
std::string origin_text(const DeviceNames& names) {
  if (!names.target.empty()) return printable(names.target);
  return printable(names.origin_name.empty() ? names.origin : names.origin_name);
}

std::string seconds_text(double seconds) {
  std::array<char, 32> text{};
  std::snprintf(text.data(), text.size(), "%.1f s", seconds);
  return text.data();
}

std::string time_and_rate(double seconds, Bytes bytes, const SizeFormat& sizes) {
  std::string text = seconds_text(seconds);
  if (seconds > 0) {
    const auto rate = static_cast<uint64_t>(static_cast<double>(bytes.value()) / seconds);
    text += ", " + format_size(Bytes(rate), sizes) + "/s";
  }
  return text;
}

std::string metadata_text(const PlanReport& report) {
  return report.metadata_snap == MetadataBlock(0)
             ? "live tree"
             : "metadata snapshot in block " + std::to_string(report.metadata_snap.value());
}

// "base <- mon <- tue": each is a snapshot of the one to its left. Nothing for a volume without an
// older one.
std::string chain_line(const std::vector<std::string>& chain) {
  constexpr size_t kOriginAndThin = 2;
  if (chain.size() <= kOriginAndThin) return {};
  std::vector<std::string> names;
  for (const std::string& name : chain) names.push_back(name.substr(name.find('/') + 1));
  return line("chain", printable(joined(names, " <- ")));
}

std::string given_up_line(const std::vector<std::string>& names, const std::string& fate) {
  return names.empty() ? "" : line("given up", printable(joined(names, ", ")) + ": " + fate);
}

std::string sibling_lines(const PlanReport& report, const SizeFormat& sizes, bool all) {
  const bool some_given_up = !report.given_up.empty();
  const std::vector<Sibling>& siblings = report.siblings;
  const bool known = report.siblings_are_known;
  const std::string label = known ? "siblings" : "possible siblings";
  // A pool can have 100,000 thins; harmed siblings come first.
  const size_t most = all ? siblings.size() : kMostNamed;
  std::vector<const Sibling*> order;
  for (const Sibling& sibling : siblings) order.push_back(&sibling);
  std::stable_sort(order.begin(), order.end(), [](const Sibling* a, const Sibling* b) {
    return (a->harmed_blocks > 0) > (b->harmed_blocks > 0);
  });
  std::string text;
  for (size_t i = 0; i < std::min(order.size(), most); ++i) {
    const Sibling& sibling = *order[i];
    std::string value = id_text(sibling.id);
    if (!sibling.name.empty()) value += " (" + sibling.name + ")";
    // In another pool.
    const bool has_others =
        sibling.block_size != DataBlockSize() && sibling.block_size != report.limits.block_size;
    value += sibling.unreadable
                 ? ": its mappings cannot be read" +
                       (sibling.reason ? ": " + std::string(sibling.reason->what()) : "")
             : sibling.harmed_blocks == 0
                 ? ": nothing would change"
                 : ": " + plural(sibling.harmed_blocks, "block") +
                       (has_others ? " of " + format_size(sibling.block_size.bytes(), sizes) : "") +
                       (report.keeps_siblings ? " would be copied up first" : " would change") +
                       (known ? "" : " if it has this origin");
    text += line(i == 0 ? label : "", value);
  }
  if (order.size() > most) {
    const auto harmed = std::count_if(order.begin() + static_cast<ptrdiff_t>(most), order.end(),
                                      [](const Sibling* one) { return one->harmed_blocks > 0; });
    text += line("", "and " + std::to_string(order.size() - most) + " more, of which " +
                         std::to_string(harmed) + " would change (-v names all)");
  }
  if (order.empty())
    text +=
        line(label, !known          ? "none: the pool has no other thin"
                    : some_given_up ? "none: only the volumes that are given up read this origin"
                                    : "none: no other volume reads this origin");
  return text;
}

std::string deed_of(const PlanReport& report) { return report.is_copy ? "copy" : "merge"; }

std::string base_text(const PlanReport& report) {
  return report.since.empty() ? "the last " + deed_of(report)
                              : "the copy of " + printable(report.since);
}

std::string round_text(const PlanReport& report) {
  return report.base ? "only what changed since " + base_text(report)
                     : "everything: " + report.full_reason;
}

std::string nothing_new_text(const PlanReport& report, const DeviceNames& names) {
  const std::string thin =
      names.thin_name.empty() ? id_text(report.thin_id) : printable(names.thin_name);
  return "nothing was written to " + thin + " since it was " +
         (report.is_copy ? "copied to " : "merged into ") + origin_text(names);
}

}  // namespace

std::string plan_text(const PlanReport& report, const DeviceNames& names, const SizeFormat& sizes,
                      bool all_siblings) {
  const PlanSummary& sum = report.summary;
  const auto size = [&](Bytes bytes) { return format_size(bytes, sizes); };
  std::string text = (report.is_copy ? "Copy of " : "Merge of ") +
                     thin_text(report.thin_id, names) + (report.is_copy ? " to " : " into ") +
                     origin_text(names) + "\n";
  text += line("metadata", names.metadata + ", " + metadata_text(report) + ", transaction " +
                               std::to_string(report.transaction_id));
  text += line("data", names.data + ", blocks of " + size(report.limits.block_size.bytes()));
  text += line("origin", names.origin + ", " + size(report.origin_bytes));
  if (report.is_copy)
    text += line("target", names.target + ", " + size(report.target_bytes) +
                               (report.is_whole ? ", gets all that the thin shows" : ""));
  text += line("thin size", report.limits.thin_end ? size(*report.limits.thin_end) : "unknown");
  text += line("mapped", plural(sum.mapped_blocks, "block") + ", " +
                             size(report.limits.block_size.length(sum.mapped_blocks)));
  text += line("to be copied", plural(sum.copy_blocks, "block") + " in " +
                                   plural(sum.runs - sum.held_runs, "run") + ", " +
                                   size(sum.copy_bytes) +
                                   (report.base ? ", changed since " + base_text(report) : ""));
  text += line("round", round_text(report));
  if (!report.is_copy) text += line("beyond the origin", size(sum.beyond_origin_bytes));
  if (report.limits.thin_end) text += line("beyond the thin", size(sum.beyond_thin_bytes));
  text += chain_line(report.chain);
  text += given_up_line(report.given_up, "contents are lost from the first write on");
  if (!report.is_copy) text += sibling_lines(report, sizes, all_siblings);
  if (report.undo_log) {
    const UndoLogEstimate& log = *report.undo_log;
    text += line("undo log", log.path + ", " +
                                 (log.expected ? "about " + size(*log.expected) + ", " : "") +
                                 "at most " + size(log.most));
  }
  if (report.map) {
    const PlannedShares shares = shares_of(*report.map);
    text += line("compared", compared_text(*report.map, sizes));
    text += line("equal already", size(shares.equal));
    text += line("different", size(shares.different));
    if (shares.unknown > Bytes(0)) text += line("not compared", size(shares.unknown));
  }
  if (report.resumable_from)
    text += line("done already", size(*report.resumable_from) + ", a " + deed_of(report) +
                                     " would continue from there");
  text += line("plan", to_string(sum.digest));
  for (const std::string& note : report.notes) text += line("note", note);
  if (report.refusals.empty())
    return text + line("result", report.nothing_new ? "nothing to " + deed_of(report) + ": " +
                                                          nothing_new_text(report, names)
                                                    : "a " + deed_of(report) + " would start");
  std::string ids;
  for (const Error& refusal : report.refusals)
    ids += (ids.empty() ? "" : ", ") + to_string(refusal.id());
  return text + line("result", "a " + deed_of(report) + " would not start: " + ids);
}

std::string compared_text(const OriginMap& map, const SizeFormat& sizes) {
  const Bytes compared = map.total(OriginMap::kCompared);
  if (map.is_exact()) return "all of it";
  if (compared == Bytes(0)) return "nothing, since the origin cannot be read now";
  return "a sample of " + format_size(compared, sizes) +
         "; what is equal or different is an estimate";
}

std::string merge_text(const MergeReport& report, const DeviceNames& names,
                       const SizeFormat& sizes) {
  const auto size = [&](Bytes bytes) { return format_size(bytes, sizes); };
  std::string text;
  if (report.plan.nothing_new) {
    text =
        "Nothing to " + deed_of(report.plan) + ": " + nothing_new_text(report.plan, names) + "\n";
    for (const std::string& note : report.plan.notes) text += line("note", note);
    return text + line("journal", report.journal);
  }
  text = (report.plan.is_copy ? "Copied " : "Merged ") + thin_text(report.plan.thin_id, names) +
         (report.plan.is_copy ? " to " : " into ") + origin_text(names) + "\n";
  text += line("round", round_text(report.plan));
  text += line("read", size(report.counters.bytes_read));
  text += line("equal already", size(report.counters.bytes_compared_equal));
  text += line("written", size(report.counters.bytes_written));
  text +=
      line("time", time_and_rate(report.seconds, report.total_bytes - report.resumed_from, sizes));
  if (report.resumed_from > Bytes(0)) text += line("resumed from", size(report.resumed_from));
  text += line("verified", verified_text(report.verified));
  text += given_up_line(report.plan.given_up, "contents are lost");
  if (!report.undo_log.empty()) text += line("undo log", report.undo_log);
  return text + line("journal", report.journal);
}

std::string verify_text(const VerifyReport& report, const DeviceNames& names,
                        const SizeFormat& sizes) {
  const VerifyResult& result = report.result;
  std::string text =
      "Compared " + origin_text(names) + " with " + thin_text(report.plan.thin_id, names) + "\n";
  text += line("compared", format_size(result.bytes_compared, sizes));
  text += line("different", format_size(result.bytes_different, sizes));
  if (result.first_difference)
    text += line("first at", "byte " + std::to_string(result.first_difference->value()));
  text += line("time", time_and_rate(report.seconds, result.bytes_compared, sizes));
  for (const std::string& note : report.plan.notes) text += line("note", note);
  return text + line("result", result.first_difference ? "they differ"
                               : report.plan.is_copy && !report.plan.is_whole
                                   ? "equal, in what the thin maps"
                                   : "equal");
}

std::string contents_text(const ContentsReport& report, const DeviceNames& names,
                          const std::string& path, const SizeFormat& sizes) {
  const auto size = [&](Content content) { return format_size(report.of(content), sizes); };
  std::string text = "Map of " + thin_text(report.thin_id, names) + " over " + origin_text(names) +
                     "\n" + line("thin size", format_size(report.limits.mapped.end, sizes)) +
                     line("own data", size(Content::kPoolData)) +
                     line("origin's data", size(Content::kOrigin)) +
                     line("zeros", size(Content::kZeros)) + line("same", size(Content::kSame));
  for (const std::string& note : report.notes) text += line("note", note);
  return text + line("map", path + ", " + plural(report.ranges, "range"));
}

std::string undo_text(const UndoReport& report, const SizeFormat& sizes) {
  const auto size = [&](Bytes bytes) { return format_size(bytes, sizes); };
  const std::string deed = report.is_copy ? "copy" : "merge";
  if (report.was_undone) {
    return "The " + deed + " in " + printable(report.journal) +
           " was undone before; nothing was done\n";
  }
  std::string text =
      "Undone: " + printable(report.origin) + " is as it was before the " + deed + "\n";
  text += line("put back", size(report.saved_bytes) + " in " + plural(report.ranges, "range"));
  text += line(report.is_copy ? "target" : "origin", size(report.origin_bytes));
  text += line("time", time_and_rate(report.seconds, report.saved_bytes, sizes));
  text += line("verified", "full");
  text += line("undo log", report.undo_log);
  return text + line("journal", report.journal);
}

std::string question(const PlanReport& report, const DeviceNames& names, bool ends_use) {
  const std::string thin =
      names.thin_name.empty() ? id_text(report.thin_id) : printable(names.thin_name);
  std::vector<std::string> removed = {thin};
  std::string lost;
  for (const std::string& name : report.given_up) {
    removed.push_back(printable(name));
    lost += (lost.empty() ? "" : ", ") + printable(name);
  }
  return (report.is_copy ? "Copy " : "Merge ") + format_size(report.summary.copy_bytes) + " (" +
         plural(report.summary.copy_blocks, "block") + ") of " + thin +
         (report.is_copy ? " to " : " into ") + origin_text(names) +
         (lost.empty() ? "" : ", destroy the contents of " + lost) +
         (!ends_use        ? ""
          : report.is_copy ? ", then keep " + thin + " inactive"
                           : ", then remove " + joined(removed, ", ") + " for good") +
         "? [y/N] ";
}

std::string ranges_heading() { return "ORIGIN_BLOCK DATA_BLOCK BLOCKS\n"; }

std::string ranges_line(const Run& run) {
  return std::to_string(run.thin.value()) + " " + std::to_string(run.data.value()) + " " +
         std::to_string(run.blocks) + "\n";
}

const char* verified_text(VerifyChoice choice) {
  switch (choice) {
    case VerifyChoice::kNone:
      return "none";
    case VerifyChoice::kSample:
      return "sample";
    case VerifyChoice::kChanged:
      return "changed";
    case VerifyChoice::kFull:
      return "full";
  }
  return "";
}

Error difference_error(const VerifyReport& report, const DeviceNames& names) {
  const VerifyResult& result = report.result;
  return Error(MessageId::kDiffers,
               std::to_string(result.bytes_different.value()) + " of " +
                   std::to_string(result.bytes_compared.value()) + " bytes of the " +
                   (report.plan.is_copy ? "target " : "origin ") + origin_text(names) +
                   " differ from " + thin_text(report.plan.thin_id, names) +
                   ", the first at byte " + std::to_string(result.first_difference->value()),
               "before a " + deed_of(report.plan) +
                   " this is expected; after one, another program "
                   "has written to the " +
                   (report.plan.is_copy ? "target" : "origin") +
                   " or to the thin: find that program before you " + deed_of(report.plan) +
                   " again");
}

}  // namespace extmerge
