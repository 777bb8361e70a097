# SPDX-License-Identifier: GPL-3.0-or-later
"""Each exit status, for one of its reasons. The id's hundreds are the status."""

import os
import re
import subprocess
import unittest

from support import PoolTest, environment, run, run_as_another


class ExitStatusTest(PoolTest):
    def assert_nothing_was_done(self):
        self.assertTrue(self.pool.untouched())
        self.assertIsNone(self.pool.journal())

    def test_0_after_a_merge_and_a_plan_that_would_start(self):
        self.assert_ok(self.pool.run("plan"))
        self.assert_ok(self.pool.run("merge", "--yes"))
        self.assertEqual(self.pool.origin_bytes(), self.pool.merged())

    def test_1_for_a_usage_error(self):
        self.assert_usage_error(self.pool.run("merge", "--nonsense"))
        self.assert_nothing_was_done()

    @unittest.skipUnless(os.geteuid() == 0, "needs root, to stop being it")
    def test_2_where_permission_is_missing(self):
        os.chmod(self.pool.folder, 0o755)
        os.chmod(self.pool.metadata, 0o600)
        self.assert_failed(run_as_another(*self.pool.command("plan")), 2, "EXM-201")

    def test_3_where_the_report_cannot_be_written(self):
        from support import EXTMERGE
        with open("/dev/full", "wb") as full:
            result = subprocess.run([EXTMERGE, *self.pool.command("plan")], stdout=full,
                                    stderr=subprocess.PIPE, text=True, env=environment())
        self.assert_failed(result, 3, "EXM-305")

    def test_4_for_a_missing_device(self):
        for image in ("metadata", "data", "origin"):
            pool = self.make_pool()
            os.remove(getattr(pool, image))
            result = pool.run("merge", "--yes")
            self.assert_failed(result, 4, "EXM-401")
            self.assertIn(image, result.stderr)

    def test_4_for_what_is_no_device(self):
        os.remove(self.pool.origin)
        os.mkdir(self.pool.origin)
        self.assert_failed(self.pool.run("merge", "--yes"), 4, "EXM-402")

    def test_4_for_the_origin_given_as_the_data(self):
        self.pool.origin = self.pool.data
        self.assert_failed(self.pool.run("merge", "--yes"), 4, "EXM-405")

    def test_4_for_a_thin_id_that_does_not_exist(self):
        self.pool.thin_id = 4711
        self.assert_failed(self.pool.run("plan"), 4, "EXM-410")

    def test_4_for_data_beyond_the_origin(self):
        pool = self.make_pool("thin-larger-64k")
        self.assert_failed(pool.run("merge", "--yes"), 4, "EXM-411")
        self.assertTrue(pool.untouched())

    def test_5_for_an_origin_that_is_in_use(self):
        # The test holds the lock that a running merge or another careful tool would hold.
        import fcntl
        with open(self.pool.origin, "r+b") as origin:
            fcntl.flock(origin, fcntl.LOCK_EX)
            self.assert_failed(self.pool.run("plan"), 5, "EXM-505")
            self.assert_failed(self.pool.run("merge", "--yes"), 5, "EXM-505")
        self.assertTrue(self.pool.untouched())
        self.assert_ok(self.pool.run("plan"))

    def test_6_for_journals(self):
        self.assert_failed(run("resume", "/no/such/journal"), 6, "EXM-601")
        self.assert_failed(run("resume", self.pool.path("journal")), 6, "EXM-601")
        self.assert_failed(run("status", "/no/such/journal"), 6, "EXM-601")
        self.assert_ok(self.pool.run("merge", "--yes"))
        self.assert_failed(self.pool.run("merge", "--yes"), 6, "EXM-604")
        result = run("resume", self.pool.journal())
        self.assertEqual(result.returncode, 6)

    def test_6_for_a_damaged_journal(self):
        journal = self.unfinished()
        with open(journal, "r+b") as file:
            file.write(os.urandom(os.path.getsize(journal)))
        for words in (["resume", journal], ["status", journal],
                      self.pool.command("merge", "--yes"), self.pool.command("plan")):
            self.assert_failed(run(*words), 6, "EXM-603")

    def test_6_for_the_journal_of_another_origin(self):
        journal = self.unfinished()
        other = self.make_pool()
        self.assert_failed(other.run("merge", "--yes", "--journal", journal), 6, "EXM-602")
        self.assertTrue(other.untouched())

    def test_6_for_a_journal_that_others_may_write(self):
        journal = self.unfinished()
        os.chmod(journal, 0o666)
        self.assert_failed(run("resume", journal), 6, "EXM-606")

    def test_8_for_a_difference(self):
        self.assert_failed(self.pool.run("verify"), 8, "EXM-801")
        self.assert_ok(self.pool.run("merge", "--yes"))
        self.assert_ok(self.pool.run("verify"))
        first = int(self.pool.run("plan", "--ranges", "--noheadings", "--again").stdout.split()[0])
        at = first * 65536 + 4096 * 3 + 5
        with open(self.pool.origin, "r+b") as origin:
            origin.seek(at)
            byte = origin.read(1)[0]
            origin.seek(at)
            origin.write(bytes([byte ^ 1]))
        result = self.pool.run("verify")
        self.assert_failed(result, 8, "EXM-801")
        named = int(re.search(r"first at byte (\d+)", result.stderr).group(1))
        self.assertTrue(0 <= at - named < 4096, named)

    def test_9_for_damaged_metadata(self):
        with open(self.pool.metadata, "r+b") as metadata:
            metadata.seek(4)
            metadata.write(b"\xff\xff")
        self.assert_failed(self.pool.run("merge", "--yes"), 9, "EXM-901")
        self.assert_nothing_was_done()

    def test_a_plan_exits_as_its_first_refusal_says(self):
        pool = self.make_pool("thin-larger-64k", thin_id=0)
        result = pool.run("plan")
        ids = re.findall(r"(?m)^extmerge: (EXM-\d+)", result.stderr)
        self.assertGreaterEqual(len(ids), 2, result.stderr)
        self.assertEqual(result.returncode, int(ids[0][4]))
        self.assertIn("a merge would not start: " + ", ".join(ids), result.stdout)


if __name__ == "__main__":
    unittest.main()
