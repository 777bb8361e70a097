# SPDX-License-Identifier: GPL-3.0-or-later
"""extmerge needs at most 128 MiB of memory, as the kernel counts it: for a merge with blocks of any
size, and for a plan beside 100,000 other thins."""

import os
import subprocess
import unittest

from many_thins import ManyThins
from pools import EXTMERGE, GoldenTest, Pool

MOST_MEMORY = 128 << 20


class Memory(GoldenTest):
    def memory_of(self, *arguments):
        """Runs the program to its end. Returns its peak resident memory in bytes."""
        process = subprocess.Popen([EXTMERGE, *arguments], stdin=subprocess.DEVNULL,
                                   stdout=subprocess.DEVNULL, env=self.environment())
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        self.assertEqual(process.returncode, 0, arguments)
        return usage.ru_maxrss << 10

    def test_a_merge_of_large_blocks_stays_within_128_mib(self):
        pool = Pool("block-1m")
        origin = self.copy_of_origin(pool)
        source = pool.source(1, origin)
        self.assertLessEqual(self.memory_of("merge", "--yes", *source), MOST_MEMORY)
        self.assert_merged(pool, 1, origin)
        self.assertLessEqual(self.memory_of("verify", *source), MOST_MEMORY)

    def test_a_plan_beside_100000_thins_stays_within_128_mib(self):
        pool = ManyThins(self.folder, 100_000)
        self.assertLessEqual(self.memory_of("plan", *pool.source()), MOST_MEMORY)
        self.assertLessEqual(self.memory_of("plan", "--json", *pool.source()), MOST_MEMORY)
        self.assertLessEqual(self.memory_of("plan", "-v", *pool.source()), MOST_MEMORY)


if __name__ == "__main__":
    unittest.main()
