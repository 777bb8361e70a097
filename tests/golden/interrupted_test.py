# SPDX-License-Identifier: GPL-3.0-or-later
"""The same command completes a merge that was stopped or killed."""

import os
import re
import shutil
import signal
import subprocess
import time
import unittest

from pools import EXTMERGE, GoldenTest, Pool


class Interrupted(GoldenTest):
    def setUp(self):
        super().setUp()
        self.pool = Pool("equal-64k")
        self.origin = self.copy_of_origin(self.pool)
        self.source = self.pool.source(1, self.origin)

    def start(self):
        """Starts a merge of some ten seconds that records its progress every 64 KiB."""
        merge = subprocess.Popen(
            [EXTMERGE, "merge", "--yes", "--rate-limit=700k", "--checkpoint-interval=64k",
             "--buffer-size=64k", "--threads=1", *self.source],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
            env=self.environment())
        self.addCleanup(merge.stderr.close)
        self.addCleanup(merge.wait)
        self.addCleanup(merge.kill)
        return merge

    def durable_bytes(self):
        merges = self.extmerge_json("status")["merges"]
        return merges[0].get("durable_bytes", 0) if merges else 0

    def wait_for_progress(self, merge, beyond):
        deadline = time.monotonic() + 30
        while self.durable_bytes() <= beyond:
            self.assertIsNone(merge.poll(), "the merge ended by itself")
            self.assertLess(time.monotonic(), deadline, "there is no progress")
            time.sleep(0.02)

    def finish(self):
        report = self.extmerge_json("merge", "--yes", *self.source)
        self.assertGreater(report["resumed_from"], 0)
        self.assertEqual(report["state"], "done")
        self.assert_merged(self.pool, 1, self.origin)

    def test_a_signal_stops_it_within_two_seconds_and_the_same_command_goes_on(self):
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            with self.subTest(signal=number.name):
                merge = self.start()
                self.wait_for_progress(merge, self.durable_bytes())
                merge.send_signal(number)
                began = time.monotonic()
                _, said = merge.communicate(timeout=10)
                self.assertLess(time.monotonic() - began, 2)
                self.assertEqual(merge.returncode, -number)
                self.assertIn("extmerge resume", said)
        self.finish()

    def test_killed_again_and_again_it_still_gets_there(self):
        recorded = 0
        for _ in range(4):
            merge = self.start()
            self.wait_for_progress(merge, recorded)
            merge.send_signal(signal.SIGKILL)
            merge.wait(timeout=10)
            self.assertGreaterEqual(self.durable_bytes(), recorded)
            recorded = self.durable_bytes()
        self.finish()

    def test_resume_needs_only_the_journal(self):
        merge = self.start()
        self.wait_for_progress(merge, 0)
        merge.send_signal(signal.SIGKILL)
        merge.wait(timeout=10)
        journal = self.extmerge_json("status")["merges"][0]["journal"]
        self.extmerge("resume", journal)
        self.assert_merged(self.pool, 1, self.origin)
        self.extmerge("resume", journal, status=6)

    def test_metadata_that_was_repaired_in_between_is_gone_on_with(self):
        at = self.source.index("--metadata") + 1
        metadata, dump = os.path.join(self.folder, "metadata.img"), os.path.join(self.folder, "dump.xml")
        shutil.copyfile(self.source[at], metadata)
        self.source[at] = metadata
        planned = self.extmerge_json("plan", *self.source)
        merge = self.start()
        self.wait_for_progress(merge, 0)
        merge.send_signal(signal.SIGKILL)
        merge.wait(timeout=10)
        # thin_restore writes the same mappings to other blocks of the same file.
        subprocess.run(["thin_dump", "-m", metadata, "-o", dump], check=True)
        with open(dump, encoding="ascii") as file:
            text = file.read()
        blocks = os.path.getsize(self.pool.data) // self.pool.block_size  # thin_dump 0.9.0 writes 0 for a metadata snapshot
        with open(dump, "w", encoding="ascii") as file:
            file.write(re.sub('nr_data_blocks="[0-9]+"', f'nr_data_blocks="{blocks}"', text))
        subprocess.run(["thin_restore", "-i", dump, "-o", metadata], check=True, stdout=subprocess.DEVNULL)
        self.source.append("--live-root")
        repaired = self.extmerge_json("plan", *self.source)
        self.assertEqual(repaired["plan_id"], planned["plan_id"])
        self.assertGreater(repaired["resumable_from"], 0)
        self.finish()

    def test_another_merge_of_the_same_origin_is_kept_out(self):
        merge = self.start()
        self.wait_for_progress(merge, 0)
        self.extmerge("merge", "--yes", *self.source, status=5)
        other_state = os.path.join(self.folder, "other")
        os.mkdir(other_state, mode=0o700)
        self.extmerge("merge", "--yes", "--state-dir", other_state, *self.source, status=5)
        self.assertIsNone(merge.poll(), "the first merge did not survive the second")

    def test_a_half_merged_origin_is_not_planned_anew_for_another_thin(self):
        merge = self.start()
        self.wait_for_progress(merge, 0)
        merge.send_signal(signal.SIGKILL)
        merge.wait(timeout=10)
        self.extmerge("merge", "--yes", *self.pool.source(2, self.origin), status=6)
        self.finish()


if __name__ == "__main__":
    unittest.main()
