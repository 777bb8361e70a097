# SPDX-License-Identifier: GPL-3.0-or-later
"""A merge takes no more than 128 MiB of memory, blocks of any size, by what the kernel counted."""

import os
import subprocess
import unittest

from pools import EXTMERGE, GoldenTest, Pool

MOST_MEMORY = 128 << 20


class Memory(GoldenTest):
    def memory_of(self, *arguments):
        """Runs the program to its end; the most memory it had resident, in bytes."""
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


if __name__ == "__main__":
    unittest.main()
