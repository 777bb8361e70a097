# SPDX-License-Identifier: GPL-3.0-or-later
"""With every limit on open files that is too low, the program says so. It has done nothing, or
the merge can be resumed.

Sanitizers do not run this test, because they open files of their own.
"""

import resource
import unittest

from support import PoolTest


class OpenFilesTest(PoolTest):
    def run_with_files(self, limit, *words):
        """Runs extmerge with at most `limit` open files, including the three standard streams."""
        return self.pool.run(*words, preexec_fn=lambda: resource.setrlimit(
            resource.RLIMIT_NOFILE, (limit, limit)))

    def assert_nothing_was_done(self):
        self.assertTrue(self.pool.untouched())
        self.assertIsNone(self.pool.journal())

    def test_a_plan_is_refused(self):
        limit = 4  # with fewer, the program cannot even be loaded
        while (result := self.run_with_files(limit, "plan")).returncode != 0:
            self.assert_failed(result, 3, "EXM-302")
            self.assertIn("ulimit -n", result.stderr)
            limit += 1
        self.assertGreater(limit, 5, "one file is not enough to plan")
        self.assert_nothing_was_done()

    def test_a_merge_is_refused_or_can_be_resumed_and_is_never_said_to_be_done(self):
        limit = 4
        while (result := self.run_with_files(limit, "merge", "--yes")).returncode != 0:
            # EXM-612 means that the journal cannot be made.
            self.assertRegex(result.stderr, "EXM-(302|612): .*Too many open files")
            self.assertIn(result.returncode, (3, 6))
            if self.pool.journal():
                self.assertIn("can be resumed", result.stderr)
                self.assertEqual(self.pool.status()["state"], "copying")
            else:
                self.assert_nothing_was_done()
            limit += 1
        self.assertGreater(limit, 5)
        self.assertEqual(self.pool.origin_bytes(), self.pool.merged())


if __name__ == "__main__":
    unittest.main()
