// SPDX-License-Identifier: GPL-3.0-or-later

#include "cli/source/named_source.h"

#include <spdlog/spdlog.h>

#include <chrono>
#include <thread>

#include "cli/source/places.h"
#include "cli/source/recorded.h"
#include "io/text.h"

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
  constexpr std::chrono::seconds kPatience{60};
  constexpr std::chrono::milliseconds kPause{100};
  const auto deadline = std::chrono::steady_clock::now() + kPatience;
  for (bool is_first = true;; is_first = false) {
    try {
      hold_ = std::make_unique<MetadataHold>(pool_, recorded_, changes_);
      return;
    } catch (const Error& error) {
      const bool is_passing =
          error.id() == MessageId::kMetadataSnapshotHeld && is_pool_used_elsewhere();
      if (!is_passing || std::chrono::steady_clock::now() >= deadline) throw;
    }
    if (request_.stop.stop_requested())
      throw Error(MessageId::kStopped, "stopped as requested", "run the same command again");
    if (is_first)
      spdlog::info("waiting for another extmerge, which works on {}", printable(pool_.name));
    std::this_thread::sleep_for(kPause);
  }
}

// A pool has one metadata snapshot. An extmerge that works on another thin of the pool holds it
// while it plans.
bool NamedSource::is_pool_used_elsewhere() const {
  return runs_elsewhere(request_, place_, [this](const SystemChanges& changes) {
    return changes.pool_uuid == pool_.uuid && (!pool_.uuid.empty() || changes.pool == pool_.name);
  });
}

}  // namespace extmerge
