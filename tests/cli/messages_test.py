# SPDX-License-Identifier: GPL-3.0-or-later
"""docs/messages.md lists exactly the ids of io/message_id.h."""

import os
import re
import unittest

from support import SOURCE


def read(*path):
    with open(os.path.join(SOURCE, *path), encoding="utf-8") as file:
        return file.read()


class MessagesTest(unittest.TestCase):
    def setUp(self):
        header = read("io", "message_id.h")
        self.ids = {name: int(number)
                    for name, number in re.findall(r"(?m)^  (k\w+) = (\d+),", header)}

    def test_every_id_is_in_the_table_and_nothing_else(self):
        in_docs = re.findall(r"(?m)^\| EXM-(\d{3,4}) \|", read("docs", "messages.md"))
        self.assertEqual([int(n) for n in in_docs], sorted(self.ids.values()))

    def test_each_row_has_meaning_cause_and_cure(self):
        for row in re.findall(r"(?m)^\| EXM-.*$", read("docs", "messages.md")):
            cells = [cell.strip() for cell in row.strip("|").split("|")]
            self.assertEqual(len(cells), 4, row)
            self.assertTrue(all(cells), row)

    def test_every_id_is_used_somewhere(self):
        text = ""
        for folder in ("io", "persistent-data", "merge", "cli"):
            for room, _, names in os.walk(os.path.join(SOURCE, folder)):
                for name in names:
                    if name.endswith((".cc", ".h")) and name != "message_id.h":
                        text += read(room, name)
        unused = [name for name in self.ids if "MessageId::" + name not in text]
        self.assertEqual(unused, [])


if __name__ == "__main__":
    unittest.main()
