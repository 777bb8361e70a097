// SPDX-License-Identifier: GPL-3.0-or-later

#include "cli/source/named_source.h"

#include "cli/source/places.h"

namespace extmerge {

Job NamedSource::pool_job(ThinId id, Bytes size, const Look& destination,
                          const std::optional<Job::Copy>& copy) {
  Job job;
  job.copy = copy;
  job.metadata_path = path_of_device(pool_.metadata);
  job.data_path = path_of_device(pool_.data);
  job.data_is_certain = true;
  job.thin_id = id;
  job.thin_size = size;
  job.root_choice = request_.root_choice;
  job.root_block = request_.root_block;
  job.metadata = facts_of_device(pool_.metadata);
  job.data = facts_of_device(pool_.data);
  look_at_devices(job, destination);
  job.journal = place_;
  job.undo_log = undo_log_asked(request_);
  return job;
}

void NamedSource::reserve_mappings() {
  hold_.reset();
  if (uses_held_snapshot()) return;
  hold_ = std::make_unique<MetadataHold>(pool_, recorded_, changes_);
}

}  // namespace extmerge
