// SPDX-License-Identifier: GPL-3.0-or-later

#include "cli/writable_origin.h"

#include <fcntl.h>
#include <spdlog/spdlog.h>

#include <cerrno>
#include <optional>

#include "cli/device_mapper.h"
#include "cli/printable.h"
#include "io/error.h"

namespace extmerge {

namespace {

bool is_read_only(uint64_t device_number) {
  const auto table = read_dm_table(device_number);
  return !table || table->read_only;
}

void make_read_only(const std::optional<uint64_t>& device_number) {
  if (!device_number) return;
  if (!is_read_only(*device_number)) return reload_dm_table(*device_number, true);
  // A kill between loading and resuming leaves one that the next resume would take.
  const auto table = read_dm_table(*device_number);
  if (table && table->has_inactive) clear_inactive_table(*device_number);
}

}  // namespace

WritableOrigin::WritableOrigin(const Lvm& lvm, const LogicalVolume& origin, bool was_active)
    : lvm_(lvm), origin_(origin), was_active_(was_active) {
  lvm_.run({"lvchange", "-ay", "-K", origin_.full_name()},
           "see lvs -a; nothing was written to the origin");
  const auto top = find_dm_device(origin_.dm_uuid());
  if (!top) {
    throw Error(MessageId::kLvmRefused,
                origin_.full_name() + " was activated and has no device all the same",
                "see dmsetup ls --tree; nothing was written to the origin");
  }
  top_ = *top;
  layer_ = find_dm_device(origin_.dm_uuid("-real")).value_or(0);
  path_ = dm_path(*read_dm_table(top_));
  claim_ = FileDescriptor(::open(path_.c_str(), O_RDWR | O_EXCL | O_DIRECT | O_CLOEXEC));
  if (!claim_) {
    const int error_number = errno;
    put_back();
    throw system_error("claim", path_, error_number, MessageId::kInUse);
  }
  try {
    if (layer_ != 0) reload_dm_table(layer_, false);
    reload_dm_table(top_, false);
  } catch (...) {
    put_back();
    throw;
  }
}

WritableOrigin::~WritableOrigin() { put_back(); }

std::unique_ptr<FileDevice> WritableOrigin::open(const DeviceFacts& facts) const {
  FileDescriptor file(::fcntl(claim_.get(), F_DUPFD_CLOEXEC, 0));
  if (!file) throw system_error("open", facts.path, errno, MessageId::kInUse);
  return FileDevice::adopt(std::move(file), facts);
}

void WritableOrigin::put_back() {
  try {
    make_nodes_read_only(origin_);
    claim_ = FileDescriptor();
    make_origin_read_only(lvm_, origin_, was_active_);
  } catch (const std::exception& error) {
    spdlog::error("{} could not be made read-only again: {}", printable(origin_.full_name()),
                  printable(error.what()));
  }
}

void WritableOrigin::check() const {
  if (is_read_only(top_)) {
    throw Error(MessageId::kOriginTakenBack,
                "LVM has made the origin " + origin_.full_name() +
                    " read-only during the merge (lvchange --refresh, lvrename)",
                "let nobody change that volume meanwhile");
  }
  if (layer_ == 0 || !is_read_only(layer_)) return;
  spdlog::warn("LVM has made a layer of {} read-only during the merge; making it writable again",
               printable(origin_.full_name()));
  if (const auto table = read_dm_table(top_); table && table->has_inactive) {
    clear_inactive_table(top_);
  }
  reload_dm_table(layer_, false);
}

void make_nodes_read_only(const LogicalVolume& origin) {
  make_read_only(find_dm_device(origin.dm_uuid()));
  make_read_only(find_dm_device(origin.dm_uuid("-real")));
}

void make_origin_read_only(const Lvm& lvm, const LogicalVolume& origin, bool was_active) {
  make_nodes_read_only(origin);
  if (!find_dm_device(origin.dm_uuid()) || was_active) return;
  try {
    lvm.run({"lvchange", "-an", origin.full_name()}, "");
  } catch (const Error& error) {
    spdlog::warn("{} stays active, read-only: {}; deactivate it once it is closed: lvchange -an {}",
                 printable(origin.full_name()), printable(error.what()),
                 printable(origin.full_name()));
  }
}

}  // namespace extmerge
