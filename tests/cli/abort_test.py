# SPDX-License-Identifier: GPL-3.0-or-later
"""abort of a merge of images: what it removes, keeps and says.

For volumes see tests/kernel/lvm_crash.sh.
"""

import fcntl
import os
import subprocess
import unittest

from support import EXTMERGE, PoolTest, environment, run


class AbortTest(PoolTest):
    def test_the_journal_goes_and_the_origin_stays_as_it_is(self):
        journal = self.unfinished()
        durable = self.pool.status()["durable_bytes"]
        before = self.pool.origin_bytes()
        self.assertFalse(self.pool.untouched())
        result = self.assert_ok(run("abort", "--units=b", journal))
        self.assertIn("the journal %s is removed" % journal, result.stdout)
        self.assertIn(self.pool.origin + " is half merged", result.stdout)
        self.assertIn("at least", result.stdout)
        self.assertGreater(durable, 0)
        self.assertEqual(self.pool.origin_bytes(), before)
        self.assertEqual([n for n in os.listdir(self.pool.state) if not n.endswith(".lock")], [])
        self.assert_failed(run("status", journal), 6, "EXM-601")
        self.assert_failed(run("resume", journal), 6, "EXM-601")

    def test_a_merge_afterwards_begins_anew_and_makes_the_origin_whole(self):
        self.assert_ok(run("abort", self.unfinished()))
        plan = self.pool.run("plan")
        self.assertNotIn("done already", plan.stdout)
        result = self.assert_ok(self.pool.run("merge", "--yes"))
        self.assertNotIn("resumed from", result.stdout)
        self.assertEqual(self.pool.origin_bytes(), self.pool.merged())

    def test_a_half_merged_origin_is_free_for_another_thin_again(self):
        journal = self.unfinished()
        self.pool.thin_id = 2
        self.assert_failed(self.pool.run("merge", "--yes"), 6, "EXM-610")
        self.assert_ok(run("abort", journal))
        self.assert_ok(self.pool.run("merge", "--yes"))

    def test_there_is_nothing_to_give_up_where_all_is_done(self):
        self.assert_ok(self.pool.run("merge", "--yes"))
        journal = self.pool.journal()
        with open(journal, "rb") as file:
            before = file.read()
        self.assert_failed(run("abort", journal), 6, "EXM-611")
        with open(journal, "rb") as file:
            self.assertEqual(file.read(), before)

    def test_without_a_journal_there_is_nothing_to_give_up(self):
        for path in ("/no/such/journal", self.pool.path("journal")):
            self.assert_failed(run("abort", path), 6, "EXM-601")
        self.assertFalse(os.path.exists(self.pool.path("journal")))

    def test_a_merge_that_runs_is_not_given_up(self):
        journal = self.unfinished()
        with open(journal + ".lock", "rb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            self.assert_failed(run("abort", journal), 6, "EXM-605")
        self.assertTrue(os.path.exists(journal))

    def test_a_file_that_is_no_journal_is_not_removed(self):
        letter = self.pool.path("letter")
        with open(letter, "wb") as file:
            file.write(b"dear " * 2000)
        os.chmod(letter, 0o600)
        result = run("abort", letter)
        self.assertEqual(result.returncode, 6, result.stderr)
        self.assertEqual(os.path.getsize(letter), 10000)

    def test_it_is_quiet_twice_over(self):
        result = self.assert_ok(run("abort", "-qq", self.unfinished()))
        self.assertEqual((result.stdout, result.stderr), ("", ""))

    def test_a_report_that_is_lost_is_said(self):
        journal = self.unfinished()
        with open("/dev/full", "w") as full:
            result = subprocess.run([EXTMERGE, "abort", journal], stdout=full,
                                    stderr=subprocess.PIPE, text=True, env=environment())
        self.assert_failed(result, 3, "EXM-305")
        self.assertFalse(os.path.exists(journal))


if __name__ == "__main__":
    unittest.main()
