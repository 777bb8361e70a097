// SPDX-License-Identifier: GPL-3.0-or-later

#include "cli/source/lvm/writable_origin.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <spdlog/spdlog.h>
#include <sys/ioctl.h>

#include <algorithm>
#include <cerrno>
#include <optional>

#include "cli/source/dm/layers.h"
#include "cli/source/lvm/thin_volume.h"
#include "io/error.h"
#include "io/text.h"

namespace extmerge {

namespace {

constexpr const char* kLayer = "-real";
constexpr const char* kNode = "-extmerge";

std::optional<DmTable> table_of(const std::optional<uint64_t>& device_number) {
  return device_number ? read_dm_table(*device_number) : std::nullopt;
}

// "vg-origin" of "vg-origin-real"
std::string without_layer(const std::string& name) {
  return name.ends_with(kLayer) ? name.substr(0, name.size() - std::string(kLayer).size()) : name;
}

void make_read_only(const std::optional<uint64_t>& device_number, const UdevStep& udev,
                    UdevRules rules) {
  const auto table = table_of(device_number);
  if (!table) return;
  if (!table->read_only) return reload_dm_table(*device_number, true, udev, rules);
  // A kill between load and resume leaves an inactive table, which the next resume would activate.
  if (table->has_inactive) clear_inactive_table(*device_number);
}

// Drops a node's page cache: writes through another node over the same sectors do not update it.
void drop_cache(const std::optional<uint64_t>& device_number) {
  const auto table = table_of(device_number);
  if (!table) return;
  const DeviceFacts facts = inspect_device(*device_number, dm_path(*table));
  const FileDescriptor device(::open(facts.node.c_str(), O_RDONLY | O_CLOEXEC));
  if (device) ::ioctl(device.get(), BLKFLSBUF, 0);
}

// The beginning of the uuids of all nodes of the group.
std::string group_prefix(const LogicalVolume& origin) {
  return origin.dm_uuid().substr(0, 4 + 32);  // "LVM-" and the group's uuid
}

// An old-style snapshot makes its origin's node a snapshot-origin.
bool has_snapshot(const DmTable& table) {
  return std::ranges::any_of(
      table.targets, [](const DmTarget& target) { return target.type.starts_with("snapshot"); });
}
bool shows_the_origin(const DmTable& table) {
  return !has_snapshot(table) && !table.targets.empty() && table.targets.front().type != "error";
}

// Removes extmerge's node if it is closed.
bool is_node_gone(const LogicalVolume& origin, const UdevStep& udev) {
  if (goes_soon(origin.dm_uuid(kNode))) return true;
  const auto node = find_dm_device(origin.dm_uuid(kNode));
  return !node || remove_dm_device(*node, udev);
}

// A node that somebody has open is another extmerge's.
void refuse_node(const LogicalVolume& origin) {
  if (is_node_gone(origin, UdevStep(origin.dm_uuid()))) return;
  throw Error(MessageId::kInUse, "another extmerge works on " + origin.full_name(),
              "wait for it (extmerge status), or stop it; if none runs, another program has a node "
              "of it open (fuser -v /dev/mapper/*-extmerge)");
}

Error taken_back(const LogicalVolume& origin, const std::string& how) {
  return Error(MessageId::kOriginTakenBack,
               "LVM has changed the origin " + origin.full_name() + " during the merge: " + how,
               "do not rename, move (pvmove), snapshot or refresh that volume during the merge");
}

}  // namespace

OriginNode::OriginNode(const LogicalVolume& origin, Use use,
                       const std::function<void()>& make_layer)
    : origin_(origin), use_(use), udev_(origin.dm_uuid()) {
  const FileDescriptor alone = lock_nodes(origin_.uuid);
  if (use_ == Use::kRead) {
    readers_.take(origin_.uuid);
    if (join_readers()) return;
  }
  refuse_node(origin_);
  if (use_ == Use::kWrite) claim_origin();
  try {
    find_layer(make_layer);
    if (top_ != 0 && !is_hidden(top_)) load_error_table(top_, udev_);
  } catch (...) {
    put_back();
    throw;
  }
}

OriginNode::~OriginNode() {
  FileDescriptor alone;
  try {
    alone = lock_nodes(origin_.uuid);
  } catch (const Error& error) {
    spdlog::warn("{}", printable(error.what()));
  }
  put_back();
}

// Several copies read one origin at the same time. The last of them removes the node. One that a
// killed copy has left is as good, as long as LVM has not replaced the layer below it.
bool OriginNode::join_readers() {
  const auto node = find_dm_device(origin_.dm_uuid(kNode));
  const auto layer = find_dm_device(origin_.dm_uuid(kLayer));
  const auto table = table_of(node), layer_table = table_of(layer);
  if (!table || !table->read_only || !layer_table || devices_of(*table) != std::set{*layer})
    return false;
  FileDescriptor joined(
      ::open(inspect_device(*node, dm_path(*table)).node.c_str(), O_RDONLY | O_DIRECT | O_CLOEXEC));
  if (!joined || find_dm_device(origin_.dm_uuid(kNode)) != node) return false;
  layer_ = *layer;
  layer_table_ = *layer_table;
  node_ = *node;
  claim_ = std::move(joined);
  remove_when_closed(node_, udev_);
  return true;
}

// From here on nobody else can mount the origin.
void OriginNode::claim_origin() {
  const auto top = find_dm_device(origin_.dm_uuid());
  const auto table = table_of(top);
  if (!table) return;
  top_ = *top;
  const std::string path = dm_path(*table);
  origin_claim_ = claim_read_only(inspect_device(top_, path));
  if (closes_soon(top_, 1)) return;
  throw Error(MessageId::kInUse,
              origin_.full_name() +
                  " is open, and reads from it during a merge would mix old and merged data",
              "find out which program reads it (fuser -v " + path + ") and stop that program");
}

void OriginNode::find_layer(const std::function<void()>& make_layer) {
  auto layer = find_dm_device(origin_.dm_uuid(kLayer));
  if (!layer) {
    make_layer();
    layer = find_dm_device(origin_.dm_uuid(kLayer));
  }
  const auto table = table_of(layer);
  if (!table) {
    throw Error(
        MessageId::kLvmRefused,
        "a thin over " + origin_.full_name() + " is active, and LVM has made no layer below it",
        "see dmsetup ls --tree; nothing was written to the origin");
  }
  layer_ = *layer;
  layer_table_ = *table;
  if (use_ == Use::kWrite) reload_dm_table(layer_, false, udev_, UdevRules::kHidden);
  make_node();
}

void OriginNode::make_node() {
  const bool read_only = use_ == Use::kRead;
  node_ = make_node_over(layer_, without_layer(layer_table_.name) + kNode, origin_.dm_uuid(kNode),
                         read_only, udev_);
  const DeviceFacts facts = node_facts();
  const int mode = read_only ? O_RDONLY : O_RDWR;
  claim_ = FileDescriptor(::open(facts.node.c_str(), mode | O_EXCL | O_DIRECT | O_CLOEXEC));
  if (!claim_) throw system_error("claim", facts.path, errno, MessageId::kInUse);
  remove_when_closed(node_, udev_);
}

DeviceFacts OriginNode::node_facts() const {
  return inspect_device(node_, "/dev/mapper/" + without_layer(layer_table_.name) + kNode);
}

DeviceFacts OriginNode::facts() const {
  DeviceFacts facts = node_facts();
  facts.path = "/dev/mapper/" + without_layer(layer_table_.name);
  facts.identity = origin_.identity();
  const auto top = find_dm_device(origin_.dm_uuid());
  const auto table = table_of(top);
  if (!table) return facts;
  const DeviceFacts own = inspect_device(*top, facts.path);
  facts.mount_points.insert(facts.mount_points.end(), own.mount_points.begin(),
                            own.mount_points.end());
  facts.is_swap |= own.is_swap;
  facts.holders.insert(facts.holders.end(), own.holders.begin(), own.holders.end());
  return facts;
}

std::shared_ptr<FileDevice> OriginNode::open(OpenMode mode, Bytes ends_multiple_of) const {
  DeviceFacts facts = node_facts();
  if (mode == OpenMode::kReadOnly) return FileDevice::open(facts, mode, ends_multiple_of);
  FileDescriptor file(::fcntl(claim_.get(), F_DUPFD_CLOEXEC, 0));
  if (!file) throw system_error("open", facts.path, errno, MessageId::kInUse);
  return FileDevice::adopt(std::move(file), facts);
}

void OriginNode::put_back() {
  try {
    claim_ = FileDescriptor();
    readers_.drop();
    if (use_ == Use::kRead && !ReaderLock::is_free(origin_.uuid)) return;
    clear_origin_nodes(origin_);
    origin_claim_ = FileDescriptor();
  } catch (const std::exception& error) {
    spdlog::error("the device nodes of {} could not be put back: {}",
                  printable(origin_.full_name()), printable(error.what()));
  }
}

void OriginNode::check(Changer changer) const {
  const auto top = find_dm_device(origin_.dm_uuid());
  const auto top_table = table_of(top);
  // A user has activated or refreshed the origin. pvmove also activates it.
  const bool is_shown = top_table && shows_the_origin(*top_table) && !top_table->suspended &&
                        !top_table->has_inactive;
  if (is_shown) load_error_table(*top, udev_);
  const auto layer = read_dm_table(layer_);
  if (!layer) throw taken_back(origin_, "the layer below it is gone");
  if (layer->name != layer_table_.name)
    throw taken_back(origin_, "it was renamed (lvrename, vgrename)");
  if (!lead_to_the_same(layer->targets, layer_table_.targets)) {
    throw taken_back(origin_, "it was moved or converted (pvmove, lvconvert)");
  }
  if (top_table && has_snapshot(*top_table)) {
    throw taken_back(origin_, "it has a snapshot of its own (lvcreate -s)");
  }
  if (top_ != 0 && (!top || is_shown)) {
    throw taken_back(origin_, "it was refreshed or renamed (lvchange --refresh, lvrename)");
  }
  // With an inactive table, LVM is about to resume the layer: the next check sees the result.
  if (!layer->read_only || layer->has_inactive) return;
  if (changer == Changer::kAnyone) {
    spdlog::warn(
        "LVM has made a layer of {} read-only during the merge (lvchange --refresh, lvcreate -s or "
        "lvrename of the snapshot); making it writable again",
        printable(origin_.full_name()));
  }
  if (top_table && top_table->has_inactive) clear_inactive_table(*top);
  reload_dm_table(layer_, false, udev_, UdevRules::kHidden);
}

bool has_node(const LogicalVolume& origin) {
  return find_dm_device(origin.dm_uuid(kNode)).has_value();
}

void clear_reading_node(const LogicalVolume& origin) {
  const FileDescriptor alone = lock_nodes(origin.uuid);
  const auto table = table_of(find_dm_device(origin.dm_uuid(kNode)));
  if ((table && !table->read_only) || !ReaderLock::is_free(origin.uuid)) return;
  clear_origin_nodes(origin);
}

void refuse_other_merge(const LogicalVolume& origin, OriginNode::Use use) {
  const FileDescriptor alone = lock_nodes(origin.uuid);
  const auto table = table_of(find_dm_device(origin.dm_uuid(kNode)));
  if (use == OriginNode::Use::kRead && table && table->read_only) return;
  refuse_node(origin);
}

void clear_origin_nodes(const LogicalVolume& origin) {
  const UdevStep udev(origin.dm_uuid());
  udev.discard();
  const auto layer = find_dm_device(origin.dm_uuid(kLayer));
  if (!is_node_gone(origin, udev)) {
    spdlog::warn("{} is open in another program, so its device node stays",
                 printable(origin.full_name()));
  }
  // extmerge never makes the origin's own node writable. If it is writable, LVM made it so.
  const auto top = find_dm_device(origin.dm_uuid());
  if (const auto table = table_of(top); table && table->read_only && table->has_inactive) {
    clear_inactive_table(*top);
  }
  make_read_only(layer, udev, UdevRules::kHidden);
  drop_cache(layer);
  drop_cache(top);
  // LVM removes the layer with the last thin over it, but not while extmerge's node holds it.
  if (layer) remove_unused(*layer, group_prefix(origin), udev);
}

void show_origin(const Lvm& lvm, const LogicalVolume& origin, bool was_active) {
  clear_origin_nodes(origin);
  const auto top = find_dm_device(origin.dm_uuid());
  // A writable origin is an ordinary volume again, and may be in use.
  if (!top || ((was_active || origin.is_writable()) && !is_hidden(*top))) return;
  try {
    lvm.run({"lvchange", was_active ? "--refresh" : "-an", origin.full_name()}, "");
  } catch (const Error& error) {
    // The record stays as it is, and the next command tries again.
    if (error.id() == MessageId::kStopped || (was_active && is_hidden(*top))) throw;
    if (!was_active && is_hidden(*top)) lvm.run({"lvchange", "--refresh", origin.full_name()}, "");
    spdlog::warn("{} stays active, read-only: {}; once it is closed: lvchange -an {}",
                 printable(origin.full_name()), printable(error.what()),
                 printable(origin.full_name()));
  }
}

bool is_hidden(uint64_t device_number) {
  const auto table = read_dm_table(device_number);
  return table && table->targets.size() == 1 && table->targets.front().type == "error";
}

}  // namespace extmerge
