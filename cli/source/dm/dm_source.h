// SPDX-License-Identifier: GPL-3.0-or-later
//
// A device-mapper thin by its path, /dev/mapper/THIN. The tables of the thin and its pool tell
// pool, metadata, data and external origin. extmerge cannot freeze such a thin, so it must be
// suspended or read-only. Another active device must not use the same thin id.

#pragma once

#include <memory>
#include <string>

#include "cli/source/dm/device_mapper.h"
#include "cli/source/named_source.h"
#include "cli/source/places.h"

namespace extmerge {

class DmSource final : public NamedSource {
 public:
  // `device_number` is a dm device's. Throws kNotAThin.
  DmSource(const Request& request, uint64_t device_number);

  std::string thin_name() const override { return dm_path(thin_); }
  std::string origin_name() const override { return origin_; }
  // A merge that was begun cannot be resumed: the thin may have changed since, and no root shows
  // writes in place.
  bool must_restart() const override;
  Job plan_job() override { return job(); }
  void check_still() const override;
  void complete_plan(PlanReport& report) const override;
  Job merge_job() override;
  Job resume_job() override;
  // An undo needs only the origin, so the thin may change.
  Job undo_job() override { return job(); }
  void undone() override { hold_.reset(); }
  // During a merge, refuses a thin that can be written to.
  void look_again(Job& job) override;
  void abort() override { give_up_journal(place_); }

 private:
  Job job();
  Look destination_look();
  // Whether the journal belongs to a merge of this thin into this origin.
  bool is_ours(const Journal& journal) const;

  const uint64_t device_number_;
  DmTable thin_;
  ThinId id_{};
  uint64_t origin_number_ = 0;
  std::string origin_;    // its path
  std::string identity_;  // of the origin, or of the target of a copy
  bool must_be_still_ = false;
};

}  // namespace extmerge
