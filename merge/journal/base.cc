// SPDX-License-Identifier: GPL-3.0-or-later

#include "merge/journal/base.h"

#include "io/identity.h"
#include "io/text.h"
#include "merge/journal/choice.h"

namespace extmerge {

namespace {

// The facts that the conditions look at.
struct Facts {
  const Journal* last;
  const MergeRecord& wanted;
  const ThinDevice* thin;
  const BaseWishes& wishes;

  const MergeRecord& merged() const { return last->record(); }
};

using Reason = std::optional<std::string>;

Reason full_is_wanted(const Facts& facts) {
  if (facts.wishes.choice == RoundChoice::kFull) return "--full asks for it";
  if (facts.wishes.again) return "--again asks for everything once more";
  if (facts.wishes.restart) return "the " + facts.wanted.deed() + " restarts from the beginning";
  return {};
}

Reason nothing_was_merged(const Facts& facts) {
  if (!facts.last)
    return facts.wanted.is_copy() ? "no earlier copy to this target is known"
                                  : "no earlier merge into this origin is known";
  if (facts.last->state() == JournalState::kDone) return {};
  const bool was_undone = facts.last->state() == JournalState::kUndone;
  return "the last " + facts.merged().deed() + (was_undone ? " was undone" : " is unfinished");
}

Reason is_another_origin(const Facts& facts) {
  const bool is_same =
      facts.wishes.of_other_target ||
      is_same_identity(facts.merged().origin.identity, facts.wanted.origin.identity);
  if (!is_same)
    return "the journal is of a " + facts.merged().deed() +
           (facts.wanted.is_copy() ? " to another target" : " into another origin");
  return {};
}

// A target that got only what the thin mapped may differ elsewhere.
Reason is_another_kind(const Facts& facts) {
  if (facts.merged().is_copy() != facts.wanted.is_copy())
    return "the journal is of a " + facts.merged().deed() + ", not of a " + facts.wanted.deed();
  if (facts.wanted.is_copy() && facts.wanted.copy->whole && !facts.merged().copy->whole)
    return "the last copy was without --whole";
  return {};
}

Reason has_another_origin(const Facts& facts) {
  if (!facts.wanted.is_copy() ||
      is_same_identity(facts.merged().copy->origin.identity, facts.wanted.copy->origin.identity))
    return {};
  return "the thin had another external origin at the last copy";
}

Reason origin_has_changed(const Facts& facts) {
  if (!facts.wanted.is_copy() ||
      facts.merged().copy->origin_state == facts.wanted.copy->origin_state)
    return {};
  return "the external origin was merged into, or written to, since the last copy";
}

// The next journal would not know the target's blocks past the thin's end.
Reason was_longer(const Facts& facts) {
  if (!facts.wanted.is_copy() || facts.merged().plan_end <= facts.wanted.plan_end) return {};
  return "the thin was longer at the last copy";
}

// Only for a copy of what is mapped: the target never got the origin's content there.
Reason is_new_part(const Facts& facts) {
  if (!facts.merged().copy->whole || facts.merged().plan_end >= facts.wanted.plan_end) return {};
  return "the thin has grown since a copy with --whole";
}

Reason is_another_pool(const Facts& facts) {
  if (!same_pool(facts.merged(), facts.wanted) ||
      facts.merged().block_size != facts.wanted.block_size)
    return "the last " + facts.wanted.deed() + " was from another pool";
  return {};
}

Reason is_of_version_1(const Facts& facts) {
  if (facts.merged().newest_time < kEndOfTimes) return {};
  return "the last " + facts.wanted.deed() + " was recorded by an earlier version of extmerge";
}

// Without a freeze, blocks are overwritten in place and keep their times. A freeze has no mapping
// of its own time or later, unless it was written to itself.
Reason was_no_freeze(const Facts& facts) {
  const MergeRecord& merged = facts.merged();
  if (merged.creation_time == 0 || merged.creation_time >= kEndOfTimes ||
      merged.newest_time >= merged.creation_time)
    return "the state " + facts.wanted.done() + " last was not frozen";
  if (facts.wishes.choice == RoundChoice::kSince || merged.frozen_from) return {};
  return "the state " + facts.wanted.done() + " last was not known to be a freeze of this thin";
}

// LVM gives a volume another thin when it reverts it to a snapshot (lvconvert --merge).
Reason is_another_thin(const Facts& facts) {
  const MergeRecord& merged = facts.merged();
  if (!facts.thin) return "the thin is gone, and only its freeze is left";
  if (!merged.frozen_from) return {};  // the user's word
  const ThinIdentity thin{facts.thin->id, facts.thin->creation_time, facts.thin->transaction_id};
  if (*merged.frozen_from == thin) return {};
  // A later snapshot of the frozen thin may be named by hand.
  if (facts.wishes.choice == RoundChoice::kSince && thin.creation_time > merged.creation_time)
    return {};
  return "the last " + facts.wanted.deed() + " was of another thin";
}

// A thin that was frozen has that time, or a later one. A snapshot has its own creation's.
Reason was_not_frozen_then(const Facts& facts) {
  const uint32_t time = facts.merged().creation_time;
  if (facts.thin->snapshotted_time >= time) return {};
  return "the thin has no snapshot as late as the last " + facts.wanted.deed() +
         ": it is another one, or the pool's metadata was restored";
}

Reason pool_time_is_unfit(const Facts& facts) {
  if (facts.wanted.pool_time >= kEndOfTimes)
    return "the pool has made so many snapshots that its times begin again";
  if (facts.wanted.pool_time < facts.merged().pool_time ||
      facts.wanted.pool_transaction_id < facts.merged().pool_transaction_id)
    return "the pool is older than at the last " + facts.wanted.deed() +
           ": its metadata was restored";
  return {};
}

constexpr Reason (*kConditions[])(const Facts&) = {
    full_is_wanted,     nothing_was_merged, is_another_kind, is_another_origin,
    has_another_origin, origin_has_changed, was_longer,      is_another_pool,
    is_of_version_1,    was_no_freeze,      is_another_thin, was_not_frozen_then,
    pool_time_is_unfit,
};

}  // namespace

BaseDecision choose_base(const Journal* last, const MergeRecord& wanted, const ThinDevice* thin,
                         const BaseWishes& wishes) {
  const bool goes_on = last && last->state() == JournalState::kCopying && !wishes.restart &&
                       last->record().thin_id == wanted.thin_id;
  if (goes_on) {
    if (last->record().base) return {last->record().base, {}};
    return {{}, "the unfinished " + wanted.deed() + " is a full one"};
  }
  const Facts facts{last, wanted, thin, wishes};
  for (const auto condition : kConditions) {
    if (const Reason reason = condition(facts)) return {{}, *reason};
  }
  const MergeRecord& merged = last->record();
  return {Base{merged.creation_time, merged.plan_end, last->verified(), last->nonce(),
               merged.created_at},
          {}};
}

Refusal refuse_without_whole(const Journal& last, const MergeRecord& wanted) {
  if (!last.record().is_copy() || wanted.copy->whole) return {};
  const Facts facts{&last, wanted, nullptr, {}};
  for (const auto condition : {has_another_origin, origin_has_changed, was_longer, is_new_part}) {
    const Reason reason = condition(facts);
    if (!reason) continue;
    return Error(
        MessageId::kNoBase,
        "the target " + wanted.origin.path + " needs more than what the thin maps: " + *reason,
        "copy everything that the thin shows: extmerge copy --whole, without --since, and with "
        "--restart if a copy is unfinished");
  }
  return {};
}

Error no_base(const std::string& option, const std::string& full_reason, const std::string& next) {
  return Error(MessageId::kNoBase, option + " is not possible: " + full_reason,
               next.empty() ? "do everything once more: the same command without " + option : next);
}

// The journal of a copy has all mappings of its state, whatever it copied.
HeldMappings::HeldMappings(const Journal& last)
    : last_(last),
      limits_(last.record().is_copy() ? last.record().limits().of_everything()
                                      : last.record().limits()),
      runs_(last.all_runs()) {}

void HeldMappings::check(const Mapping& mapping) {
  // Blocks past the end of the last merge, or that it left out itself, are not in its plan.
  const bool is_past_end = mapping.thin.value() >= limits_.block_size.blocks_holding(limits_.end);
  if (is_past_end || !limits_.is_planned(mapping.thin, mapping.time)) return;
  while (!at_end_ && run_.thin + run_.blocks <= mapping.thin) at_end_ = !runs_->next(run_);
  const bool is_held = !at_end_ && run_.is_mapped() && run_.blocks > 0 &&
                       run_.thin <= mapping.thin &&
                       run_.data + (mapping.thin - run_.thin) == mapping.data;
  if (is_held) return;
  throw Error(MessageId::kOtherThin,
              "the thin maps block " + std::to_string(mapping.thin.value()) +
                  " since before the last " + last_.record().deed() + " (" + last_.path() +
                  "), and that did not find it there: it was of another thin, or the pool's "
                  "metadata was restored",
              last_.record().deed() + " everything: the same command with --full");
}

}  // namespace extmerge
