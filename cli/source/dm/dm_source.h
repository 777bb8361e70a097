// SPDX-License-Identifier: GPL-3.0-or-later
//
// A device-mapper thin by its path, /dev/mapper/THIN: pool, metadata, data and external
// origin are in its table and its pool's. Nobody can freeze it for us here, so it must be
// still: suspended, or read-only with no other device open on the same thin id.

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
  // One that was begun cannot be resumed: nobody kept the thin still since, and no root tells what
  // was written in place.
  bool must_begin_anew() const override;
  Job plan_job() override { return job(); }
  Job verify_job() override { return job(); }
  void complete_plan(PlanReport& report) const override;
  Job merge_job() override;
  Job resume_job() override;
  // What its data is meanwhile does not matter.
  Job undo_job() override { return job(); }
  void undone() override { hold_.reset(); }
  // Refuses a thin that is not still any more, once it is being merged.
  void look_again(Job& job) override;
  void abort() override { remove_journal(place_); }

 private:
  Job job();
  void check_still() const;
  // Whether the journal is of a merge of this thin into this origin.
  bool is_ours(const Journal& journal) const;

  const uint64_t device_number_;
  DmTable thin_;
  ThinId id_{};
  uint64_t origin_number_ = 0;
  std::string origin_;  // its path
  bool must_be_still_ = false;
};

}  // namespace extmerge
