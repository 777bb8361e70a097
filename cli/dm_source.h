// SPDX-License-Identifier: GPL-3.0-or-later
//
// A device-mapper thin by its path, /dev/mapper/THIN: pool, metadata, data and external
// origin are in its table and its pool's. Nobody can freeze it for us here, so it must be
// still: suspended, or read-only with no other device open on the same thin id.

#pragma once

#include <memory>
#include <string>

#include "cli/device_mapper.h"
#include "cli/journal_place.h"
#include "cli/metadata_hold.h"
#include "cli/named_source.h"
#include "cli/state_traces.h"

namespace extmerge {

class DmSource final : public NamedSource {
 public:
  // `device_number` is a dm device's. Throws kNotAThin.
  DmSource(const Options& options, uint64_t device_number);

  std::string thin_name() const override { return dm_path(thin_); }
  std::string origin_name() const override { return origin_; }
  // One that was begun cannot be gone on with: nobody kept the thin still since, and what
  // was written in place no root tells.
  bool is_unfinished() const override { return false; }
  bool must_begin_anew() const override;
  MergeTarget plan_target() override { return target(); }
  MergeTarget verify_target() override { return target(); }
  void complete_plan(PlanReport& report) const override;
  MergeTarget merge_target() override;
  MergeTarget resume_target() override;
  // What its data is meanwhile does not matter.
  MergeTarget undo_target() override { return target(); }
  void undone() override { hold_.reset(); }
  void planned() override { hold_.reset(); }
  void done() override {}
  Error failed(const Error& error) override { return error; }
  void abort() override { remove_journal(place_); }
  const JournalPlace& place() const override { return place_; }

 private:
  MergeTarget target();
  void check_still() const;
  void note() const;
  void reserve();
  // Whether the journal is of a merge of this thin into this origin.
  bool is_ours(const Journal& journal) const;

  const Options& options_;
  const uint64_t device_number_;
  DmTable thin_;
  ThinPool pool_;
  ThinId id_{};
  uint64_t origin_number_ = 0;
  std::string origin_;  // its path
  JournalPlace place_;
  SystemChanges changes_;
  StateTraces traces_;
  std::unique_ptr<MetadataHold> hold_;
};

}  // namespace extmerge
