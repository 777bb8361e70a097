# SPDX-License-Identifier: GPL-3.0-or-later
"""The report names five of many other thins and counts the rest; JSON and -v have them all."""

import unittest

from many_thins import ManyThins
from pools import GoldenTest

THINS = 2000


class Thins(GoldenTest):
    def setUp(self):
        super().setUp()
        self.pool = ManyThins(self.folder, THINS)
        self.harmed = sum(blocks > 0 for blocks in self.pool.harmed().values())

    def lines_about_thins(self, text):
        return [line for line in text.splitlines() if "would change" in line]

    def test_a_plan_names_five_and_counts_the_rest(self):
        report = self.extmerge("plan", *self.pool.source())
        self.assertLess(len(report.splitlines()), 30)
        named = [f"thin {id}: 1 block would change if it has this origin" for id in (2, 3, 4, 5, 6)]
        more = f"and {THINS - 6} more, of which {self.harmed - 5} would change (-v names all)"
        for line in [*named, more]:
            self.assertIn(line, report)
        for id in (2, 3, 4, 5, 6):
            self.assertIn(f"thin id {id} would change in 1 block if it has this origin", report)
        self.assertNotIn("thin id 7 ", report)
        self.assertIn(f"{self.harmed - 5} more thins would change if they have this origin", report)

    def test_a_verbose_plan_names_all(self):
        report = self.extmerge("plan", "-v", *self.pool.source())
        for id, blocks in self.pool.harmed().items():
            self.assertIn(f"thin {id}: {'1 block would' if blocks else 'nothing would'} change",
                          report)

    def test_json_has_all(self):
        plan = self.extmerge_json("plan", *self.pool.source())
        self.assertEqual({s["thin_id"]: s["harmed_blocks"] for s in plan["siblings"]},
                         self.pool.harmed())
        self.assertFalse(any(s["unreadable"] for s in plan["siblings"]))
        self.assertEqual(len(plan["notes"]), 6)

    def test_a_merge_prints_notes_of_five(self):
        self.extmerge("merge", "--yes", *self.pool.source())
        self.assertEqual(len(self.lines_about_thins(self.last_stderr)), 6)
        self.assertLess(len(self.last_stderr.splitlines()), 20)


if __name__ == "__main__":
    unittest.main()
