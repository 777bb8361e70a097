// SPDX-License-Identifier: GPL-3.0-or-later

#include "cli/option_table.h"

#include <array>
#include <utility>

namespace extmerge {

namespace {

constexpr unsigned kPlan = bit(Command::kPlan);
constexpr unsigned kMerge = bit(Command::kMerge);
constexpr unsigned kResume = bit(Command::kResume);
constexpr unsigned kVerify = bit(Command::kVerify);
constexpr unsigned kStatus = bit(Command::kStatus);
constexpr unsigned kUndo = bit(Command::kUndo);
constexpr unsigned kAbort = bit(Command::kAbort);
constexpr unsigned kWithSource = kPlan | kMerge | kVerify;
constexpr unsigned kWriting = kMerge | kResume;
constexpr unsigned kMoving = kWriting | kVerify;     // reads or writes data
constexpr unsigned kLong = kMoving | kPlan | kUndo;  // shows progress
constexpr unsigned kAll = kLong | kStatus | kAbort;

constexpr uint64_t kKiB = 1024, kMiB = 1024 * kKiB, kGiB = 1024 * kMiB;

std::string not_empty(const std::string& value, const char* option) {
  if (!value.empty()) return value;
  throw Error(MessageId::kUsage, std::string(option) + " has an empty value", "name a path");
}

template <typename T, size_t N>
T choose(const std::string& value, const char* option,
         const std::array<std::pair<const char*, T>, N>& choices) {
  std::string names;
  for (const auto& [name, choice] : choices) {
    if (value == name) return choice;
    names += (names.empty() ? "" : ", ") + std::string(name);
  }
  throw Error(MessageId::kUsage, std::string(option) + ": '" + value + "' is none of its values",
              "it takes one of " + names);
}

BeyondOriginChoice beyond_choice(const std::string& value) {
  return choose<BeyondOriginChoice, 3>(value, "--beyond-origin",
                                       {{{"refuse", BeyondOriginChoice::kRefuse},
                                         {"drop", BeyondOriginChoice::kDrop},
                                         {"extend", BeyondOriginChoice::kExtend}}});
}

CompareMode compare_choice(const std::string& value) {
  return choose<CompareMode, 3>(value, "--compare",
                                {{{"auto", CompareMode::kAuto},
                                  {"always", CompareMode::kAlways},
                                  {"never", CompareMode::kNever}}});
}

VerifyChoice verify_choice(const std::string& value) {
  return choose<VerifyChoice, 3>(value, "--verify",
                                 {{{"none", VerifyChoice::kNone},
                                   {"sample", VerifyChoice::kSample},
                                   {"full", VerifyChoice::kFull}}});
}

ProgressKind progress_choice(const std::string& value) {
  return choose<ProgressKind, 5>(value, "--progress",
                                 {{{"auto", ProgressKind::kAuto},
                                   {"bar", ProgressKind::kBar},
                                   {"line", ProgressKind::kLine},
                                   {"json", ProgressKind::kJson},
                                   {"none", ProgressKind::kNone}}});
}

LogLevel level_choice(const std::string& value) {
  return choose<LogLevel, 5>(value, "--log-level",
                             {{{"error", LogLevel::kError},
                               {"warn", LogLevel::kWarn},
                               {"info", LogLevel::kInfo},
                               {"debug", LogLevel::kDebug},
                               {"trace", LogLevel::kTrace}}});
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
    {G::kSource, "metadata", 0, "DEV", kWithSource, "the pool's metadata device or image",
     [](Options& o, V v) { o.metadata = not_empty(v, "--metadata"); }},
    {G::kSource, "data", 0, "DEV", kWithSource, "the pool's data device or image",
     [](Options& o, V v) { o.data = not_empty(v, "--data"); }},
    {G::kSource, "thin-id", 0, "N", kWithSource, "which thin of the pool: its dev_id",
     [](Options& o, V v) {
       o.thin_id = static_cast<ThinId>(parse_number(v, "--thin-id", 0, kMaxThinId));
     }},
    {G::kSource, "origin", 0, "DEV", kWithSource, "the external origin, device or image",
     [](Options& o, V v) { o.origin = not_empty(v, "--origin"); }},
    {G::kSource, "metadata-snap", 'm', "[=BLOCK]", kWithSource,
     "read the held root (default), or BLOCK", set_metadata_snap},
    {G::kSource, "live-root", 0, nullptr, kWithSource, "read the live tree of an inactive pool",
     [](Options& o, V) { o.root_choice = RootChoice::kLive; }},
    {G::kSource, "thin-size", 0, "SIZE", kWithSource, "the thin's length, which no table says",
     [](Options& o, V v) { o.thin_size = parse_size(v, "--thin-size", Bytes(kSectorSize)); }},
    {G::kSource, "beyond-origin", 0, "WHAT", kWithSource, "data past the end: refuse, drop, extend",
     [](Options& o, V v) { o.merge.beyond_origin = beyond_choice(v); }},

    {G::kPlan, "allow-stale", 0, nullptr, kLong, "although the thin (undo: origin) has changed",
     [](Options& o, V) { o.merge.overrides.allow_stale = true; }},
    {G::kPlan, "allow-shared-origin", 0, nullptr, kPlan | kWriting | kUndo,
     "although another thin changes",
     [](Options& o, V) { o.merge.overrides.allow_shared_origin = true; }},
    {G::kPlan, "allow-removed-snapshot", 0, nullptr, kUndo,
     "although nothing else holds that state",
     [](Options& o, V) { o.merge.overrides.allow_removed_snapshot = true; }},
    {G::kPlan, "allow-container", 0, nullptr, kLong, "accept a qcow2 or gzip file as a raw disk",
     [](Options& o, V) { o.merge.overrides.allow_container = true; }},
    {G::kPlan, "restart", 0, nullptr, kPlan | kMerge, "discard an unfinished journal, begin anew",
     [](Options& o, V) { o.merge.restart = true; }},
    {G::kPlan, "again", 0, nullptr, kPlan | kMerge, "merge what is merged already",
     [](Options& o, V) { o.merge.again = true; }},
    {G::kPlan, "finish", 0, nullptr, kMerge, "VG/SNAP: then remove it, free the origin",
     [](Options& o, V) { o.finish = true; }},
    {G::kPlan, "dry-run", 'n', nullptr, kMerge, "only plan, with all guards",
     [](Options& o, V) { o.dry_run = true; }},
    {G::kPlan, "yes", 'y', nullptr, kMerge | kResume | kUndo, "do not ask",
     [](Options& o, V) { o.yes = true; }},
    {G::kPlan, "batch-mode", 0, nullptr, kLong, "never ask, show no progress",
     [](Options& o, V) { o.batch_mode = true; }},

    {G::kJournal, "journal", 'j', "FILE", kPlan | kMerge, "keep the journal in FILE",
     [](Options& o, V v) { o.journal = not_empty(v, "--journal"); }},
    {G::kJournal, "state-dir", 0, "DIR", kAll, "journals (/var/lib/extmerge)",
     [](Options& o, V v) { o.state_dir = not_empty(v, "--state-dir"); }},
    {G::kJournal, "undo-log", 0, "FILE", kPlan | kMerge, "save what is overwritten, for undo",
     [](Options& o, V v) { o.undo_log = not_empty(v, "--undo-log"); }},

    {G::kCopy, "compare", 0, "WHEN", kWriting, "write only what differs: auto, always, never",
     [](Options& o, V v) { o.merge.pipeline.compare = compare_choice(v); }},
    {G::kCopy, "verify", 0, "HOW", kWriting, "afterwards: none, sample (default), full",
     [](Options& o, V v) { o.merge.verify = verify_choice(v); }},
    {G::kCopy, "checkpoint-interval", 0, "SIZE|Ns", kWriting, "record progress (256M or 5s)",
     set_checkpoint_interval},
    {G::kCopy, "rate-limit", 0, "SIZE", kMoving, "at most SIZE a second",
     [](Options& o, V v) {
       o.merge.pipeline.rate_limit = parse_size(v, "--rate-limit", Bytes(4 * kKiB));
     }},
    {G::kCopy, "io-size", 0, "SIZE", kMoving, "longest single transfer (1M)",
     [](Options& o, V v) {
       o.merge.pipeline.io_size = parse_size(v, "--io-size", Bytes(4 * kKiB), Bytes(64 * kMiB));
     }},
    {G::kCopy, "io-depth", 0, "N", kMoving, "transfers in flight a thread (64)",
     [](Options& o, V v) { o.merge.pipeline.io_depth = small_number(v, "--io-depth", 1, 1024); }},
    {G::kCopy, "buffer-size", 0, "SIZE", kMoving, "memory of a thread (1M)",
     [](Options& o, V v) {
       o.merge.pipeline.buffer_size =
           parse_size(v, "--buffer-size", Bytes(64 * kKiB), Bytes(256 * kMiB));
     }},
    {G::kCopy, "threads", 0, "N", kMoving, "pieces in flight (4)",
     [](Options& o, V v) { o.merge.pipeline.threads = small_number(v, "--threads", 1, 256); }},

    {G::kOutput, "json", 'J', nullptr, kAll, "one JSON document on standard output",
     [](Options& o, V) { o.json = true; }},
    {G::kOutput, "ranges", 0, nullptr, kPlan, "a table of all runs, in data blocks",
     [](Options& o, V) { o.ranges = true; }},
    {G::kOutput, "map", 0, "FILE", kPlan | kStatus, "a picture of the origin, SVG; -: terminal",
     [](Options& o, V v) {
       o.map = not_empty(v, "--map");
       o.merge.draw_map = o.command == Command::kPlan;
     }},
    {G::kOutput, "export", 0, "ddrescue FILE", kStatus, "a mapfile of GNU ddrescue; -: output",
     [](Options& o, V v) {
       o.exported = choose<bool, 1>(v, "--export", {{{"ddrescue", true}}});
     }},
    {G::kOutput, "noheadings", 0, nullptr, kPlan | kStatus, "tables without their first line",
     [](Options& o, V) { o.headings = false; }},
    {G::kOutput, "units", 0, "LETTER", kAll, "sizes in b,s,k,m,g,t,p,e,h,r as in LVM", set_units},
    {G::kOutput, "nosuffix", 0, nullptr, kAll, "sizes without their unit",
     [](Options& o, V) { o.sizes.suffix = false; }},
    {G::kOutput, "progress", 0, "KIND", kLong, "auto, bar, line, json, none",
     [](Options& o, V v) { o.progress = progress_choice(v); }},
    {G::kOutput, "progress-json", 0, nullptr, kLong, "the same as --progress=json",
     [](Options& o, V) { o.progress = ProgressKind::kJson; }},
    {G::kOutput, "progress-frequency", 0, "SECS", kLong, "a line every SECS seconds",
     [](Options& o, V v) {
       o.progress_seconds = small_number(v, "--progress-frequency", 1, 86400);
     }},
    {G::kOutput, "verbose", 'v', nullptr, kAll, "say more; repeat for more",
     [](Options& o, V) { ++o.verbosity; }},
    {G::kOutput, "quiet", 'q', nullptr, kAll, "no notes or progress; twice: no report",
     [](Options& o, V) { --o.verbosity; }},
    {G::kOutput, "log-file", 0, "FILE", kAll, "append what is said and done to FILE",
     [](Options& o, V v) { o.log_file = not_empty(v, "--log-file"); }},
    {G::kOutput, "log-level", 0, "LEVEL", kAll, "of it: error, warn, info, debug, trace",
     [](Options& o, V v) { o.log_level = level_choice(v); }},
    {G::kOutput, "version", 'V', nullptr, kAll, "print the version", [](Options&, V) {}},
    {G::kOutput, "help", 'h', nullptr, kAll, "print this text", [](Options&, V) {}},
};

constexpr CommandRow kCommands[] = {
    {Command::kPlan, "plan", "SOURCE", "Show what a merge would copy. Changes nothing."},
    {Command::kMerge, "merge", "SOURCE",
     "Copy what the thin has of its own into its external origin."},
    {Command::kResume, "resume", "JOURNAL|VG/SNAP", "Go on with an unfinished merge."},
    {Command::kVerify, "verify", "SOURCE", "Compare the origin with the thin. Changes nothing."},
    {Command::kStatus, "status", "[JOURNAL|VG/SNAP]",
     "Show how far a merge is, or all that are known. Only reads."},
    {Command::kUndo, "undo", "JOURNAL|VG/SNAP", "Put back what a merge with --undo-log overwrote."},
    {Command::kAbort, "abort", "JOURNAL|VG/SNAP",
     "Give an unfinished merge up. What was copied stays."},
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
