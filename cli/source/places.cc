// SPDX-License-Identifier: GPL-3.0-or-later

#include "cli/source/places.h"

#include <fcntl.h>
#include <spdlog/spdlog.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <system_error>

#include "cli/source/change_record.h"
#include "cli/source/dm/device_mapper.h"
#include "cli/source/dm/holders.h"
#include "io/file_device.h"
#include "io/hash.h"
#include "io/identity.h"
#include "io/mount_table.h"
#include "io/posix_directory.h"
#include "io/sysfs.h"
#include "io/text.h"

namespace extmerge {

namespace fs = std::filesystem;

namespace {

// attempts, one per second
constexpr int kMoreLockAttempts = 10;

// Opens a directory; null if it is missing.
std::shared_ptr<DurableDirectory> open_if_there(const std::string& path) {
  try {
    return open_directory(path, false);
  } catch (const Error& error) {
    if (error.id() != MessageId::kNotFound) throw;
    return nullptr;
  }
}

// A journal that cannot be read counts as this origin's: the merge then refuses it.
bool is_journal_of(DurableDirectory& directory, const std::string& name,
                   const std::string& origin_identity) {
  try {
    const auto journal = Journal::open(directory, name, false, false);
    return journal && is_same_identity(journal->record().origin.identity, origin_identity);
  } catch (const Error&) {
    return true;
  }
}

// The name is made from the origin's identity. An earlier version, or a kernel that tells less, may
// have made it from a shorter identity of the same file.
std::string journal_name_in(DurableDirectory* directory, const std::string& origin_identity) {
  const std::string name = default_journal_name(origin_identity);
  std::error_code ignored;
  if (!directory || fs::exists(fs::symlink_status(fs::path(directory->path()) / name, ignored))) {
    return name;
  }
  for (const std::string& shorter : shorter_identities(origin_identity)) {
    const std::string earlier = default_journal_name(shorter);
    if (is_journal_of(*directory, earlier, origin_identity)) return earlier;
  }
  return name;
}

// The dm devices among `devices`. Without one, device-mapper is not asked: the kernel may lack it.
std::vector<uint64_t> dm_devices_of(std::vector<uint64_t> devices) {
  std::erase_if(devices,
                [](uint64_t number) { return !SysfsBlock(SystemRoot{}, number).has("dm"); });
  return devices;
}

}  // namespace

std::string existing_part(const std::string& path) {
  fs::path part = path;
  std::error_code ignored;
  while (!fs::exists(part, ignored) && part.has_relative_path()) part = part.parent_path();
  return part.string();
}

std::string absolute_path(const std::string& path) {
  std::error_code error;
  const fs::path absolute = fs::absolute(path, error);
  if (error)
    throw Error(MessageId::kNotFound,
                "the path " + path +
                    " is relative, and the working directory is unknown: " + error.message(),
                "change to a directory that exists, or give an absolute path");
  return absolute.string();
}

std::string state_directory(const Request& request) {
  const char* from_environment = std::getenv("EXTMERGE_STATE_DIR");
  if (request.state_dir) return absolute_path(*request.state_dir);
  if (from_environment && *from_environment) return absolute_path(from_environment);
  return "/var/lib/extmerge";
}

JournalPlace journal_place(std::shared_ptr<DurableDirectory> directory, const std::string& path) {
  JournalPlace place;
  place.directory = std::move(directory);
  place.path = path;
  place.name = fs::path(path).filename().string();
  const std::string existing = existing_part(path);
  place.file_system = devices_under_file_system(existing);
  place.thins = find_thins_below(dm_devices_of(place.file_system));
  place.is_volatile = is_in_memory(existing);
  const std::string folder = existing_part(fs::path(path).parent_path());
  struct stat around {};
  if (stat(folder.c_str(), &around) == 0)
    place.folder = {.file_system = around.st_dev, .inode = around.st_ino};
  place.is_writable = faccessat(AT_FDCWD, folder.c_str(), W_OK | X_OK, AT_EACCESS) == 0;
  for (const std::string& name : files_of_journal(path)) {
    struct stat file {};
    if (stat(name.c_str(), &file) == 0)
      place.files.push_back({.file_system = file.st_dev, .inode = file.st_ino});
  }
  return place;
}

JournalPlace place_of(const Request& request, const std::string& origin_identity,
                      StateDirectory state) {
  if (request.journal) {
    const fs::path path = absolute_path(*request.journal);
    return journal_place(open_directory(path.parent_path().string(), false), path.string());
  }
  const fs::path directory = state_directory(request);
  auto opened = state == StateDirectory::kCreate ? open_directory(directory.string(), true)
                                                 : open_if_there(directory.string());
  const fs::path path = directory / journal_name_in(opened.get(), origin_identity);
  return journal_place(std::move(opened), path.string());
}

JournalPlace undo_log_place(const std::string& path) {
  const JournalPath found = open_journal_path(path);
  // Resolve links in the folder: the journal keeps this path, and a later run compares it.
  std::error_code error;
  const fs::path given = found.path;
  const fs::path folder = fs::canonical(given.parent_path(), error);
  JournalPlace place =
      journal_place(found.directory, error ? found.path : (folder / given.filename()).string());
  struct statvfs room {};
  if (found.directory && statvfs(found.directory->path().c_str(), &room) == 0)
    place.free_space = Bytes(uint64_t{room.f_bavail} * room.f_frsize);
  return place;
}

std::optional<JournalPlace> undo_log_asked(const Request& request) {
  if (!request.undo_log) return {};
  return undo_log_place(*request.undo_log);
}

std::vector<std::string> files_of_journal(const std::string& path) {
  const std::string changes = changes_name(path);
  return {path, unpublished_name(path), lock_name(path), changes, unpublished_name(changes)};
}

void lock_place(JournalPlace& place) {
  place.lock = place.directory->try_lock(lock_name(place.name));
  if (place.lock) return;
  throw Error(MessageId::kJournalLocked, place.path + " is in use by another extmerge",
              "wait for it (extmerge status " + place.path + "), or stop it");
}

bool lock_place_patiently(JournalPlace& place, const Request& request) {
  const bool is_patient = request.command == Command::kMerge || request.command == Command::kCopy ||
                          request.command == Command::kResume;
  for (int i = 0; is_patient && i < kMoreLockAttempts && !request.stop.stop_requested(); ++i) {
    place.lock = place.directory->try_lock(lock_name(place.name));
    if (place.lock) return i > 0;
    if (i == 0) spdlog::info("waiting for another extmerge, which uses {}", printable(place.path));
  }
  if (request.stop.stop_requested())
    throw Error(MessageId::kStopped, "stopped as requested", "run the same command again");
  lock_place(place);
  return is_patient;
}

std::unique_ptr<Journal> read_journal(const JournalPlace& place) {
  if (!place.directory) return nullptr;
  return Journal::open(*place.directory, place.name, false, false);
}

uint64_t origin_state(const Request& request, const std::string& identity, uint64_t modified) {
  std::string facts = std::to_string(modified);
  if (const auto directory = open_if_there(state_directory(request))) {
    const std::string name = journal_name_in(directory.get(), identity);
    const auto journal = Journal::open(*directory, name, false, false);
    if (journal)
      facts += " " + std::to_string(journal->nonce()) + " " +
               std::to_string(static_cast<uint32_t>(journal->state()));
  }
  return hash_of(facts);
}

void give_up_journal(const JournalPlace& place) {
  std::unique_ptr<Journal> journal;
  try {
    journal = read_journal(place);
  } catch (const Error& error) {
    if (!is_unreadable_journal(error)) throw;
  }
  if (!journal || !journal->record().is_copy()) remove_journal(place);
}

std::unique_ptr<Journal> existing_journal(const std::string& path, const std::stop_token& stop) {
  const JournalPath place = open_journal_path(path);
  auto journal =
      place.directory ? Journal::open(*place.directory, place.name, false, true, stop) : nullptr;
  if (!journal) throw no_journal(place.path);
  return journal;
}

Error no_journal(const std::string& path) {
  return Error(MessageId::kNoJournal, "there is no journal " + path,
               "extmerge status lists the known journals");
}

std::string present_path(const JournalDevice& recorded) {
  const std::string kind = "dm:";  // io/device_identity.h
  if (!recorded.identity.starts_with(kind)) return recorded.path;
  try {
    const auto number = find_dm_device(recorded.identity.substr(kind.size()));
    struct stat status {};
    const bool is_renamed =
        number && (::stat(recorded.path.c_str(), &status) != 0 || status.st_rdev != *number);
    return is_renamed ? path_of_device(*number) : recorded.path;
  } catch (const Error&) {
    return recorded.path;
  }
}

void remove_journal(const JournalPlace& place) {
  // Remove the journal first: without its record it would look like one of plain devices.
  place.directory->remove(place.name);
  place.directory->remove(changes_name(place.name));
}

JournalPath open_journal_path(const std::string& path) {
  const fs::path absolute = absolute_path(path);
  return {open_if_there(absolute.parent_path().string()), absolute.filename().string(),
          absolute.string()};
}

}  // namespace extmerge
