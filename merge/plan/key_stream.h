// SPDX-License-Identifier: GPL-3.0-or-later
//
// The mappings of one tree, one at a time, in order of thin block: one side of a join.

#pragma once

#include <span>

#include "persistent-data/mapping_walk.h"

namespace extmerge {

class KeyStream {
 public:
  // `reader` must outlive it. All functions throw as MappingWalk::next() does.
  KeyStream(MetadataReader& reader, MetadataBlock root, const MappingWalkOptions& options)
      : walk_(reader, root, options), batch_(walk_.next()) {}

  bool at_end() const { return batch_.empty(); }
  ThinBlock key() const { return batch_.front().thin; }
  DataBlock data() const { return batch_.front().data; }
  uint32_t time() const { return batch_.front().time; }
  uint64_t delivered() const { return walk_.delivered(); }
  void advance() {
    batch_ = batch_.subspan(1);
    if (batch_.empty()) batch_ = walk_.next();
  }
  // Moves to the first mapping at or after `key`. Whether that is one of `key`.
  bool find(ThinBlock wanted) {
    while (!at_end() && key() < wanted) advance();
    return !at_end() && key() == wanted;
  }

 private:
  MappingWalk walk_;
  std::span<const Mapping> batch_;
};

}  // namespace extmerge
