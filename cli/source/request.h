// SPDX-License-Identifier: GPL-3.0-or-later
//
// A request to a source: the command, the source's name, and the journal's place.

#pragma once

#include <algorithm>
#include <chrono>
#include <optional>
#include <stop_token>
#include <string>
#include <vector>

#include "io/error.h"
#include "merge/merge.h"

namespace extmerge {

enum class Command { kPlan, kMerge, kCopy, kResume, kVerify, kStatus, kUndo, kAbort };

struct Request {
  Command command = Command::kPlan;
  // The signals' stop token, set once the command is known.
  std::stop_token stop;

  // SOURCE by name: VG/SNAP or a thin's path; only VG/SNAP for resume, status, undo and abort.
  // Empty if the devices are given.
  std::string source;
  // SOURCE by its devices
  std::string metadata;
  std::string data;
  std::string origin;
  ThinId thin_id{};
  std::optional<Bytes> thin_size;
  RootChoice root_choice = RootChoice::kHeld;
  MetadataBlock root_block;

  // The target of a copy, also for verify: a path or a URI. Empty for a merge.
  std::string target;
  bool whole = false;  // copy all that the thin shows
  std::string since;   // what a copy or a map leaves out: origin, or the path of a journal

  // Where journals are
  std::optional<std::string> journal;    // --journal, or the JOURNAL argument
  std::optional<std::string> state_dir;  // --state-dir
  std::optional<std::string> undo_log;

  MergeOptions merge;
  bool dry_run = false;
  bool finish = false;
  std::vector<std::string> with;                // older volumes of the chain that are given up
  bool when_closed = false;                     // of a volume that is in use
  Bytes until{64 << 20};                        // rounds go on until one is smaller
  std::optional<std::chrono::seconds> timeout;  // of the wait for the volume to be closed

  // Long names of the given options, for rules about pairs of options.
  std::vector<std::string> given;
  bool has(const std::string& name) const { return std::ranges::find(given, name) != given.end(); }

  bool copies() const { return !target.empty(); }
  // Whether the source goes out of use: removed after a merge, kept inactive after a copy.
  bool ends_use() const { return finish || (copies() && when_closed); }
  // Whether the command changes nothing.
  bool only_looks() const {
    return dry_run || command == Command::kPlan || command == Command::kVerify;
  }
  // Whether the command is for a merge that has begun; the others take a SOURCE.
  bool is_of_begun_merge() const {
    return command == Command::kResume || command == Command::kStatus ||
           command == Command::kUndo || command == Command::kAbort;
  }
};

// --with for another source than a volume of LVM.
inline Error with_is_for_volumes() {
  return Error(
      MessageId::kUsage,
      "--with is for volumes of LVM (VG/SNAP): elsewhere nothing tells which thins read the "
      "origin, and nothing keeps them out of use",
      "merge one thin after the other, the oldest first; or leave out --with, and accept "
      "that the other thins change");
}

// Whether the argument is a path: neither VG/LV nor a bare name.
inline bool is_path(const std::string& argument) {
  return argument.starts_with('/') || argument.starts_with("./") || argument.starts_with("../");
}

}  // namespace extmerge
