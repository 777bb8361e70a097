// SPDX-License-Identifier: GPL-3.0-or-later
//
// A volume of LVM and a device-mapper thin share this: the lock and the record of the origin's
// merge, and a metadata snapshot of the pool that is reserved while mappings are read.

#pragma once

#include <chrono>
#include <memory>

#include "cli/source/change_record.h"
#include "cli/source/dm/metadata_hold.h"
#include "cli/source/request.h"
#include "cli/source/source.h"
#include "cli/source/state_traces.h"

namespace extmerge {

class NamedSource : public Source {
 public:
  const JournalPlace& place() const override { return place_; }

  bool owns_mappings() const override { return !uses_held_snapshot(); }
  void release_mappings() override { hold_.reset(); }
  void reserve_mappings() override;

 protected:
  explicit NamedSource(const Request& request)
      : request_(request), traces_(request, place_, changes_) {}

  // A job for a thin of the pool. Looks at the devices; at the origin, or the target, by
  // `destination`, now and later.
  Job pool_job(ThinId id, Bytes size, const Look& destination,
               const std::optional<Job::Copy>& copy = {});
  // Reserves a metadata snapshot of the pool. While another extmerge works on it, waits for that
  // one's.
  std::unique_ptr<MetadataHold> hold_mappings(const ThinPool& pool, RecordedHold& hold,
                                              std::chrono::seconds patience);
  bool uses_held_snapshot() const { return request_.has("metadata-snap"); }

  const Request& request_;
  RecordedChanges recorded_;
  JournalPlace& place_ = recorded_.place;
  SystemChanges& changes_ = recorded_.changes;
  StateTraces traces_;
  ThinPool pool_;
  std::unique_ptr<MetadataHold> hold_;

 private:
  bool is_used_elsewhere(const ThinPool& pool) const;
};

}  // namespace extmerge
