// SPDX-License-Identifier: GPL-3.0-or-later

#include "cli/source/named_source.h"

namespace extmerge {

void NamedSource::note() const { write_changes(*place_.directory, place_.name, changes_); }

void NamedSource::reserve_mappings() {
  hold_.reset();
  if (uses_held_snapshot()) return;
  hold_ = std::make_unique<MetadataHold>(pool_, changes_, [this] { note(); });
}

}  // namespace extmerge
