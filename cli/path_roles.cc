// SPDX-License-Identifier: GPL-3.0-or-later

#include "cli/path_roles.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <filesystem>
#include <string>
#include <vector>

#include "cli/configuration.h"
#include "cli/source/change_record.h"
#include "cli/source/merge_status.h"
#include "cli/source/places.h"
#include "io/device_facts.h"
#include "io/nbd_device.h"
#include "io/posix_directory.h"

namespace extmerge {

namespace fs = std::filesystem;

namespace {

using File = DeviceFacts::File;

constexpr const char* kLogFile = "--log-file";
constexpr const char* kUndoLog = "--undo-log";
constexpr const char* kJournal = "the journal";
constexpr const char* kConfiguration = "the configuration";

struct Part {
  std::string name;  // "--log-file", "the origin"
  std::string path;
  DeviceFacts facts;
  File folder;  // of the file, or of its future place
  std::string file_name;
  int stream = -1;  // a standard stream's number

  bool is_stream() const { return stream >= 0; }
};

bool contains(const std::vector<File>& files, const File& file) {
  return std::ranges::find(files, file) != files.end();
}

// The path without links in its folder, if that exists.
fs::path resolved(const std::string& path) {
  std::error_code failed;
  const fs::path found = fs::weakly_canonical(fs::absolute(path, failed), failed);
  return failed ? fs::path(path) : found;
}

Part part_of(const std::string& name, const std::string& path) {
  Part part{name, path, look_below(path), {}, {}};
  const fs::path where = resolved(path);
  part.file_name = where.filename();
  struct stat folder {};
  if (::stat(where.parent_path().c_str(), &folder) == 0)
    part.folder = {folder.st_dev, folder.st_ino};
  return part;
}

Part part_of_stream(const char* name, int number) {
  Part part{name, name, look_below(number), {}, {}};
  part.stream = number;
  return part;
}

bool is_same_place(const Part& a, const Part& b) {
  return a.folder.inode != 0 && a.folder == b.folder && a.file_name == b.file_name;
}

bool is_one_file(const Part& a, const Part& b) {
  if (is_same_place(a, b)) return true;
  if (!a.facts.exists || !b.facts.exists) return false;
  return File{a.facts.file_system, a.facts.inode} == File{b.facts.file_system, b.facts.inode};
}

// Whether a write to `ours` is a write to `other`.
bool is_written_by(const Part& other, const Part& ours) {
  if (is_one_file(ours, other)) return true;
  if (ours.facts.is_block) return other.facts.exists && overlaps(ours.facts, other.facts);
  return ours.facts.is_regular &&
         contains(other.facts.underlying_files, {ours.facts.file_system, ours.facts.inode});
}

// Whether `ours` lies on a file system directly on `device`, or on a loop device over it. Devices
// further down do not count: a pool's data device also holds thins with no part in this merge.
// `looped` is files_under_loops().
bool lies_on(const Part& ours, const DeviceFacts& device, const std::vector<File>& looped) {
  if (ours.is_stream() || (!device.is_block && !device.is_regular)) return false;
  const uint64_t mounted = ours.folder.file_system;
  if (device.is_block && device.device_number == mounted) return true;
  const std::vector<File>& under = device.underlying_files;
  return std::any_of(looped.begin(), looped.end(), [&](const File& file) {
    return file.loop == mounted && !under.empty() && file == under.front();
  });
}

// --journal must not name a file of another journal, which would be lost.
void check_journal_name(const Options& options) {
  if (!options.journal || options.is_of_begun_merge()) return;
  const std::string& path = *options.journal;
  for (const std::string& ending : files_of_journal("")) {
    if (ending.empty() || !path.ends_with(ending)) continue;
    const std::string other = path.substr(0, path.size() - ending.size());
    if (!other.ends_with(".journal") && ::access(other.c_str(), F_OK) != 0) continue;
    throw Error(MessageId::kUsage,
                "--journal: " + path + " is named like a file that belongs to the journal " + other,
                "name another file");
  }
}

class Parts {
 public:
  Parts(const Options& options, const FileDescriptor* log) : options_(options) {
    add_ours(log);
    if (ours_.empty()) return;
    writes_by_name_ = !std::ranges::all_of(ours_, &Part::is_stream);
    add_named();
    add_recorded();
    add_state_directory();
    if (writes_by_name_) looped_ = files_under_loops();
  }

  void check() const {
    for (size_t i = 0; i < ours_.size(); ++i) {
      for (size_t j = i + 1; j < ours_.size(); ++j) check_two_of_ours(ours_[i], ours_[j]);
      const bool is_undo_log = ours_[i].name == kUndoLog;
      for (const Part& other : others_) {
        // merge/preflight judges the rest: a resumed merge uses its undo log again.
        if (is_undo_log && other.name != kConfiguration) continue;
        if (is_written_by(other, ours_[i])) refuse(ours_[i], other.name, other.path);
        if (lies_on(ours_[i], other.facts, looped_))
          refuse(ours_[i], "on a file system of " + other.name, other.path);
      }
      if (!ours_[i].is_stream() && !is_undo_log) check_without_names(ours_[i]);
    }
  }

