// SPDX-License-Identifier: GPL-3.0-or-later
//
// Decides whether a merge can be a round: whether it is enough to merge what was written since the
// last merge.
//
// A mapping has the pool's time at which it was made. The time rises with each snapshot, and a
// write to a block that is older than the last snapshot of its thin makes a new mapping, even if
// that snapshot is gone. So with the time of a freeze that was merged, the mappings of a later
// freeze tell what was written since (drivers/md/dm-thin-metadata.c). This holds only for the same
// thin in the same pool, and only if the origin still holds what was merged.
//
// Each condition is a function of its own, with the reason for a full merge. A round that leaves
// out a changed block is a wrong byte; a full merge costs time.

#pragma once

#include <optional>
#include <string>

#include "merge/journal/journal.h"
#include "persistent-data/devices.h"

namespace extmerge {

// kAsKnown: a round if the source is known to be the thin that was merged before (LVM).
// kSince: a round, on the user's word that it is; where that cannot be, an error.
enum class RoundChoice { kAsKnown, kFull, kSince };

struct BaseWishes {
  RoundChoice choice = RoundChoice::kAsKnown;
  bool restart = false;
  bool again = false;
  bool of_other_target = false;  // a copy: `last` is the journal of another target
};

struct BaseDecision {
  std::optional<Base> base;
  std::string full_reason;  // of a full merge, as the end of a sentence; empty for a round
};

// `last` is the journal of the last merge into the origin, null if there is none. `wanted` is the
// merge to be planned: its devices, its thin, and the pool's time. `thin` is the thin that is
// written to: the merged one, or the one that it is a freeze of; null if it is gone.
BaseDecision choose_base(const Journal* last, const MergeRecord& wanted, const ThinDevice* thin,
                         const BaseWishes& wishes);

// For kSince, with `full_reason`: the option that asks for it is not possible. An empty `next` is
// to leave it out.
Error no_base(const std::string& option, const std::string& full_reason,
              const std::string& next = "");

// Refuses a copy of what is mapped where the target may differ from the origin in places that
// neither the thin maps nor the journal has. Only a whole copy is right then.
Refusal refuse_without_whole(const Journal& last, const MergeRecord& wanted);

// Checks that the mappings which a round leaves out are those that the last merge merged. Each must
// be in that plan, with the same data block, as far as that plan goes back.
class HeldMappings {
 public:
  // `last` must outlive it.
  explicit HeldMappings(const Journal& last);
  // Called in rising order. Throws kOtherThin.
  void check(const Mapping& mapping);

 private:
  const Journal& last_;
  const PlanLimits limits_;
  std::unique_ptr<RunSource> runs_;
  Run run_;
  bool at_end_ = false;
};

}  // namespace extmerge
