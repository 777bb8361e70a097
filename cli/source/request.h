// SPDX-License-Identifier: GPL-3.0-or-later
//
// What is asked of a source: the command, how the source is named, and where the journal lies.

#pragma once

#include <optional>
#include <stop_token>
#include <string>
#include <vector>

#include "merge/merge.h"

namespace extmerge {

enum class Command { kPlan, kMerge, kResume, kVerify, kStatus, kUndo, kAbort };

struct Request {
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

  // The options given, by their long names, for what depends on two of them.
  std::vector<std::string> given;
  bool has(const std::string& name) const;
};

// Whether SOURCE or a journal is told by its path: not VG/LV, not a bare name.
bool is_path(const std::string& argument);

}  // namespace extmerge
