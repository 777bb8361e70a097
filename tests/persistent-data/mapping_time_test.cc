// SPDX-License-Identifier: GPL-3.0-or-later

#include "persistent-data/mapping_time.h"

#include <gtest/gtest.h>

#include "tests/persistent-data/failures.h"
#include "tests/persistent-data/walks.h"
#include "tests/support/memory_device.h"
#include "tests/support/metadata_builder.h"

namespace extmerge {
namespace {

// 100 mappings in leaves of 7; mapping `which` has that time, all others 2.
bool asked(uint32_t which, uint32_t time, uint32_t snapshot) {
  MetadataBuilder pool(256);
  std::vector<BuiltMapping> mappings;
  for (uint32_t i = 0; i < 100; ++i) mappings.push_back({i, 1000 + i, i == which ? time : 2});
  const BuiltTree tree = pool.add_tree(mappings, {.leaf_fill = 7, .inner_fill = 3});
  MemoryDevice device(pool.image());
  MetadataReader reader(device);
  return all_mapped_before(reader, MetadataBlock(tree.root()), snapshot);
}

TEST(MappingTimes, TellOfASingleWriteSinceTheSnapshotWhereverItIs) {
  for (uint32_t which = 0; which < 100; ++which) {
    EXPECT_TRUE(asked(which, 2, 3));
    EXPECT_FALSE(asked(which, 3, 3)) << which;
    EXPECT_FALSE(asked(which, 4, 3)) << which;
  }
}

TEST(MappingTimes, OfAnEmptyTreeAreAllOlder) {
  MetadataBuilder pool(64);
  const BuiltTree tree = pool.add_tree({});
  MemoryDevice device(pool.image());
  MetadataReader reader(device);
  EXPECT_TRUE(all_mapped_before(reader, MetadataBlock(tree.root()), 1));
}

// After 16 million snapshots the time of a mapping begins at 0 again.
TEST(MappingTimes, ThatDoNotFitInto24BitsProveNothing) {
  EXPECT_TRUE(asked(5, 0xfffffe, 0xffffff));
  EXPECT_FALSE(asked(5, 2, 0x1000000));
  EXPECT_FALSE(asked(5, 2, 0xffffffff));
}

}  // namespace
}  // namespace extmerge
