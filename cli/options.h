// SPDX-License-Identifier: GPL-3.0-or-later
//
// What the user asked for, checked as far as that is possible without looking
// at a device. Beyond this point nobody sees argv.

#pragma once

#include <functional>
#include <optional>
#include <stop_token>
#include <string>
#include <vector>

#include "cli/size.h"
#include "merge/merger.h"

namespace extmerge {

enum class Command { kPlan, kMerge, kResume, kVerify, kStatus, kUndo, kAbort };

enum class ProgressKind { kAuto, kBar, kLine, kJson, kNone };

// Of the log file, from little to much; spdlog's names.
enum class LogLevel { kError, kWarn, kInfo, kDebug, kTrace };

// Text to print instead of doing anything: --help, --version, help.
struct Options {
  std::optional<std::string> text;

  Command command = Command::kPlan;
  // Of the signals that ask for a stop. Set once the command is known.
  std::stop_token stop;

  // SOURCE by name: VG/SNAP or a thin's path. Also of resume, status, undo and abort, where
  // it can only be VG/SNAP. Empty where the devices are given.
  std::string source;
  // SOURCE by its devices
  std::string metadata;
  std::string data;
  std::string origin;
  ThinId thin_id{};
  std::optional<Bytes> thin_size;
  RootChoice root_choice = RootChoice::kHeld;
  MetadataBlock root_block;

  // Where journals are
  std::optional<std::string> journal;    // --journal, or the JOURNAL argument
  std::optional<std::string> state_dir;  // --state-dir
  std::optional<std::string> undo_log;

  MergeOptions merge;
  bool dry_run = false;
  bool finish = false;
  bool yes = false;  // --yes, --batch-mode
  bool batch_mode = false;

  // Output
  bool json = false;
  bool ranges = false;
  std::optional<std::string> map;  // path of an SVG; - is the terminal
  bool exported = false;           // a ddrescue mapfile, into
  std::string export_path;         // - is standard output
  bool headings = true;
  SizeFormat sizes;
  ProgressKind progress = ProgressKind::kAuto;
  std::optional<unsigned> progress_seconds;
  int verbosity = 0;  // -v adds one, -q takes one away
  std::optional<std::string> log_file;
  std::optional<LogLevel> log_level;

  // The options given, by their long names, for what depends on two of them.
  std::vector<std::string> given;
  bool has(const std::string& name) const;
};

// Whether SOURCE or a journal is told by its path: not VG/LV, not a bare name.
bool is_path(const std::string& argument);

// `arguments` without the program's name. `configure` fills in what they do not say, before what
// depends on two options is checked. Throws Error(kUsage).
Options parse_command_line(const std::vector<std::string>& arguments,
                           const std::function<void(Options&)>& configure = {});

// Whether a failure to parse `arguments` is to be reported as JSON as well.
bool asks_for_json(const std::vector<std::string>& arguments);

}  // namespace extmerge
