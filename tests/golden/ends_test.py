# SPDX-License-Identifier: GPL-3.0-or-later
"""extmerge writes nothing past the end of the thin, or past that of the origin without an option."""

import os
import unittest

from pools import LARGER_THAN_ORIGIN, SECTOR, GoldenTest, Pool, each_pool


class Ends(GoldenTest):
    def test_data_past_the_end_of_the_origin_is_refused_by_default(self):
        for pool, thin_id in each_pool(LARGER_THAN_ORIGIN):
            with self.subTest(pool=pool.name, thin_id=thin_id):
                origin = self.copy_of_origin(pool)
                for option in ([], ["--beyond-origin=refuse"]):
                    self.assert_refused("EXM-411", "merge", "--yes", *option,
                                        *pool.source(thin_id, origin))
                    self.assertEqual(os.path.getsize(origin), pool.origin_size)
                    self.assert_equal_bytes(origin, pool.origin)

    def test_dropping_it_merges_what_lies_inside_the_origin(self):
        for pool, thin_id in each_pool(LARGER_THAN_ORIGIN):
            with self.subTest(pool=pool.name, thin_id=thin_id):
                origin = self.copy_of_origin(pool)
                self.extmerge("merge", "--yes", "--beyond-origin=drop", "--again",
                              *pool.source(thin_id, origin))
                self.assert_merged(pool, thin_id, origin)

    def test_extending_the_origin_gives_all_of_the_thin(self):
        for pool, thin_id in each_pool(LARGER_THAN_ORIGIN):
            with self.subTest(pool=pool.name, thin_id=thin_id):
                origin = self.copy_of_origin(pool)
                self.extmerge("merge", "--yes", "--beyond-origin=extend", "--again",
                              *pool.source(thin_id, origin))
                self.assertEqual(os.path.getsize(origin), pool.thin_size)
                self.assert_equal_bytes(origin, pool.expected(thin_id))

    def test_extending_needs_to_know_the_size_of_the_thin(self):
        pool = Pool("thin-larger-64k")
        origin = self.copy_of_origin(pool)
        source = pool.source(1, origin)
        source = source[:source.index("--thin-size")]
        self.assert_refused("EXM-103", "merge", "--yes", "--beyond-origin=extend", *source)
        self.assert_equal_bytes(origin, pool.origin)

    def blocks_to_cut(self, pool, thin_id):
        """A mapped block at the beginning, in the middle and at the end."""
        mapped = sorted(pool.mappings(thin_id))
        return mapped[0], mapped[len(mapped) // 2], mapped[-1]

    def test_an_origin_that_ends_inside_a_mapped_block_is_written_to_its_last_byte(self):
        for pool, thin_id in each_pool(("block-192k", "equal-64k"), (1,)):
            for block in self.blocks_to_cut(pool, thin_id):
                for part in (SECTOR, 4096 + SECTOR, pool.block_size - SECTOR):
                    with self.subTest(pool=pool.name, thin_id=thin_id, block=block, part=part):
                        end = block * pool.block_size + part
                        origin = self.copy_of_origin(pool)
                        os.truncate(origin, end)
                        self.extmerge("merge", "--yes", "--again", "--beyond-origin=drop",
                                      *pool.source(thin_id, origin))
                        self.assertEqual(os.path.getsize(origin), end)
                        self.assert_equal_bytes(origin, pool.expected(thin_id))

    def test_a_thin_that_ends_inside_a_mapped_block_leaves_the_rest_of_the_origin_alone(self):
        for pool, thin_id in each_pool(("block-192k", "equal-64k"), (1,)):
            for block in self.blocks_to_cut(pool, thin_id):
                for part in (SECTOR, 4096 + SECTOR, pool.block_size - SECTOR):
                    with self.subTest(pool=pool.name, thin_id=thin_id, block=block, part=part):
                        end = block * pool.block_size + part
                        origin = self.copy_of_origin(pool)
                        source = pool.source(thin_id, origin)
                        source[source.index("--thin-size") + 1] = f"{end}b"
                        self.extmerge("merge", "--yes", "--again", *source)
                        self.assert_equal_bytes(origin, pool.expected(thin_id), 0, end)
                        self.assert_equal_bytes(origin, pool.origin, end)


if __name__ == "__main__":
    unittest.main()
