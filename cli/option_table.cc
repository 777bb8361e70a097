// SPDX-License-Identifier: GPL-3.0-or-later

#include "cli/option_table.h"

#include <algorithm>
#include <initializer_list>
#include <sstream>
#include <utility>

namespace extmerge {

namespace {

constexpr unsigned kPlan = bit(Command::kPlan);
constexpr unsigned kMerge = bit(Command::kMerge);
constexpr unsigned kCopying = bit(Command::kCopy);
constexpr unsigned kResume = bit(Command::kResume);
constexpr unsigned kVerify = bit(Command::kVerify);
constexpr unsigned kStatus = bit(Command::kStatus);
constexpr unsigned kUndo = bit(Command::kUndo);
constexpr unsigned kAbort = bit(Command::kAbort);
constexpr unsigned kBeginning = kMerge | kCopying;
constexpr unsigned kWithSource = kPlan | kBeginning | kVerify;
constexpr unsigned kWriting = kBeginning | kResume;
constexpr unsigned kMoving = kWriting | kVerify;     // reads or writes data
constexpr unsigned kLong = kMoving | kPlan | kUndo;  // shows progress
constexpr unsigned kAll = kLong | kStatus | kAbort;

constexpr uint64_t kKiB = 1024, kMiB = 1024 * kKiB, kGiB = 1024 * kMiB;

std::string not_empty(const std::string& value, const char* option) {
  if (!value.empty()) return value;
  throw Error(MessageId::kUsage, std::string(option) + " has an empty value", "name a path");
}

// The parts between commas.
std::vector<std::string> names_of_list(const std::string& value, const char* option) {
  std::vector<std::string> names;
  std::istringstream stream(value + ",");
  for (std::string name; std::getline(stream, name, ',');) names.push_back(name);
  if (std::ranges::find(names, "") == names.end()) return names;
  throw Error(MessageId::kUsage, std::string(option) + " has an empty name: '" + value + "'",
              "write the names with one comma between two of them: OLDER,OLDER");
}

template <typename T>
T choose(const std::string& value, const char* option,
         std::initializer_list<std::pair<const char*, T>> choices) {
  std::string names;
  for (const auto& [name, choice] : choices) {
    if (value == name) return choice;
    names += (names.empty() ? "" : ", ") + std::string(name);
  }
  throw Error(MessageId::kUsage, std::string(option) + ": '" + value + "' is none of its values",
              "it takes one of " + names);
}

void set_metadata_snap(Options& o, const std::string& value) {
  // -m5, -m=5, --metadata-snap=5; without a value the held root.
  const std::string number = value.starts_with('=') ? value.substr(1) : value;
  if (value.empty()) return;
  o.root_choice = RootChoice::kBlock;
  o.root_block = MetadataBlock(parse_number(number, "--metadata-snap", 1, kMaxMetadataBlocks - 1));
}

// A size, or seconds written as Ns. Setting one turns the other off.
void set_checkpoint_interval(Options& o, const std::string& value) {
  constexpr const char* kName = "--checkpoint-interval";
  if (value.ends_with('s')) {
    const uint64_t seconds = parse_number(value.substr(0, value.size() - 1), kName, 1, 86400);
    o.merge.pipeline.checkpoint_time = std::chrono::seconds(seconds);
    o.merge.pipeline.checkpoint_bytes = Bytes(INT64_MAX);
    return;
  }
  o.merge.pipeline.checkpoint_bytes =
      parse_size(value, kName, Bytes(64 * kKiB), Bytes(1024 * kGiB));
  o.merge.pipeline.checkpoint_time = std::chrono::hours(24 * 365);
}

// Seconds, or a number with its unit.
std::chrono::seconds parse_time(const std::string& value, const char* option) {
  uint64_t unit = 1;
  if (value.ends_with('m')) unit = 60;
  if (value.ends_with('h')) unit = 3600;
  if (value.ends_with('d')) unit = 86400;
  const bool has_unit = unit > 1 || value.ends_with('s');
  const std::string number = value.substr(0, value.size() - (has_unit ? 1 : 0));
  return std::chrono::seconds(unit * parse_number(number, option, 1, 366 * 86400 / unit));
}

void set_units(Options& o, const std::string& value) {
  if (value.size() != 1 || !is_unit(value[0]))
    throw Error(
        MessageId::kUsage, "--units: '" + value + "' is no unit",
        "it takes one letter of b, s, k, m, g, t, p, e, h, r; a capital one counts in 1000s");
  o.sizes.unit = value[0];
}

unsigned small_number(const std::string& value, const char* option, unsigned least, unsigned most) {
  return static_cast<unsigned>(parse_number(value, option, least, most));
}

using G = OptionGroup;
using V = const std::string&;

constexpr OptionRow kOptions[] = {
    {G::kSource, "metadata", 0, "DEV", kWithSource, "Read the pool's metadata from DEV",
     [](Options& o, V v) { o.metadata = not_empty(v, "--metadata"); }},
    {G::kSource, "data", 0, "DEV", kWithSource, "Read the pool's data from DEV",
     [](Options& o, V v) { o.data = not_empty(v, "--data"); }},
    {G::kSource, "thin-id", 0, "N", kWithSource, "Select the thin by its dev_id",
     [](Options& o, V v) {
       o.thin_id = static_cast<ThinId>(parse_number(v, "--thin-id", 0, kMaxThinId));
     }},
    {G::kSource, "origin", 0, "DEV", kWithSource, "Use DEV as the external origin",
     [](Options& o, V v) { o.origin = not_empty(v, "--origin"); }},
    {G::kSource, "metadata-snap", 'm', "[=BLOCK]", kWithSource,
     "Read the held metadata snapshot, or BLOCK", set_metadata_snap},
    {G::kSource, "live-root", 0, nullptr, kWithSource, "Read the live tree of an inactive pool",
     [](Options& o, V) { o.root_choice = RootChoice::kLive; }},
    {G::kSource, "thin-size", 0, "SIZE", kWithSource, "Set the thin's length (not in metadata)",
     [](Options& o, V v) { o.thin_size = parse_size(v, "--thin-size", Bytes(kSectorSize)); }},
    {G::kSource, "beyond-origin", 0, "WHAT", kPlan | kMerge | kVerify,
     "Handle data past the end: refuse,drop,extend",
     [](Options& o, V v) {
       o.merge.beyond_origin =
           choose<BeyondOriginChoice>(v, "--beyond-origin",
                                      {{"refuse", BeyondOriginChoice::kRefuse},
                                       {"drop", BeyondOriginChoice::kDrop},
                                       {"extend", BeyondOriginChoice::kExtend}});
     }},

    {G::kPlan, "allow-stale", 0, nullptr, kLong, "Accept that the thin (undo: origin) changed",
     [](Options& o, V) { o.merge.overrides.allow_stale = true; }},
    {G::kPlan, "allow-shared-origin", 0, nullptr, kPlan | kMerge | kResume | kUndo,
     "Accept that another thin changes",
     [](Options& o, V) { o.merge.overrides.allow_shared_origin = true; }},
    {G::kPlan, "keep-siblings", 0, nullptr, kPlan | kMerge,
     "Copy for other thins what would change",
     [](Options& o, V) { o.merge.overrides.keep_siblings = true; }},
    {G::kPlan, "allow-removed-snapshot", 0, nullptr, kUndo,
     "Accept that the merged snapshot is gone",
     [](Options& o, V) { o.merge.overrides.allow_removed_snapshot = true; }},
    {G::kPlan, "allow-container", 0, nullptr, kLong, "Accept a qcow2 or gzip file as a raw disk",
     [](Options& o, V) { o.merge.overrides.allow_container = true; }},
    {G::kPlan, "restart", 0, nullptr, kPlan | kBeginning,
     "Discard an unfinished journal and start over", [](Options& o, V) { o.merge.restart = true; }},
    {G::kPlan, "again", 0, nullptr, kPlan | kBeginning, "Repeat what is done already",
     [](Options& o, V) { o.merge.again = true; }},
    {G::kPlan, "full", 0, nullptr, kPlan | kBeginning, "Take all blocks, not only the changed ones",
     [](Options& o, V) { o.merge.round = RoundChoice::kFull; }},
    {G::kPlan, "since-last", 0, nullptr, kPlan | kBeginning,
     "Take only what changed since the last time",
     [](Options& o, V) { o.merge.round = RoundChoice::kSince; }},
    {G::kPlan, "whole", 0, nullptr, kCopying | kVerify, "Include what the thin shows of its origin",
     [](Options& o, V) { o.whole = true; }},
    {G::kPlan, "with", 0, "OLDER", kPlan | kMerge, "Give up older snapshots: OLDER[,OLDER...]",
     [](Options& o, V v) { o.with = names_of_list(v, "--with"); }},
    {G::kPlan, "finish", 0, nullptr, kMerge, "Remove VG/SNAP afterwards, free the origin",
     [](Options& o, V) { o.finish = true; }},
    {G::kPlan, "when-closed", 0, nullptr, kBeginning, "Work in rounds, end once it is closed",
     [](Options& o, V) { o.when_closed = true; }},
    {G::kPlan, "until", 0, "SIZE", kBeginning, "Wait once a round is smaller than SIZE (64M)",
     [](Options& o, V v) { o.until = parse_size(v, "--until", Bytes(64 * kKiB)); }},
    {G::kPlan, "timeout", 0, "TIME", kBeginning, "Stop the wait after TIME (90s, 30m, 8h)",
     [](Options& o, V v) { o.timeout = parse_time(v, "--timeout"); }},
    {G::kPlan, "dry-run", 'n', nullptr, kBeginning, "Plan only, with all guards",
     [](Options& o, V) { o.dry_run = true; }},
    {G::kPlan, "yes", 'y', nullptr, kBeginning | kResume | kUndo, "Do not ask",
     [](Options& o, V) { o.yes = true; }},
    {G::kPlan, "batch-mode", 0, nullptr, kLong, "Ask nothing and show no progress",
     [](Options& o, V) { o.batch_mode = true; }},

    {G::kJournal, "journal", 'j', "FILE", kPlan | kBeginning, "Keep the journal in FILE",
     [](Options& o, V v) { o.journal = not_empty(v, "--journal"); }},
    {G::kJournal, "state-dir", 0, "DIR", kAll, "Keep journals in DIR (/var/lib/extmerge)",
     [](Options& o, V v) { o.state_dir = not_empty(v, "--state-dir"); }},
    {G::kJournal, "undo-log", 0, "FILE", kPlan | kBeginning,
     "Save overwritten data in FILE, for undo",
     [](Options& o, V v) { o.undo_log = not_empty(v, "--undo-log"); }},

    {G::kCopy, "compare", 0, "WHEN", kWriting, "Write only what differs: auto, always, never",
     [](Options& o, V v) {
       o.merge.pipeline.compare = choose<CompareMode>(v, "--compare",
                                                      {{"auto", CompareMode::kAuto},
                                                       {"always", CompareMode::kAlways},
                                                       {"never", CompareMode::kNever}});
     }},
    {G::kCopy, "verify", 0, "HOW", kWriting, "Read back: none, sample, changed, full",
     [](Options& o, V v) {
       o.merge.verify = choose<VerifyChoice>(v, "--verify",
                                             {{"none", VerifyChoice::kNone},
                                              {"sample", VerifyChoice::kSample},
                                              {"changed", VerifyChoice::kChanged},
                                              {"full", VerifyChoice::kFull}});
     }},
    {G::kCopy, "checkpoint-interval", 0, "SIZE|Ns", kWriting,
     "Record progress this often (256M or 5s)", set_checkpoint_interval},
    {G::kCopy, "rate-limit", 0, "SIZE", kMoving, "Limit the rate to SIZE a second",
     [](Options& o, V v) {
       o.merge.pipeline.rate_limit = parse_size(v, "--rate-limit", Bytes(4 * kKiB));
     }},
    {G::kCopy, "io-size", 0, "SIZE", kMoving, "Limit a single transfer to SIZE (1M)",
     [](Options& o, V v) {
       o.merge.pipeline.io_size = parse_size(v, "--io-size", Bytes(4 * kKiB), Bytes(64 * kMiB));
     }},
    {G::kCopy, "io-depth", 0, "N", kMoving, "Keep N transfers in flight per thread (64)",
     [](Options& o, V v) { o.merge.pipeline.io_depth = small_number(v, "--io-depth", 1, 1024); }},
    {G::kCopy, "buffer-size", 0, "SIZE", kMoving, "Give each thread buffers of SIZE (1M)",
     [](Options& o, V v) {
       o.merge.pipeline.buffer_size =
           parse_size(v, "--buffer-size", Bytes(64 * kKiB), Bytes(256 * kMiB));
     }},
    {G::kCopy, "threads", 0, "N", kMoving, "Process N pieces in parallel (4)",
     [](Options& o, V v) { o.merge.pipeline.threads = small_number(v, "--threads", 1, 256); }},

    {G::kOutput, "json", 'J', nullptr, kAll, "Print one JSON document on standard output",
     [](Options& o, V) { o.json = true; }},
    {G::kOutput, "ranges", 0, nullptr, kPlan, "Print a table of all runs, in data blocks",
     [](Options& o, V) { o.ranges = true; }},
    {G::kOutput, "map", 0, "FILE", kPlan | kStatus, "Draw the origin as SVG (-: on the terminal)",
     [](Options& o, V v) {
       o.map = not_empty(v, "--map");
       o.merge.draw_map = o.command == Command::kPlan;
     }},
    {G::kOutput, "export", 0, "FORMAT FILE", kPlan | kStatus,
     "Write a map: borg, bmap, ddrescue, json",
     [](Options& o, V v) {
       o.exported = choose<MapFormat>(v, "--export",
                                      {{"ddrescue", MapFormat::kDdrescue},
                                       {"borg", MapFormat::kBorg},
                                       {"bmap", MapFormat::kBmap},
                                       {"json", MapFormat::kJson}});
     }},
    {G::kOutput, "since", 0, "BASE", kPlan | kCopying, "Take only what changed since BASE",
     [](Options& o, V v) { o.since = not_empty(v, "--since"); }},
    {G::kOutput, "noheadings", 0, nullptr, kPlan | kStatus, "Leave out the first line of tables",
     [](Options& o, V) { o.headings = false; }},
    {G::kOutput, "units", 0, "LETTER", kAll, "Print sizes in b,s,k,m,g,t,p,e,h,r as in LVM",
     set_units},
    {G::kOutput, "nosuffix", 0, nullptr, kAll, "Print sizes without their unit",
     [](Options& o, V) { o.sizes.suffix = false; }},
    {G::kOutput, "progress", 0, "KIND", kLong, "Show progress: auto, bar, line, json, none",
     [](Options& o, V v) {
       o.progress = choose<ProgressKind>(v, "--progress",
                                         {{"auto", ProgressKind::kAuto},
                                          {"bar", ProgressKind::kBar},
                                          {"line", ProgressKind::kLine},
                                          {"json", ProgressKind::kJson},
                                          {"none", ProgressKind::kNone}});
     }},
    {G::kOutput, "progress-json", 0, nullptr, kLong, "Do the same as --progress=json",
     [](Options& o, V) { o.progress = ProgressKind::kJson; }},
    {G::kOutput, "progress-frequency", 0, "SECS", kLong, "Print a line every SECS seconds",
     [](Options& o, V v) {
       o.progress_seconds = small_number(v, "--progress-frequency", 1, 86400);
     }},
    {G::kOutput, "verbose", 'v', nullptr, kAll, "Print more; repeat for even more",
     [](Options& o, V) { ++o.verbosity; }},
    {G::kOutput, "quiet", 'q', nullptr, kAll, "Hide notes and progress; twice: the report",
     [](Options& o, V) { --o.verbosity; }},
    {G::kOutput, "log-file", 0, "FILE", kAll, "Append messages and actions to FILE",
     [](Options& o, V v) { o.log_file = not_empty(v, "--log-file"); }},
    {G::kOutput, "log-level", 0, "LEVEL", kAll, "Log up to error, warn, info, debug, trace",
     [](Options& o, V v) {
       o.log_level = choose<spdlog::level::level_enum>(v, "--log-level",
                                                       {{"error", spdlog::level::err},
                                                        {"warn", spdlog::level::warn},
                                                        {"info", spdlog::level::info},
                                                        {"debug", spdlog::level::debug},
                                                        {"trace", spdlog::level::trace}});
     }},
    {G::kOutput, "version", 'V', nullptr, kAll, "Print the version", [](Options&, V) {}},
    {G::kOutput, "help", 'h', nullptr, kAll, "Print this text", [](Options&, V) {}},
};

constexpr CommandRow kCommands[] = {
    {Command::kPlan, "plan", "SOURCE", "Show what a merge would copy. Changes nothing."},
    {Command::kMerge, "merge", "SOURCE", "Copy the thin's own data into its external origin."},
    {Command::kCopy, "copy", "SOURCE TARGET", "Copy the thin's own data to another device."},
    {Command::kResume, "resume", "JOURNAL|VG/SNAP", "Resume an unfinished merge or copy."},
    {Command::kVerify, "verify", "SOURCE [TARGET]",
     "Compare the origin, or TARGET, with the thin. Changes nothing."},
    {Command::kStatus, "status", "[JOURNAL|VG/SNAP]",
     "Show how far a merge is, or list all known merges. Only reads."},
    {Command::kUndo, "undo", "JOURNAL|VG/SNAP", "Put back what a merge with --undo-log overwrote."},
    {Command::kAbort, "abort", "JOURNAL|VG/SNAP",
     "Give up an unfinished merge. Copied data stays."},
};

}  // namespace

std::span<const OptionRow> option_table() { return kOptions; }

const OptionRow* find_option(const std::string& name) {
  for (const OptionRow& row : kOptions) {
    if (name == row.name) return &row;
  }
  return nullptr;
}

std::span<const CommandRow> command_table() { return kCommands; }

const CommandRow* find_command(const std::string& name) {
  for (const CommandRow& row : kCommands) {
    if (name == row.name) return &row;
  }
  return nullptr;
}

const CommandRow& row_of(Command command) { return kCommands[static_cast<size_t>(command)]; }

}  // namespace extmerge
