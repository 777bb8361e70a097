// SPDX-License-Identifier: GPL-3.0-or-later

#include "cli/source/lvm/rest.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <cstdio>

#include "cli/source/lvm/origin_pool.h"
#include "cli/source/lvm/writable_origin.h"
#include "io/buffer.h"
#include "io/text.h"
#include "io/transfer.h"
#include "merge/copy/range.h"

namespace extmerge {

namespace {

constexpr Bytes kHead{1 << 20};

const std::string kAgain = "then run the same command again";

std::string new_name(const char* what) {
  char text[64];
  std::snprintf(text, sizeof text, "extmerge_%s_%08x", what,
                static_cast<unsigned>(random_nonce() >> 32));
  return text;
}

Bytes rest_of(const LogicalVolume& snap, const LogicalVolume& origin) {
  return snap.size > origin.size ? snap.size - origin.size : Bytes(0);
}

// How much of the group an extension of the origin by `length` takes: the legs of a raid or mirror
// grow together, a thin takes room of its pool.
Bytes taken_by_extension(const Group& group, const LogicalVolume& origin, Bytes length) {
  if (origin.is_thin()) return {};
  Bytes legs;
  for (const LogicalVolume& volume : group.volumes()) {
    const bool is_leg = volume.name.starts_with(origin.name + "_rimage_") ||
                        volume.name.starts_with(origin.name + "_mimage_");
    if (is_leg && volume.name.find('_', origin.name.size() + 8) == std::string::npos)
      legs += volume.size;
  }
  if (legs <= origin.size) return length;
  const double ratio = static_cast<double>(legs.value()) / static_cast<double>(origin.size.value());
  return Bytes(static_cast<uint64_t>(static_cast<double>(length.value()) * ratio));
}

// Opens a volume that only this program uses.
std::unique_ptr<FileDevice> claim(const LogicalVolume& volume) {
  const auto node = find_dm_device(volume.dm_uuid());
  if (!node || !closes_soon(*node)) {
    throw Error(MessageId::kInUse,
                volume.full_name() + (node ? " is open in another program" : " has no device"),
                "see lvs -a and fuser -v, " + kAgain);
  }
  return FileDevice::open(facts_of_device(*node), OpenMode::kClaim, Bytes(kSectorSize));
}

void write_head(BlockDevice& device, const std::string& text, Bytes length) {
  Buffer head(length.value());
  std::ranges::copy(std::as_bytes(std::span(text)), head.span().begin());
  write_fully(device, *device.make_queue(1), Bytes(0), head.span());
}

}  // namespace

Refusal judge_rest(const ThinVolume& volume, const std::vector<OriginUser>& readers) {
  const LogicalVolume &snap = volume.snap, &origin = volume.origin;
  if (!readers.empty()) {
    std::vector<std::string> names;
    for (const OriginUser& reader : readers) names.push_back(reader.name);
    return Error(MessageId::kCannotExtend,
                 snap.full_name() + " has data past the end of " + origin.full_name() +
                     ", and LVM extends no origin that others read: " + some_of(names),
                 "merge or remove these first, " + kAgain);
  }
  const Bytes rest = rest_of(snap, origin);
  const Bytes needed = rest + kHead + taken_by_extension(volume.group, origin, rest);
  if (needed <= origin.vg_free) return {};
  return Error(MessageId::kNoSpace,
               "the group " + origin.vg + " has " + bytes_text(origin.vg_free) +
                   " free, and to extend " + origin.full_name() + " by the data of " +
                   snap.full_name() + " past its end takes " + bytes_text(needed) +
                   " there for a time",
               "make room in the group (vgextend), " + kAgain);
}

std::string rest_note(const ThinVolume& volume) {
  return "data lies past the origin's end: after the merge extmerge extends " +
         volume.origin.full_name() + " to " + bytes_text(volume.snap.size) +
         " and copies that data there";
}

void RestMover::check_stop() const {
  if (!request_.stop.stop_requested()) return;
  throw Error(MessageId::kStopped, "stopped as requested", "run the same command again");
}

LogicalVolume RestMover::origin() const {
  const LogicalVolume* const found = volume_.group.find_by_uuid(record_.origin_uuid);
  if (found) return *found;
  throw Error(MessageId::kNotFound, "the origin " + record_.origin_name() + " is gone",
              "see lvs -a " + record_.vg);
}

LogicalVolume RestMover::rest_volume() const {
  const LogicalVolume* const found = volume_.group.find_by_uuid(record_.rest.uuid);
  if (found) return *found;
  throw Error(
      MessageId::kNotFound,
      record_.vg + "/" + record_.rest.name + " is gone, the volume with what lay past the end of " +
          record_.origin_name(),
      "see lvs -a " + record_.vg +
          "; as long as extmerge's metadata snapshot is held, the pool keeps the blocks of " +
          record_.thin_name());
}

void RestMover::put_aside(BlockDevice& snap, const Refusal& refusal) {
  const LogicalVolume at = origin();
  const Bytes length = snap.size() > at.size ? snap.size() - at.size : Bytes(0);
  const auto check = [this] { check_stop(); };
  if (length == Bytes(0) || !has_data({snap, at.size}, length, check)) return;
  if (refusal) throw *refusal;
  record_.rest = {.name = new_name("rest"),
                  .uuid = {},
                  .from = at.size.value(),
                  .length = length.value(),
                  .is_whole = false,
                  .carrier = {}};
  recorded_.write();
  spdlog::info("{} of {} lie past the end of {}: copied to {}/{}", bytes_text(length),
               printable(record_.thin_name()), printable(at.full_name()), printable(at.vg),
               record_.rest.name);
  make_aside();
  const auto device = claim(rest_volume());
  write_head(*device,
             "extmerge: the bytes of " + record_.thin_name() + " from byte " +
                 std::to_string(record_.rest.from) +
                 " on begin 1 MiB after this text. They belong "
                 "at the same byte of " +
                 at.full_name() + ".\n",
             kHead);
  copy_range({snap, at.size}, {*device, kHead}, length, check);
  record_.rest.is_whole = true;
  recorded_.write();
}

// LVM activates it in spite of its activation skip, which keeps it inactive after a boot.
void RestMover::make_aside() {
  const std::string size = std::to_string(record_.rest.length + kHead.value()) + "b";
  lvm_.run({"lvcreate", "-y", "-Wn", "-Zn", "-ky", "-K", "-n", record_.rest.name, "--addtag",
            kRestTag, "-L", size, volume_.snap.vg},
           "see vgs and lvs -a, " + kAgain);
  volume_.list_again(lvm_);
  const LogicalVolume* const made = volume_.group.find(record_.rest.name);
  if (!made || !made->has_tag(kRestTag)) {
    throw Error(MessageId::kLvmRefused, "LVM made " + record_.rest.name + " but does not list it",
                "see lvs -a " + volume_.snap.vg);
  }
  record_.rest.uuid = made->uuid;
  recorded_.write();
}

void RestMover::hide_origin() const {
  const LogicalVolume at = origin();
  if (!is_active_now(at)) return;
  lvm_.run({"lvchange", "-an", at.full_name()},
           "find out which program uses it (fuser -v), " + kAgain);
}

void RestMover::bring_back() {
  volume_.list_again(lvm_);
  clear_origin_nodes(origin());  // of a run that was killed
  const LogicalVolume from = rest_volume();
  if (!is_active_now(from)) {
    lvm_.run({"lvchange", "-ay", "-K", from.full_name()}, "see lvs -a, " + kAgain);
  }
  extend_origin();
  make_carrier();
  const auto make_layer = [&] {
    intents_.activate_carrier(*volume_.group.find(record_.rest.carrier));
  };
  {
    const OriginNode node(origin(), OriginNode::Use::kWrite, make_layer);
    intents_.put_back({Intent::kCarrier});
    const OriginPool pool(volume_.group, origin());
    const auto source = claim(from);
    const auto target = node.open(OpenMode::kClaim, Bytes(kSectorSize));
    spdlog::info("copied back to {}: {}", printable(origin().full_name()),
                 bytes_text(Bytes(record_.rest.length)));
    copy_range({*source, kHead}, {*target, Bytes(record_.rest.from)}, Bytes(record_.rest.length),
               [&] {
                 check_stop();
                 node.check(OriginNode::Changer::kAnyone);
                 pool.check();
               });
  }
  remove_carrier();
  // From here on somebody may use the origin: nothing is copied to it again.
  record_.rest.is_whole = false;
  recorded_.write();
}

void RestMover::extend_origin() {
  const LogicalVolume at = origin();
  std::vector<OriginUser> readers = volume_.group.users_of(at.name, "");
  std::erase_if(readers, [&](const OriginUser& reader) {
    return reader.name == record_.vg + "/" + record_.rest.carrier;
  });
  const uint64_t end = record_.rest.from + record_.rest.length;
  if (at.size >= Bytes(end)) return;
  if (!readers.empty()) {
    throw Error(
        MessageId::kCannotExtend,
        "LVM does not extend " + at.full_name() + ", since " + readers.front().name +
            " reads it now; " + volume_.group.find_by_uuid(record_.rest.uuid)->full_name() +
            " keeps what belongs there",
        "remove " + readers.front().name + " (it shows the origin's state of now), " + kAgain);
  }
  lvm_.run({"lvextend", "-y", "-L", std::to_string(end) + "b", at.full_name()},
           "make room in the group (vgextend), " + kAgain + ": " + record_.vg + "/" +
               record_.rest.name + " keeps what belongs there");
  volume_.list_again(lvm_);
}

// LVM makes a layer below an origin only for a thin over it. The hidden layer keeps the origin out
// of sight until it is whole.
void RestMover::make_carrier() {
  if (record_.rest.carrier.empty()) {
    record_.rest.carrier = new_name("layer");
    recorded_.write();
  }
  if (!find_dm_device(volume_.pool.dm_uuid("-tpool"))) intents_.activate_pool();
  const auto pool = find_dm_device(volume_.pool.dm_uuid("-tpool"));
  if (!pool) {
    throw Error(MessageId::kUnfitPool, "the pool " + volume_.pool.full_name() + " has no device",
                "activate it (lvchange -ay " + volume_.pool.full_name() + "), " + kAgain);
  }
  // LVM makes no thin in a full pool. The new volume has all that the blocks of the snapshot held.
  if (pool_status(*pool).is_nearly_full()) reclaim_metadata_snapshot(recorded_);
  if (!volume_.group.find(record_.rest.carrier)) {
    lvm_.run({"lvcreate", "-s", "-ky", "-pr", "-n", record_.rest.carrier, "--addtag", kRestTag,
              "--thinpool", volume_.pool.full_name(), origin().full_name()},
             "see lvs -a, " + kAgain);
    volume_.list_again(lvm_);
  }
  const LogicalVolume* const made = volume_.group.find(record_.rest.carrier);
  if (!made || !made->has_tag(kRestTag) || !made->thin_id) {
    throw Error(MessageId::kLvmRefused,
                "LVM made " + record_.rest.carrier + " but does not list it so",
                "see lvs -a " + record_.vg);
  }
  if (!is_active_now(*made)) blank_carrier(*made, *pool);
}

// udev sees it for a moment: without these zeros it would find the file system of the origin there.
void RestMover::blank_carrier(const LogicalVolume& carrier, uint64_t pool) const {
  const UdevStep udev(carrier.dm_uuid());
  const uint64_t node = make_thin_node(
      pool, static_cast<ThinId>(*carrier.thin_id), {}, carrier.size,
      node_of_volume(carrier.vg, carrier.name) + "-extmerge", carrier.dm_uuid("-extmerge"), udev);
  const auto device = FileDevice::open(facts_of_device(node), OpenMode::kClaim, Bytes(kSectorSize));
  remove_when_closed(node, udev);
  write_head(*device, "", std::min(kHead, carrier.size));
  flush_fully(*device, kAgain);
}

void RestMover::remove_carrier() {
  lvm_.run({"lvremove", "-y", record_.vg + "/" + record_.rest.carrier}, "see lsblk, " + kAgain);
  record_.rest.carrier.clear();
  recorded_.write();
  volume_.list_again(lvm_);
}

void RestMover::complete() {
  if (record_.rest.name.empty()) return;
  if (const LogicalVolume* const made = volume_.group.find_by_uuid(record_.rest.uuid)) {
    lvm_.run({"lvremove", "-y", made->full_name()}, "see lsblk, " + kAgain);
  }
  record_.rest = {};
  recorded_.write();
}

}  // namespace extmerge
