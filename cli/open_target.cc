// SPDX-License-Identifier: GPL-3.0-or-later

#include "cli/open_target.h"

#include <spdlog/spdlog.h>

#include <memory>
#include <set>

#include "cli/device_mapper.h"
#include "cli/dm_holders.h"
#include "cli/journal_place.h"
#include "cli/printable.h"
#include "io/open_files.h"

namespace extmerge {

namespace {

void log_facts(const char* role, const DeviceFacts& facts) {
  spdlog::debug("{}: {}, {} bytes, {}", role, facts.path, facts.size.value(),
                facts.exists ? facts.identity : "missing");
}

}  // namespace

Look at_path(const std::string& path) {
  return [path] { return inspect(path); };
}

Look at_number(uint64_t device_number) {
  return [device_number] { return inspect_device(device_number, path_of_device(device_number)); };
}

void look_at_devices(MergeTarget& target, const Look& metadata, const Look& data,
                     const Look& origin) {
  target.metadata = metadata();
  target.data = data();
  log_facts("metadata", target.metadata);
  log_facts("data", target.data);
  target.look_again = [origin](MergeTarget& again) {
    again.origin = origin();
    again.origin_thins = find_origin_thins(again.origin, again.metadata);
  };
  target.look_again(target);
  target.undo_log_at = undo_log_place;
  log_facts("origin", target.origin);
  target.origin_writers = writers_of(target.origin);
  const auto told = std::make_shared<std::set<std::string>>();
  target.open = [told](const DeviceFacts& facts, OpenMode mode,
                       Bytes ends_multiple_of) -> std::shared_ptr<BlockDevice> {
    auto device = FileDevice::open(facts, mode, ends_multiple_of);
    spdlog::debug("opened {}", facts.path);
    if (!device->is_direct() && told->insert(facts.path).second)
      spdlog::warn(
          "{} goes through the page cache: its file system, or where it ends, "
          "does not allow direct I/O",
          printable(facts.path));
    return device;
  };
}

void place_undo_log(MergeTarget& target, const Options& options) {
  if (options.undo_log) target.undo_log = undo_log_place(*options.undo_log);
}

MergeTarget open_target(const Options& options, StateDirectory state_directory) {
  MergeTarget target;
  target.metadata_path = absolute_path(options.metadata);
  target.data_path = absolute_path(options.data);
  target.origin_path = absolute_path(options.origin);
  target.thin_id = options.thin_id;
  target.thin_size = options.thin_size;
  target.root_choice = options.root_choice;
  target.root_block = options.root_block;
  look_at_devices(target, at_path(options.metadata), at_path(options.data),
                  at_path(options.origin));
  if (options.command != Command::kVerify)
    target.journal = place_of(options, target.origin.identity,
                              target.origin.exists ? state_directory : StateDirectory::kAsItIs);
  place_undo_log(target, options);
  return target;
}

RecordedMerge open_recorded(const std::string& path) {
  JournalPath place = open_journal_path(path);
  std::unique_ptr<Journal> journal;
  if (place.directory) journal = Journal::open(*place.directory, place.name, false, false);
  if (!journal)
    throw Error(MessageId::kNoJournal, "there is no journal " + place.path,
                "extmerge status lists those in the state directory");
  RecordedMerge recorded{target_of(journal->record()), journal->record().beyond_origin};
  MergeTarget& target = recorded.target;
  look_at_devices(target, at_path(target.metadata_path), at_path(target.data_path),
                  at_path(target.origin_path));
  target.journal = journal_place(std::move(place.directory), place.path);
  return recorded;
}

}  // namespace extmerge
