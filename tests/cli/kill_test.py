# SPDX-License-Identifier: GPL-3.0-or-later
"""100 kills by SIGKILL, at a random moment or soon after recorded progress. A run that continues
follows each kill.

After every kill, before the next run, the origin has all that the journal calls durable. Nothing
outside the plan has changed. After the last run of a chain the origin is byte for byte what the
kernel read from the thin.
"""

import os
import random
import signal
import subprocess
import time
import unittest

from support import EXTMERGE, PoolTest, environment, run

KILLS = int(os.environ.get("EXTMERGE_KILLS", "100"))
CHAIN = 5  # kills on one origin before it is finished
SEED = int(os.environ.get("EXTMERGE_SEED", "4711"))
SLOW = ["--rate-limit=12M", "--checkpoint-interval=64k", "--buffer-size=64k", "--verify=none"]


class KillTest(PoolTest):
    def setUp(self):
        self.random = random.Random(SEED)

    def next_command(self):
        """One of the two ways to continue, chosen at random."""
        if self.pool.journal() and self.random.random() < 0.5:
            return ["resume", self.pool.journal()]
        return self.pool.command("merge", "--yes")

    def is_done(self):
        return self.pool.journal() is not None and self.pool.status()["state"] == "done"

    def front_of_journal(self):
        """The journal's headers and progress."""
        journal = self.pool.journal()
        if journal is None:
            return b""
        with open(journal, "rb") as file:
            return file.read(65536)

    def wait_for_progress(self, process):
        """Waits for progress in the journal, or for the end of the process."""
        before = self.front_of_journal()
        while process.poll() is None and self.front_of_journal() == before:
            time.sleep(0.002)

    def start_and_kill(self):
        """True if the kill came before the program ended by itself."""
        process = subprocess.Popen([EXTMERGE, *self.next_command(), *SLOW],
                                   stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                   stderr=subprocess.PIPE, env=environment())
        if self.random.random() < 0.5:
            self.wait_for_progress(process)
            time.sleep(self.random.uniform(0, 0.1))
        else:
            time.sleep(self.random.uniform(0, 0.5))
        process.kill()
        stderr = process.communicate()[1]
        self.assertIn(process.returncode, (0, -signal.SIGKILL), stderr)
        return process.returncode != 0

    def check_origin(self, runs, before, merged):
        """The rule that makes a crash harmless."""
        journal = self.pool.journal()
        durable = self.pool.status()["durable_bytes"] if journal else 0
        now = self.pool.origin_bytes()
        self.assertEqual(len(now), len(merged))
        position, end = 0, 0
        for origin_block, _, blocks in runs:
            start, length = origin_block * 65536, blocks * 65536
            self.assertTrue(now[end:start] == before[end:start], "an unplanned byte changed")
            sure = max(0, min(length, durable - position))
            self.assertTrue(now[start:start + sure] == merged[start:start + sure],
                            "a durable byte is not on the origin")
            position += length
            end = start + length
        self.assertTrue(now[end:] == before[end:], "an unplanned byte changed")
        return durable

    def test_a_merge_survives_100_kills(self):
        kills, landed_inside = 0, 0
        while kills < KILLS:
            self.pool = self.make_pool()
            before, merged = self.pool.origin_bytes(), self.pool.merged()
            table = self.pool.run("plan", "--ranges", "--noheadings").stdout
            runs = [tuple(map(int, line.split())) for line in table.splitlines()]
            total = sum(r[2] for r in runs) * 65536
            for _ in range(min(CHAIN, KILLS - kills)):
                if not self.start_and_kill():
                    break
                kills += 1
                durable = self.check_origin(runs, before, merged)
                landed_inside += 0 < durable < total
                if self.is_done():
                    break
            if not self.is_done():
                self.assert_ok(run(*self.next_command()))
            self.assertTrue(self.pool.origin_bytes() == merged)
            self.assert_ok(self.pool.run("verify"))
            self.assertEqual(self.pool.status()["state"], "done")
        print("%d kills, %d of them with a part of the plan durable (seed %d)" %
              (kills, landed_inside, SEED))
        self.assertGreater(landed_inside, kills // 4)


if __name__ == "__main__":
    unittest.main()
