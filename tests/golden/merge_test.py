# SPDX-License-Identifier: GPL-3.0-or-later
"""After a merge the origin is what the kernel read from the thin."""

import os
import unittest

from pools import LARGER_THAN_ORIGIN, GoldenTest, Pool, each_pool

SAME_OR_SMALLER = [name for name in (pool.name for pool, _ in each_pool(thin_ids=(1,)))
                   if name not in LARGER_THAN_ORIGIN]


class Merge(GoldenTest):
    def test_the_origin_becomes_what_the_kernel_read(self):
        for pool, thin_id in each_pool(SAME_OR_SMALLER):
            with self.subTest(pool=pool.name, thin_id=thin_id):
                origin = self.copy_of_origin(pool)
                self.extmerge("merge", "--yes", "--restart", "--again",
                              *pool.source(thin_id, origin))
                self.assert_merged(pool, thin_id, origin)

    def test_verify_finds_the_difference_before_and_none_after(self):
        for pool, thin_id in each_pool(SAME_OR_SMALLER, thin_ids=(1,)):
            with self.subTest(pool=pool.name):
                origin = self.copy_of_origin(pool)
                source = pool.source(thin_id, origin)
                before = self.extmerge_json("verify", *source, status=8)
                self.assertGreater(before["bytes_different"], 0)
                self.extmerge("merge", "--yes", "--again", *source)
                after = self.extmerge_json("verify", *source)
                self.assertEqual(after["bytes_different"], 0)
                self.assertEqual(after["bytes_compared"], before["bytes_compared"])

    def test_what_the_report_counts_is_what_happened(self):
        for pool, thin_id in each_pool(SAME_OR_SMALLER, thin_ids=(1,)):
            for compare in ("always", "never"):
                with self.subTest(pool=pool.name, compare=compare):
                    origin = self.copy_of_origin(pool)
                    report = self.extmerge_json("merge", "--yes", "--again", f"--compare={compare}",
                                                *pool.source(thin_id, origin))
                    self.assert_merged(pool, thin_id, origin)
                    self.assertEqual(report["state"], "done")
                    self.assertEqual(report["total_bytes"], report["copy_bytes"])
                    self.assertEqual(report["durable_bytes"], report["copy_bytes"])
                    self.assertEqual(report["bytes_read"], report["copy_bytes"])
                    self.assertEqual(report["bytes_written"] + report["bytes_compared_equal"],
                                     report["copy_bytes"])
                    if compare == "never":
                        self.assertEqual(report["bytes_compared_equal"], 0)
                    else:
                        # Every pool has blocks that were rewritten with the origin's bytes.
                        self.assertGreater(report["bytes_compared_equal"], 0)

    def test_however_it_is_cut_up_the_result_is_the_same(self):
        pool = Pool("block-192k")
        for options in (("--io-size=4k", "--io-depth=1", "--buffer-size=64k", "--threads=1"),
                        ("--io-size=192k", "--buffer-size=192k", "--threads=3"),
                        ("--io-size=1M", "--buffer-size=8M", "--threads=8", "--io-depth=3"),
                        ("--checkpoint-interval=64k",), ("--checkpoint-interval=1s",),
                        ("--verify=none",), ("--verify=full",)):
            with self.subTest(options=options):
                origin = self.copy_of_origin(pool)
                self.extmerge("merge", "--yes", "--again", *options, *pool.source(1, origin))
                self.assert_merged(pool, 1, origin)

    def test_the_later_snapshot_can_follow_the_earlier_one(self):
        pool = Pool("equal-64k")
        origin = self.copy_of_origin(pool)
        self.extmerge("merge", "--yes", *pool.source(1, origin))
        self.extmerge("merge", "--yes", *pool.source(2, origin))
        # Thin 2 is thin 1 with later writes, so it maps all that thin 1 maps.
        self.assert_merged(pool, 2, origin)

    def test_what_is_merged_already_is_not_merged_again_unasked(self):
        pool = Pool("equal-64k")
        origin = self.copy_of_origin(pool)
        source = pool.source(1, origin)
        self.extmerge("merge", "--yes", *source)
        self.assert_refused("EXM-604", "merge", "--yes", *source)
        self.extmerge("merge", "--yes", "--again", *source)
        self.assert_merged(pool, 1, origin)

    def test_without_a_yes_and_without_a_terminal_nothing_is_done(self):
        pool = Pool("equal-64k")
        origin = self.copy_of_origin(pool)
        self.assert_refused("EXM-102", "merge", *pool.source(1, origin))
        self.assert_equal_bytes(origin, pool.origin)
        self.assertEqual(os.listdir(self.state_dir), [])

    def test_plan_and_a_dry_run_change_nothing(self):
        pool = Pool("equal-64k")
        origin = self.copy_of_origin(pool)
        self.extmerge("plan", *pool.source(1, origin))
        self.extmerge("merge", "--dry-run", *pool.source(1, origin))
        self.assert_equal_bytes(origin, pool.origin)
        self.assertEqual(os.listdir(self.state_dir), [])


if __name__ == "__main__":
    unittest.main()
