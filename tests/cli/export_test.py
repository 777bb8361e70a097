# SPDX-License-Identifier: GPL-3.0-or-later
"""plan --export: words that do not fit, bases that are none, and what stands on standard output."""

import json
import os
import unittest

from support import PoolTest, run

FORMATS = ("borg", "bmap", "ddrescue", "json")


class ExportTest(PoolTest):
    def export(self, *words):
        return self.pool.run("plan", "--thin-size=32M", *words)

    def test_on_standard_output_a_map_is_alone(self):
        for form in FORMATS:
            path = self.pool.path(form)
            shown = self.assert_ok(self.export("--export", form, "-")).stdout
            self.assert_ok(self.export("--export", form, path))
            with open(path, encoding="utf-8") as file:
                self.assertEqual(file.read(), shown)
            # An earlier map is replaced, and nothing else.
            self.assert_ok(self.export("--export", form, path))
            for other in FORMATS:
                if other != form:
                    self.assert_usage_error(self.export("--export", other, path), "already")

    def test_the_report_has_the_sums(self):
        report = json.loads(self.assert_ok(self.export("--export=json", self.pool.path("map"), "--json")).stdout)
        with open(self.pool.path("map"), encoding="utf-8") as file:
            ranges = json.load(file)["ranges"]
        self.assertEqual(report["ranges"], len(ranges))
        for content in ("data", "origin", "zero", "same"):
            self.assertEqual(report[content + "_bytes"], sum(one["length"] for one in ranges if one["content"] == content))
        self.assertEqual(report["thin_bytes"], 32 << 20)

    def test_words_that_do_not_fit(self):
        new = self.pool.path("map")
        self.assert_usage_error(self.pool.run("plan", "--export=borg", new), "--thin-size")
        self.assert_usage_error(self.export("--since=origin"), "--export")
        self.assert_usage_error(self.export("--export=borg", new, "--since=yesterday"), "neither origin nor the path")
        self.assert_usage_error(self.export("--export=tar", new), "borg")
        self.assert_usage_error(self.export("--export=borg"), "no FILE")
        self.assert_usage_error(self.export("--export=borg", "-", "--json"), "standard output")
        self.assert_usage_error(self.export("--export=borg", new, "--map", self.pool.path("picture")), "exclude")
        for words in (["--ranges"], ["--full"], ["--since-last"], ["--undo-log", self.pool.path("log")], ["--restart"],
                      ["--again"], ["--allow-shared-origin"], ["--beyond-origin=drop"]):
            self.assert_usage_error(self.export("--export=borg", new, *words), words[0].split("=")[0])
        self.assertFalse(os.path.exists(new))

    def test_bases_that_are_none(self):
        new = self.pool.path("map")
        self.assert_failed(self.export("--export=borg", new, "--since", self.pool.path("nothing")), 6, "EXM-601")
        self.assert_failed(self.export("--export=borg", new, "--since", self.pool.origin), 6, "EXM-603")
        journal = self.unfinished()
        self.assert_failed(self.export("--export=borg", new, "--since", journal), 6, "EXM-618")
        self.assert_ok(run("resume", journal))
        # The journal is of this thin itself, which was no snapshot of anything that went on.
        self.assert_ok(self.export("--export=borg", new, "--since", journal))
        with open(self.pool.origin, "r+b") as file:
            file.write(b"changed")
        result = self.export("--export=borg", self.pool.path("other"), "--since", journal)
        self.assert_failed(result, 6, "EXM-618")
        self.assertIn("was written to since", result.stderr)
        self.assertFalse(os.path.exists(self.pool.path("other")))

    def test_without_room_nothing_is_left(self):
        before = set(os.listdir(self.pool.folder))
        self.assert_failed(self.export("--export=borg", self.pool.path("no/such/map")), 4, "EXM-401")
        self.assert_failed(self.export("--export=borg", "/dev/full"), 1, "EXM-101")
        self.assertEqual(set(os.listdir(self.pool.folder)) - before, set())


if __name__ == "__main__":
    unittest.main()
