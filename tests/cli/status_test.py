# SPDX-License-Identifier: GPL-3.0-or-later
"""status: its report of a merge in each state, and that it only reads."""

import fcntl
import json
import os
import signal
import subprocess
import time
import unittest

from support import EXTMERGE, PoolTest, environment, run


class StatusTest(PoolTest):
    def list(self):
        return json.loads(self.assert_ok(
            run("status", "-J", "--state-dir", self.pool.state)).stdout)["merges"]

    def test_there_is_nothing_before_the_first_merge(self):
        env = environment(EXTMERGE_STATE_DIR=self.pool.state)
        self.assertIn("No merges are known", self.assert_ok(run("status", env=env)).stdout)
        self.assertEqual(json.loads(run("status", "-J", env=env).stdout)["merges"], [])
        self.assertFalse(os.path.exists(self.pool.state))

    def test_a_state_directory_that_was_named_must_exist(self):
        self.assert_failed(run("status", "--state-dir", self.pool.state), 4, "EXM-401")

    def test_copying_running_done(self):
        process = self.pool.start(*self.pool.command(
            "merge", "--yes", "--rate-limit=512k", "--checkpoint-interval=1s",
            "--buffer-size=64k"))
        self.addCleanup(process.communicate)
        self.addCleanup(process.kill)
        while not self.pool.journal():
            self.assertIsNone(process.poll())
        first = self.pool.status()
        # The state is not "planned": the origin may be written to before anything is durable.
        self.assertEqual((first["state"], first["durable_bytes"]), ("copying", 0))
        self.assertTrue(first["running"])
        self.pool.wait_for_copying(process)
        second = self.pool.status()
        self.assertEqual((second["state"], second["running"]), ("copying", True))
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=10)
        self.assertFalse(self.pool.status()["running"])
        text = run("status", self.pool.journal()).stdout
        self.assertIn("extmerge resume " + self.pool.journal(), text)
        self.assert_ok(run("resume", self.pool.journal()))
        third = self.pool.status()
        self.assertEqual((third["state"], third["running"]), ("done", False))
        self.assertEqual(third["durable_bytes"], third["total_bytes"])
        self.assertNotIn("resume", run("status", self.pool.journal()).stdout)

    def test_it_says_which_merge(self):
        journal = self.unfinished()
        status = self.pool.status()
        self.assertEqual(status["thin_id"], 1)
        self.assertEqual(status["origin"], self.pool.origin)
        self.assertEqual(status["metadata"], self.pool.metadata)
        self.assertEqual(status["journal"], journal)

    def test_the_table_has_a_line_a_merge(self):
        self.unfinished()
        other = self.make_pool("block-1m")
        self.assert_ok(other.run("merge", "--yes", "--state-dir", self.pool.state))
        lines = run("status", "--state-dir", self.pool.state).stdout.splitlines()
        self.assertEqual(lines[0].split(),
                         ["STATE", "DURABLE", "TOTAL", "THIN", "ORIGIN", "JOURNAL"])
        self.assertEqual(len(lines), 3)
        self.assertEqual({line.split()[0] for line in lines[1:]}, {"copying", "done"})
        bare = run("status", "--noheadings", "--state-dir", self.pool.state).stdout.splitlines()
        self.assertEqual([line.split() for line in bare], [line.split() for line in lines[1:]])

    def test_it_only_reads(self):
        journal = self.unfinished()
        os.remove(journal + ".lock")

        def snapshot():
            return [(name, os.stat(os.path.join(self.pool.state, name)).st_mtime_ns)
                    for name in sorted(os.listdir(self.pool.state))]
        before = snapshot()
        self.assertFalse(self.pool.status()["running"])
        self.list()
        self.assertEqual(snapshot(), before)

    def test_it_creates_no_lock_and_hinders_no_merge(self):
        journal = self.unfinished()
        with open(journal + ".lock", "rb") as lock:
            # Another `status` holds such a lock for a moment.
            fcntl.flock(lock, fcntl.LOCK_SH)
            self.assertFalse(self.pool.status()["running"])
            process = self.pool.start("resume", journal)
            time.sleep(0.3)
            self.assertIsNone(process.poll())
        _, stderr = process.communicate(timeout=20)
        self.assertEqual(process.returncode, 0, stderr)
        self.assertEqual(self.pool.origin_bytes(), self.pool.merged())

    @unittest.skipUnless(os.geteuid() == 0, "needs root, to mount")
    def test_it_reads_in_a_state_directory_that_is_mounted_read_only(self):
        journal = self.unfinished()
        mount = "mount --bind {0} {0} && mount -o remount,bind,ro {0} && ".format(self.pool.state)
        result = subprocess.run(["unshare", "-m", "sh", "-c", mount + "echo mounted && exec \"$@\"",
                                 "sh", EXTMERGE, "status", "--json", journal],
                                capture_output=True, text=True, timeout=60)
        if not result.stdout.startswith("mounted\n"):
            self.skipTest("mounting is not allowed here")
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertFalse(json.loads(result.stdout[len("mounted\n"):])["running"])

    def test_a_damaged_journal_is_listed_as_such(self):
        journal = self.unfinished()
        other = self.make_pool()
        self.assert_ok(other.run("merge", "--yes", "--state-dir", self.pool.state))
        with open(journal, "r+b") as file:
            file.write(os.urandom(os.path.getsize(journal)))
        result = run("status", "-J", "--state-dir", self.pool.state)
        self.assert_failed(result, 6, "EXM-603")
        merges = {m["journal"]: m for m in json.loads(result.stdout)["merges"]}
        self.assertEqual(len(merges), 2)
        self.assertEqual(merges[journal]["error"]["id"], "EXM-603")
        self.assertNotIn("state", merges[journal])
        text = run("status", "--state-dir", self.pool.state)
        self.assertEqual(text.returncode, 6)
        self.assertIn("EXM-603", text.stdout)
        self.assertIn("done", text.stdout)

    def test_an_unpublished_journal_is_no_merge(self):
        self.assert_ok(self.pool.run("merge", "--yes"))
        os.rename(self.pool.journal(), self.pool.journal() + ".new")
        self.assertEqual(self.list(), [])


if __name__ == "__main__":
    unittest.main()
