# SPDX-License-Identifier: GPL-3.0-or-later
"""extmerge and thin_dump read the same mappings from the metadata."""

import unittest

from pools import LARGER_THAN_ORIGIN, GoldenTest, Pool, each_pool


class Plan(GoldenTest):
    def ranges(self, *arguments, status=0):
        """The table of plan --ranges as triples of numbers."""
        table = self.extmerge("plan", "--ranges", "--noheadings", *arguments, status=status)
        return [tuple(int(word) for word in line.split()) for line in table.splitlines()]

    def assert_same_mappings(self, pool, thin_id, runs):
        end = pool.blocks_before(min(pool.origin_size, pool.thin_size))
        expected = {thin: data for thin, data in pool.mappings(thin_id).items() if thin < end}
        self.assertNotEqual(expected, {})
        planned = {}
        for thin, data, blocks in runs:
            planned.update((thin + i, data + i) for i in range(blocks))
        self.assertEqual(planned, expected)

    def test_the_runs_are_the_mappings_that_thin_dump_shows(self):
        for pool, thin_id in each_pool():
            with self.subTest(pool=pool.name, thin_id=thin_id):
                status = 4 if pool.name in LARGER_THAN_ORIGIN else 0
                runs = self.ranges(*pool.source(thin_id, pool.origin), status=status)
                self.assert_same_mappings(pool, thin_id, runs)

    def test_runs_rise_and_are_as_long_as_they_can_be(self):
        for pool, thin_id in each_pool():
            with self.subTest(pool=pool.name, thin_id=thin_id):
                status = 4 if pool.name in LARGER_THAN_ORIGIN else 0
                runs = self.ranges(*pool.source(thin_id, pool.origin), status=status)
                for before, after in zip(runs, runs[1:]):
                    thin, data, blocks = before
                    self.assertGreaterEqual(after[0], thin + blocks)
                    self.assertNotEqual(after[:2], (thin + blocks, data + blocks))

    def test_the_counts_are_those_of_thin_dump(self):
        for pool, thin_id in each_pool():
            with self.subTest(pool=pool.name, thin_id=thin_id):
                status = 4 if pool.name in LARGER_THAN_ORIGIN else 0
                plan = self.extmerge_json("plan", *pool.source(thin_id, pool.origin), status=status)
                copied = beyond_origin = beyond_thin = 0
                mappings = pool.mappings(thin_id)
                for thin in mappings:
                    begin, end = thin * pool.block_size, (thin + 1) * pool.block_size
                    visible = min(end, max(begin, pool.thin_size))
                    inside = min(visible, max(begin, pool.origin_size))
                    copied += inside - begin
                    beyond_origin += visible - inside
                    beyond_thin += end - visible
                self.assertEqual(
                    {key: plan[key] for key in
                     ("thin_id", "data_block_size", "mapped_blocks", "mapped_bytes", "copy_bytes",
                      "beyond_origin_bytes", "beyond_thin_bytes", "origin_bytes")},
                    {"thin_id": thin_id, "data_block_size": pool.block_size,
                     "mapped_blocks": len(mappings),
                     "mapped_bytes": len(mappings) * pool.block_size, "copy_bytes": copied,
                     "beyond_origin_bytes": beyond_origin, "beyond_thin_bytes": beyond_thin,
                     "origin_bytes": pool.origin_size})

    def test_a_sibling_is_harmed_by_what_is_written_and_it_does_not_map(self):
        for pool, thin_id in each_pool():
            with self.subTest(pool=pool.name, thin_id=thin_id):
                status = 4 if pool.name in LARGER_THAN_ORIGIN else 0
                plan = self.extmerge_json("plan", *pool.source(thin_id, pool.origin), status=status)
                end = pool.blocks_before(min(pool.origin_size, pool.thin_size))
                written = {thin for thin in pool.mappings(thin_id) if thin < end}
                harmed = {other: len(written - pool.mappings(other).keys())
                          for other in {0, 1, 2} - {thin_id}}
                self.assertEqual({s["thin_id"]: s["harmed_blocks"] for s in plan["siblings"]}, harmed)

    def test_the_metadata_snapshot_is_the_one_that_the_pool_reported(self):
        for pool, thin_id in each_pool(thin_ids=(1,)):
            with self.subTest(pool=pool.name):
                status = 4 if pool.name in LARGER_THAN_ORIGIN else 0
                with open(pool.path("pool.status"), encoding="ascii") as file:
                    held_root = int(file.read().split()[6])
                source = pool.source(thin_id, pool.origin)
                by_default = self.extmerge_json("plan", *source, status=status)
                self.assertEqual(by_default["metadata_snap"], held_root)
                by_number = self.extmerge_json("plan", f"--metadata-snap={held_root}", *source,
                                               status=status)
                self.assertEqual(by_number["plan_id"], by_default["plan_id"])

    def test_a_thin_that_was_written_after_the_metadata_snapshot_is_refused(self):
        for pool, _ in each_pool(thin_ids=(1,)):
            with self.subTest(pool=pool.name):
                source = pool.source(0, pool.origin) + ["--beyond-origin=drop"]
                self.assert_refused("EXM-409", "plan", *source)
                self.assert_same_mappings(pool, 0, self.ranges("--allow-stale", *source))

    def test_without_a_thin_size_nothing_is_clipped_at_the_end_of_the_thin(self):
        pool = Pool("thin-smaller-64k")
        source = pool.source(1, pool.origin)
        source = source[:source.index("--thin-size")]
        runs = self.ranges(*source)
        self.assertEqual(sum(blocks for _, _, blocks in runs), len(pool.mappings(1)))

    def test_an_absent_thin_is_refused(self):
        pool = Pool("equal-64k")
        self.assert_refused("EXM-410", "plan", *pool.source(3, pool.origin))


if __name__ == "__main__":
    unittest.main()