 private:
  void add_ours(const FileDescriptor* log) {
    if (options_.map && *options_.map != "-") ours_.push_back(part_of("--map", *options_.map));
    if (options_.exported && options_.export_path != "-")
      ours_.push_back(part_of("--export", options_.export_path));
    if (options_.log_file) {
      ours_.push_back(part_of(kLogFile, *options_.log_file));
      if (log) ours_.back().facts = look_below(log->get());
    }
    if (options_.undo_log) ours_.push_back(part_of(kUndoLog, *options_.undo_log));
    for (Part& stream : std::array{part_of_stream("standard output", STDOUT_FILENO),
                                   part_of_stream("standard error", STDERR_FILENO)}) {
      if (stream.facts.is_regular || stream.facts.is_block) ours_.push_back(std::move(stream));
    }
  }

  void add(const std::string& name, const std::string& path) {
    if (!path.empty()) others_.push_back(part_of(name, path));
  }

  void add_named() {
    add("the metadata", options_.metadata);
    add("the data", options_.data);
    add("the origin", options_.origin);
    if (!is_nbd_uri(options_.target)) add("the target", options_.target);
    if (!options_.since.empty() && options_.since != "origin") add_journal(options_.since);
    add(kConfiguration, configuration_path());
    if (options_.journal) add_journal(*options_.journal);
  }

  void add_journal(const std::string& path) {
    for (const std::string& file : files_of_journal(path))
      add(file == path ? kJournal : "a file that belongs to a journal", file);
  }

  void add_merge(const MergeStatus& merge) {
    if (merge.damage) return;
    add("the metadata", present_path(merge.record.metadata));
    add("the data", present_path(merge.record.data));
    const MergeRecord& record = merge.record;
    if (!is_nbd_uri(record.origin.path)) add("the " + record.role(), present_path(record.origin));
    if (record.copy) add("the origin", present_path(record.copy->origin));
    add("the undo log", record.undo_log);
  }

  // Adds the devices that the journal records. Without them a log file cannot be checked, and is
  // not opened.
  void add_recorded() {
    if (!options_.journal) return;
    try {
      add_merge(read_status(*options_.journal));
    } catch (const Error& error) {
      const bool is_of_volume = ::access(changes_name(*options_.journal).c_str(), F_OK) == 0;
      const bool is_missing = error.id() == MessageId::kNoJournal && is_of_volume;
      if (writes_by_name_ && options_.is_of_begun_merge() && !is_missing) throw;
    }
  }

  void add_state_directory() {
    state_directory_ = state_directory(options_);
    try {
      for (const MergeStatus& merge : read_all(*open_directory(state_directory_, false))) {
        add_journal(merge.journal);
        add_merge(merge);
      }
    } catch (const Error& error) {
      // A directory may be missing before the first merge. Without permission for it, this user
      // cannot write to its files either.
      const bool may_be =
          error.id() == MessageId::kNotFound || error.id() == MessageId::kPermission;
      if (writes_by_name_ && !may_be) throw;
    }
  }

  void check_two_of_ours(const Part& one, const Part& other) const {
    // Streams may share a file with each other and with the log: all append lines.
    const bool may_share = other.is_stream() && (one.is_stream() || one.name == kLogFile);
    if (may_share || !is_one_file(one, other)) return;
    if (other.is_stream()) refuse(other, "the file of " + one.name, one.path);
    throw Error(MessageId::kUsage, one.name + " and " + other.name + " name one file",
                "give each a file of its own");
  }

  // Refuses files that no option names but that must not be written.
  void check_without_names(const Part& part) const {
    struct stat folder {};
    const bool is_in_state = ::stat(state_directory_.c_str(), &folder) == 0 &&
                             part.folder == File{folder.st_dev, folder.st_ino};
    for (const std::string& ending : files_of_journal(".journal")) {
      if (is_in_state && part.file_name.ends_with(ending))
        refuse(part, "named like a file of a journal", part.path);
    }
    if (part.facts.is_regular && contains(looped_, {part.facts.file_system, part.facts.inode}))
      refuse(part, "the file under a loop device", part.path);
  }

  [[noreturn]] static void refuse(const Part& ours, const std::string& what,
                                  const std::string& path) {
    if (ours.is_stream()) {
      const int nowhere = ::open("/dev/null", O_WRONLY | O_CLOEXEC);
      if (nowhere < 0 || ::dup2(nowhere, ours.stream) < 0) ::close(ours.stream);
      if (nowhere >= 0) ::close(nowhere);
      throw Error(MessageId::kUsage, ours.name + " leads to " + path + ", which is " + what,
                  "send it to another file, or to a terminal");
    }
    if (ours.name == kLogFile)
      throw Error(MessageId::kUsage, ours.name + ": " + ours.path + " is " + what,
                  "name a regular file without another use, or a terminal");
    const std::string there = ours.facts.exists ? " is there already: it is " : " is ";
    throw Error(MessageId::kUsage, ours.name + ": " + ours.path + there + what,
                what == kJournal ? "the two name one file; give each a file of its own"
                                 : "name a file that does not exist; this one is left alone");
  }

  const Options& options_;
  std::vector<Part> ours_;    // written by this run
  std::vector<Part> others_;  // must not be the same files as ours_
  bool writes_by_name_ = false;
  std::string state_directory_;
  std::vector<File> looped_;
};

}  // namespace

void check_paths(const Options& options, const FileDescriptor* log) {
  check_journal_name(options);
  Parts(options, log).check();
}

}  // namespace extmerge
