// SPDX-License-Identifier: GPL-3.0-or-later

#include "merge/target.h"

#include "io/text.h"

namespace extmerge {

Refusal check_target_is_not_origin(const Job& job) {
  const DeviceFacts& origin = job.copy->origin;
  if (job.copy->is_below_target || !origin.exists || !job.origin.exists ||
      !overlaps(job.origin, origin))
    return {};
  return Error(MessageId::kStacked,
               "the target " + job.origin.path + " is the external origin " + origin.path +
                   ", or one lies on the other",
               "name another target; to bring the thin's data into its origin, merge it "
               "(extmerge merge)");
}

Refusal check_export_is_not_source(const Job& job) {
  if (job.copy->writers.empty()) return {};
  return Error(MessageId::kStacked,
               job.copy->writers.front() + " open for writing, and may serve it as the target " +
                   job.origin.path,
               "stop that program, and export a device that is not part of the source");
}

Refusal check_target_size(const Job& job) {
  if (!job.thin_size) {
    return Error(MessageId::kUsage,
                 "a copy needs the thin's size, which the metadata does not hold",
                 "add --thin-size SIZE (blockdev --getsize64 of the thin, dmsetup table)");
  }
  const DeviceFacts& target = job.origin;
  if (!target.exists || target.size >= *job.thin_size) return {};
  return Error(MessageId::kSizeChanged,
               "the target " + target.path + " has " + bytes_text(target.size) + ", the thin has " +
                   bytes_text(*job.thin_size),
               target.is_regular ? "make it longer: truncate -s " +
                                       std::to_string(job.thin_size->value()) + " " + target.path
                                 : "name a target that is at least as long as the thin");
}

}  // namespace extmerge
