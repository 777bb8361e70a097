// SPDX-License-Identifier: GPL-3.0-or-later
//
// The runs of a plan in a file without a name, for the length of a command. A round's journal has
// the changed blocks only. To compare everything, the rest is spooled too, so that the metadata
// snapshot can be released before the comparison.

#pragma once

#include <memory>

#include "merge/journal/pages.h"

namespace extmerge {

class PlanSpool {
 public:
  // Makes the file `name` in `directory`, which must outlive it, and removes the name while the
  // file is empty. A file of that name is replaced. Throws as the directory's files and `runs` do.
  PlanSpool(DurableDirectory& directory, const std::string& name, RunSource& runs,
            const PlanLimits& limits);

  const PlanLimits& limits() const { return limits_; }
  Bytes bytes() const { return bytes_; }
  // The runs must not outlive this object. They throw kDamagedJournal if the file is damaged.
  std::unique_ptr<RunSource> runs() const;

 private:
  const PlanLimits limits_;
  const std::unique_ptr<DurableFile> file_;
  Bytes bytes_;
  std::unique_ptr<PlanPages> pages_;
};

}  // namespace extmerge
