# SPDX-License-Identifier: GPL-3.0-or-later
"""undo, and merge --undo-log, on images: what extmerge puts back, refuses and says.

For volumes see tests/kernel/lvm_undo.sh.
"""

import json
import os
import signal
import unittest

from support import PoolTest, run


class UndoTest(PoolTest):
    def setUp(self):
        super().setUp()
        self.log = self.pool.path("undo")

    def merge(self, *options):
        return self.assert_ok(self.pool.run("merge", "--yes", "--undo-log", self.log, *options))

    def undo(self, *options):
        return run("undo", "--yes", *options, self.pool.journal())

    def test_a_merge_is_taken_back_byte_for_byte(self):
        report = json.loads(self.merge("--json").stdout)
        self.assertEqual(report["undo_log"], self.log)
        self.assertEqual(self.pool.origin_bytes(), self.pool.merged())
        undone = json.loads(self.assert_ok(self.undo("--json")).stdout)
        self.assertTrue(self.pool.untouched())
        self.assertEqual(undone["state"], "undone")
        self.assertEqual(undone["bytes_put_back"], report["bytes_written"])
        self.assertEqual(self.pool.status()["state"], "undone")
        again = self.assert_ok(self.undo())
        self.assertIn("was undone before", again.stdout)

    def test_an_interrupted_merge_is_taken_back(self):
        self.unfinished(None, "--undo-log", self.log)
        self.assertFalse(self.pool.untouched())
        result = self.assert_ok(self.undo())
        self.assertIn(self.pool.origin + " is as it was before the merge", result.stdout)
        self.assertTrue(self.pool.untouched())

    def test_what_is_undone_can_be_merged_again(self):
        self.merge()
        self.assert_ok(self.undo())
        self.assert_failed(self.pool.run("merge", "--yes", "--undo-log", self.log), 6, "EXM-616")
        self.assert_ok(self.pool.run("merge", "--yes"))
        self.assertEqual(self.pool.origin_bytes(), self.pool.merged())

    def test_an_origin_that_grew_is_cut_off_again(self):
        self.pool = self.make_pool("thin-larger-64k")
        self.log = self.pool.path("undo")
        before = os.path.getsize(self.pool.origin)
        self.merge("--beyond-origin=extend", "--thin-size=40M")
        self.assertGreater(os.path.getsize(self.pool.origin), before)
        self.assert_ok(self.undo())
        self.assertTrue(self.pool.untouched())

    def test_an_origin_in_use_since_is_left_alone(self):
        self.merge()
        with open(os.path.join(self.pool.fixture, "origin.img"), "rb") as file:
            first = file.read()
        merged = self.pool.merged()
        changed = next(i for i in range(len(first)) if merged[i] != first[i])
        with open(self.pool.origin, "r+b") as file:
            file.seek(changed)
            file.write(b"in use")
        before = self.pool.origin_bytes()
        self.assert_failed(self.undo(), 4, "EXM-414")
        self.assertEqual(self.pool.origin_bytes(), before)
        self.assert_ok(self.undo("--allow-stale"))
        self.assertTrue(self.pool.untouched())

    def test_it_asks_first(self):
        self.merge()
        self.assert_failed(run("undo", self.pool.journal()), 1, "EXM-102")
        self.assertEqual(self.pool.origin_bytes(), self.pool.merged())

    def test_without_a_log_it_says_that_nothing_was_saved(self):
        self.assert_ok(self.pool.run("merge", "--yes"))
        self.assert_failed(self.undo(), 6, "EXM-614")
        self.assert_failed(run("undo", "--yes", "/no/such/journal"), 6, "EXM-601")

    def test_a_snapshot_that_is_gone_needs_an_override(self):
        self.merge()
        os.rename(self.pool.metadata, self.pool.metadata + ".gone")
        self.assert_failed(self.undo(), 4, "EXM-427")
        self.assertEqual(self.pool.origin_bytes(), self.pool.merged())
        self.assert_ok(self.undo("--allow-removed-snapshot"))
        self.assertTrue(self.pool.untouched())

    def test_the_log_is_not_lost_by_abort_or_restart(self):
        journal = self.unfinished(None, "--undo-log", self.log)
        self.assert_failed(run("abort", journal), 6, "EXM-617")
        self.assert_failed(self.pool.run("merge", "--yes", "--restart"), 6, "EXM-617")
        os.rename(self.log, self.log + ".away")
        self.assert_ok(run("abort", journal))

    def test_a_log_whose_file_system_may_not_be_mounted_is_not_lost_either(self):
        folder = self.pool.path("mounted")
        os.mkdir(folder)
        journal = self.unfinished(None, "--undo-log", os.path.join(folder, "undo"))
        os.rename(folder, folder + ".not")
        self.assert_failed(run("abort", journal), 6, "EXM-617")
        self.assert_failed(self.pool.run("merge", "--yes", "--restart"), 6, "EXM-617")
        os.rename(folder + ".not", folder)
        self.assert_ok(run("undo", "--yes", journal))
        self.assertTrue(self.pool.untouched())

    def test_an_empty_folder_may_be_one_whose_file_system_is_not_mounted(self):
        folder = self.pool.path("mounted")
        os.mkdir(folder)
        log = os.path.join(folder, "undo")
        journal = self.unfinished(None, "--undo-log", log)
        os.rename(log, self.pool.path("elsewhere"))
        self.assert_failed(run("abort", journal), 6, "EXM-617")
        self.assert_failed(self.pool.run("merge", "--yes", "--restart"), 6, "EXM-617")
        os.mkdir(os.path.join(folder, "lost+found"))
        self.assert_ok(run("abort", journal))

    def test_the_log_is_nobody_elses_to_read(self):
        self.merge()
        self.assertEqual(os.stat(self.log).st_mode & 0o777, 0o600)

    def test_its_folder_must_exist_and_be_safe(self):
        source = ["merge", "--yes", "--undo-log"]
        self.assert_failed(self.pool.run(*source, self.pool.path("none/undo")), 4, "EXM-401")
        os.mkdir(self.pool.path("open"))
        os.chmod(self.pool.path("open"), 0o777)
        self.assert_failed(self.pool.run(*source, self.pool.path("open/undo")), 6, "EXM-606")
        self.assert_failed(self.pool.run(*source, self.pool.origin), 6, "EXM-607")
        self.assertTrue(self.pool.untouched())

    def test_its_path_is_the_same_however_it_is_written(self):
        folder, name = os.path.split(self.log)
        self.unfinished(None, "--undo-log", os.path.join(folder, ".", name))
        link = folder + ".link"
        os.symlink(folder, link)
        self.assert_failed(
            self.pool.run("merge", "--yes", "--undo-log", self.log + ".other"), 6, "EXM-616")
        self.assert_ok(self.pool.run("merge", "--yes", "--undo-log", os.path.join(link, name)))

    def test_a_plan_estimates_it(self):
        plan = json.loads(self.pool.run("plan", "-J", "--undo-log", self.log).stdout)
        estimate = plan["undo_log_estimate"]
        self.assertEqual(estimate["path"], self.log)
        self.assertLessEqual(estimate["expected_bytes"], estimate["most_bytes"])
        self.assertFalse(os.path.exists(self.log))
        self.merge()
        self.assertLessEqual(os.path.getsize(self.log), estimate["most_bytes"])
        self.assertIn("undo log", self.make_pool().run("plan", "--undo-log", self.log + "2").stdout)
        self.assertIsNone(json.loads(self.make_pool().run("plan", "-J").stdout)["undo_log_estimate"])

    def test_killed_at_any_moment_it_goes_on(self):
        self.merge()
        for _ in range(10):
            process = self.pool.start("undo", "--yes", self.pool.journal())
            process.send_signal(signal.SIGKILL)
            process.communicate(timeout=10)
        self.assert_ok(self.undo())
        self.assertTrue(self.pool.untouched())

    def test_compare_cannot_be_chosen_with_it(self):
        self.assert_usage_error(
            self.pool.run("merge", "--yes", "--undo-log", self.log, "--compare=never"), "compare")


if __name__ == "__main__":
    unittest.main()
