// SPDX-License-Identifier: GPL-3.0-or-later
//
// The changes of a merge in a volume group. Each one is an intent: the record (JOURNAL.lvm) has it
// before it is made. put_back() undoes intents, whichever run made them, in this order:
//
//   intent    made with                               put back with
//   kMark     lvchange -ky --addtag ORIGIN            lvchange --deltag, --refresh or -an
//   kCarrier  lvchange -ay SNAP (or lvcreate -ay)     lvchange -an
//   kOrigin   lvchange -ay ORIGIN (by version 0.1)    lvchange -an
//   kThin     lvchange -ky SNAP (-an for --finish)    lvchange -kn, -ay
//   kMembers  lvchange -ky --addtag MEMBER (--with)   lvchange --deltag, -kn
//   kRest     lvcreate (see cli/source/lvm/rest.h)    lvremove
//   kFreeze   lvcreate -s -ky -pr SNAP                lvremove
//   kPool     lvchange -ay POOL                       lvchange -an
//   kSiblingPools  the same for each other pool that has siblings
//
// Mark, thin, members and freeze outlive a command; the others exist only for the length of one.
// The marks of members outlive the merge, unless it is undone or had not begun. The last
// two need the pool, which may be the cause of a failure. cli/source/dm/metadata_hold.h has the
// metadata snapshot of a pool.

#pragma once

#include <optional>
#include <set>
#include <string>
#include <vector>

#include "cli/source/change_record.h"
#include "cli/source/lvm/thin_volume.h"
#include "cli/source/recorded.h"
#include "cli/source/request.h"
#include "merge/journal/journal.h"

namespace extmerge {

enum class Intent {
  kSiblings,
  kMark,
  kCarrier,
  kOrigin,
  kThin,
  kMembers,
  kRest,
  kFreeze,
  kPool,
  kSiblingPools
};

// A thin of the pool: its id, and the transaction it was made in, since ids are used again.
struct ThinName {
  ThinId id{};
  uint64_t transaction = 0;
  friend bool operator==(const ThinName&, const ThinName&) = default;
};

// The journal, as far as it says how far it is and of which thin.
struct Begun {
  JournalState state = JournalState::kIntent;
  ThinName thin;
};

class Intents {
 public:
  // All of these must outlive it. The group of `volume` may lack its snap, origin and pool.
  Intents(const Request& request, const Lvm& lvm, ThinVolume& volume, RecordedChanges& recorded)
      : request_(request), lvm_(lvm), volume_(volume), recorded_(recorded) {}

  const LogicalVolume* freeze() const { return find_freeze(volume_.group, record_); }
  // The thin that is active for a moment; the freeze, before its uuid is known.
  const LogicalVolume* carrier() const {
    return record_.carrier == record_.freeze ? freeze()
                                             : volume_.group.find_by_uuid(record_.carrier);
  }
  std::optional<Begun> journal(bool to_act_on_it = false) const;
  // The thin that is frozen, or was last; nothing if that is not known.
  std::optional<ThinName> frozen_thin() const;

  // Records the origin's state before it is marked. After a kill the present state is already
  // changed.
  void record_origin();
  void mark_origin();
  void keep_thin_inactive();
  void deactivate_thin();
  // Makes the freeze that the record names. An inactive thin that LVM does not freeze is kept
  // inactive instead.
  void make_freeze();
  // Lists the group again. Throws kStale if LVM has not marked the origin.
  void check_mark();
  // Records the freeze as that listing has it. Throws kStale if another volume was frozen: LVM
  // knows volumes by name, and a name may be another's by now.
  void record_freeze();
  void activate_carrier(const LogicalVolume& thin);
  // With one run of LVM.
  void activate_siblings(const std::vector<const LogicalVolume*>& thins);
  // Records these volumes as given up, and marks them.
  void give_up(const std::vector<LogicalVolume>& members);
  void activate_pool();
  void activate_sibling_pool(const LogicalVolume& pool);

  // kOld: the group may have been renamed, so it is listed again if an intent needs that.
  enum class Listing { kCurrent, kOld };
  // Goes on after a failure; throws the first one in the end.
  void put_back(const std::set<Intent>& which, Listing listing = Listing::kCurrent);
  // SNAP is removed: removes its freeze, and makes the origin an ordinary volume unless other thins
  // read it. Returns the outcome.
  std::string release_origin();
  // --finish: removes the recorded members that still have their tag, the newest first. After a
  // kill the next call removes the rest. Returns their names.
  std::vector<std::string> remove_members();
  // All that outlives a command. Refuses where that cannot be, before anything is changed.
  void put_back_merge();

  // Throws kHalfMerged where SNAP was removed and not all of it is merged.
  void check_not_only_copy(const LogicalVolume& freeze) const;
  void check_pool_stays_writable() const { check_stays_writable(volume_.pool); }
  void check_stays_writable(const LogicalVolume& pool) const;
  // A read-only pool removes no thin and releases no metadata snapshot, so LVM is not even asked.
  // The record stays, and the same command clears the pool once that works again.
  void check_pool_can_be_cleared(const LogicalVolume* freeze) const;

 private:
  // Runs lvchange for the volume with that uuid. Changes nothing if it is not in that group.
  void change(std::vector<std::string> words, const LogicalVolume& volume,
              const std::string& next) const;
  void freeze_failed(const std::string& thin, const Error& error);
  bool is_made(Intent intent) const;
  void undo(Intent intent);
  enum class Origin { kStaysReadOnly, kBecomesWritable };
  void unmark_origin(Origin then = Origin::kStaysReadOnly);
  void release_pool() const;
  void release_thin();
  void release_members();
  void remove_member(const LogicalVolume& member);
  void check_member_alone(const LogicalVolume& member) const;
  void drop_rest();
  void drop_freeze();
  void forget_freeze();
  void deactivate_siblings() const;
  void deactivate(const LogicalVolume* volume, Lvm::Udev udev = Lvm::Udev::kTold) const;

  const Request& request_;
  const Lvm& lvm_;
  ThinVolume& volume_;
  RecordedChanges& recorded_;
  SystemChanges& record_ = recorded_.changes;
};

// The volumes of a record, as far as they exist.
ThinVolume recorded_volume(const Lvm& lvm, const SystemChanges& record);

// The id of this boot. An activation of another boot is not ours.
std::string boot_id();

}  // namespace extmerge
