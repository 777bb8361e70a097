// SPDX-License-Identifier: GPL-3.0-or-later
//
// A snapshot that is longer than its origin, with data past the origin's end ("the rest"). LVM
// extends no external origin, so --finish keeps the rest in a volume until the snapshot is gone:
//
//   step                                                       record before it
//   the rest is copied to a new volume of the group, durable,  rest
//   and compared
//   a metadata snapshot of the pool is reserved: as long as    rest.is_whole, holding
//   it is held, the pool keeps the blocks of the snapshot
//   snapshot and freeze are removed (lvremove)                 removing
//   the origin is extended (lvextend)
//   a thin is made over it, for LVM's layer below the origin   rest.carrier
//   the rest is copied back through that layer, durable, and
//   compared; the thin is removed
//   the origin is an ordinary volume                           not rest.is_whole
//   that new volume is removed, the metadata snapshot
//   released
//
// After a kill the same command repeats what is not done. Up to the removal of the snapshot, it
// drops the copy and begins again. The new volume has a head of 1 MiB: zeros, after a text that
// says where its bytes belong.

#pragma once

#include <string>

#include "cli/source/dm/metadata_hold.h"
#include "cli/source/lvm/intents.h"
#include "io/block_device.h"
#include "merge/merge.h"

namespace extmerge {

// Why the rest of the snapshot cannot be brought to the origin; nothing if it can. `readers` are
// the other volumes that read the origin.
Refusal judge_rest(const ThinVolume& volume, const std::vector<OriginUser>& readers);
// The note of a plan with a rest.
std::string rest_note(const ThinVolume& volume);

class RestMover {
 public:
  // All of these must outlive it.
  RestMover(const Request& request, const Lvm& lvm, ThinVolume& volume, RecordedChanges& recorded,
            Intents& intents)
      : request_(request), lvm_(lvm), volume_(volume), recorded_(recorded), intents_(intents) {}

  // Whether the record has a rest that is copied to a volume and not yet back.
  bool has_rest() const { return record_.rest.is_whole; }

  // Copies the rest of `snap`, the snapshot, to a new volume. If it is all zero, there is nothing
  // to do; otherwise throws `refusal`.
  void put_aside(BlockDevice& snap, const Refusal& refusal);
  // Hides an active origin: LVM would show it, with a part of its file system missing, as soon as
  // nothing reads it.
  void hide_origin() const;
  // The snapshot is gone. Extends the origin and copies the rest to it.
  void bring_back();
  // The origin is an ordinary volume: removes the new one.
  void complete();

 private:
  LogicalVolume origin() const;
  LogicalVolume rest_volume() const;
  void make_aside();
  void extend_origin();
  void make_carrier();
  void blank_carrier(const LogicalVolume& carrier, uint64_t pool) const;
  void remove_carrier();
  void check_stop() const;

  const Request& request_;
  const Lvm& lvm_;
  ThinVolume& volume_;
  RecordedChanges& recorded_;
  Intents& intents_;
  SystemChanges& record_ = recorded_.changes;
};

}  // namespace extmerge
