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
  constexpr std::chrono::seconds kPatience{60};
  if (!uses_held_snapshot()) hold_ = hold_mappings(pool_, changes_, kPatience);
}

std::unique_ptr<MetadataHold> NamedSource::hold_mappings(const ThinPool& pool, RecordedHold& hold,
                                                         std::chrono::seconds patience) {
  constexpr std::chrono::milliseconds kPause{100};
  const auto deadline = std::chrono::steady_clock::now() + patience;
  for (bool is_first = true;; is_first = false) {
    try {
      return std::make_unique<MetadataHold>(pool, recorded_, hold);
    } catch (const Error& error) {
      const bool is_passing =
          error.id() == MessageId::kMetadataSnapshotHeld && is_used_elsewhere(pool);
      if (!is_passing || std::chrono::steady_clock::now() >= deadline) throw;
    }
    if (request_.stop.stop_requested())
      throw Error(MessageId::kStopped, "stopped as requested", "run the same command again");
    if (is_first)
      spdlog::info("waiting for another extmerge, which works on {}", printable(pool.name));
    std::this_thread::sleep_for(kPause);
  }
}

// A pool has one metadata snapshot. An extmerge that works on another thin of the pool, or over the
// same origin on a thin of another pool, holds it while it plans.
bool NamedSource::is_used_elsewhere(const ThinPool& pool) const {
  const auto is_it = [&pool](const RecordedHold& hold) {
    return hold.pool_uuid == pool.uuid && (!pool.uuid.empty() || hold.pool == pool.name);
  };
  return runs_elsewhere(request_, place_, [&is_it](const SystemChanges& changes) {
    return is_it(changes) || (changes.sibling_pool.holding && is_it(changes.sibling_pool));
  });
}

}  // namespace extmerge
