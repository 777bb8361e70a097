# SPDX-License-Identifier: GPL-3.0-or-later
"""Command lines that extmerge refuses, option by option, and the messages.

The effects of accepted options are in option_effects_test.py.
"""

import json
import os
import unittest

from support import COMMANDS, PoolTest, run

# The commands that accept each option without a value.
FLAGS = {
    "--live-root": {"plan", "merge", "copy", "verify"},
    "--allow-stale": {"plan", "merge", "copy", "resume", "verify", "undo"},
    "--allow-shared-origin": {"plan", "merge", "resume", "undo"},
    "--allow-removed-snapshot": {"undo"},
    "--allow-container": {"plan", "merge", "copy", "resume", "verify", "undo"},
    "--restart": {"plan", "merge", "copy"},
    "--again": {"plan", "merge", "copy"},
    "--dry-run": {"merge", "copy"},
    "--yes": {"merge", "copy", "resume", "undo"},
    "--full": {"plan", "merge", "copy"},
    "--since-last": {"plan", "merge", "copy"},
    "--whole": {"copy", "verify"},
    "--keep-siblings": {"plan", "merge"},
    "--finish": {"merge"},
    "--when-closed": {"merge", "copy"},
    "--batch-mode": {"plan", "merge", "copy", "resume", "verify", "undo"},
    "--json": set(COMMANDS),
    "--ranges": {"plan"},
    "--noheadings": {"plan", "status"},
    "--nosuffix": set(COMMANDS),
    "--progress-json": {"plan", "merge", "copy", "resume", "verify", "undo"},
    "--verbose": set(COMMANDS),
    "--quiet": set(COMMANDS),
    "--metadata-snap": {"plan", "merge", "copy", "verify"},
}
VALUES = {
    "--metadata": ("x", {"plan", "merge", "copy", "verify"}),
    "--data": ("x", {"plan", "merge", "copy", "verify"}),
    "--thin-id": ("1", {"plan", "merge", "copy", "verify"}),
    "--origin": ("x", {"plan", "merge", "copy", "verify"}),
    "--thin-size": ("1M", {"plan", "merge", "copy", "verify"}),
    "--beyond-origin": ("drop", {"plan", "merge", "verify"}),
    "--with": ("x", {"plan", "merge"}),
    "--until": ("64M", {"merge", "copy"}),
    "--timeout": ("30m", {"merge", "copy"}),
    "--since": ("./x", {"plan", "copy"}),
    "--journal": ("x", {"plan", "merge", "copy"}),
    "--state-dir": ("x", {"plan", "merge", "copy", "resume", "verify", "status", "undo", "abort"}),
    "--undo-log": ("x", {"plan", "merge", "copy"}),
    "--compare": ("auto", {"merge", "copy", "resume"}),
    "--verify": ("full", {"merge", "copy", "resume"}),
    "--checkpoint-interval": ("1M", {"merge", "copy", "resume"}),
    "--rate-limit": ("1M", {"merge", "copy", "resume", "verify"}),
    "--io-size": ("1M", {"merge", "copy", "resume", "verify"}),
    "--io-depth": ("1", {"merge", "copy", "resume", "verify"}),
    "--buffer-size": ("1M", {"merge", "copy", "resume", "verify"}),
    "--threads": ("1", {"merge", "copy", "resume", "verify"}),
    "--units": ("k", set(COMMANDS)),
    "--progress": ("none", {"plan", "merge", "copy", "resume", "verify", "undo"}),
    "--progress-frequency": ("1", {"plan", "merge", "copy", "resume", "verify", "undo"}),
    "--log-file": ("/dev/null", set(COMMANDS)),
    "--log-level": ("info", set(COMMANDS)),
}


class CommandLineTest(PoolTest):
    def test_the_command_comes_first_and_must_exist(self):
        self.assert_usage_error(run(), "the command is missing",
                                "plan, merge, copy, resume, verify, status, undo, abort")
        self.assert_usage_error(run("mrege"), "unknown command 'mrege'", "'merge'")
        self.assert_usage_error(run("--json", "plan"), "stands before the command")
        self.assert_usage_error(run("help", "nonsense"), "unknown command 'nonsense'")

    def test_an_option_of_another_command_is_refused_by_name(self):
        tables = [(o, [o], takers) for o, takers in FLAGS.items()]
        tables += [(o, [o, v], takers) for o, (v, takers) in VALUES.items()]
        for option, words, takers in tables:
            for command in set(COMMANDS) - takers:
                with self.subTest(command=command, option=option):
                    self.assert_usage_error(run(command, *words), "%s has no option %s" %
                                            (command, option), *takers)

    def test_an_option_may_be_given_once(self):
        for option, takers in FLAGS.items():
            if option in ("--verbose", "--quiet"):
                continue
            self.assert_usage_error(run(min(takers), option, option), option + " is given twice")
        for option, (value, takers) in VALUES.items():
            self.assert_usage_error(run(min(takers), option, value, option + "=" + value),
                                    option + " is given twice")

    def test_a_value_must_be_there(self):
        for option, (_, takers) in VALUES.items():
            with self.subTest(option):
                command = min(takers)
                self.assert_usage_error(run(command, option), option)
                self.assert_usage_error(run(command, option + "="), option)
                self.assert_usage_error(run(command, option, ""), option)
                self.assert_usage_error(run(command, option, "--json"), option, "looks like")

    def test_a_flag_takes_no_value(self):
        for option, takers in FLAGS.items():
            if option != "--metadata-snap":
                self.assert_usage_error(run(min(takers), option + "=1"), option)

    def test_unknown_options_name_the_nearest(self):
        self.assert_usage_error(self.pool.run("plan", "--thin-siz=1M"), "--thin-siz'",
                                "did you mean '--thin-size'")
        self.assert_usage_error(self.pool.run("merge", "--jouranl=x"), "'--journal'")
        self.assert_usage_error(self.pool.run("merge", "-Z"), "-Z")
        self.assert_usage_error(self.pool.run("merge", "--force"), "unknown option")

    def test_options_are_not_abbreviated(self):
        for abbreviated in ("--js", "--rest", "--dry", "--metadata-sn", "--ye"):
            self.assert_usage_error(self.pool.run("merge", abbreviated), "unknown option")

    def test_what_is_no_path_is_a_volume_and_has_a_group(self):
        for command in COMMANDS:
            target = ["./target"] if command == "copy" else []
            self.assert_usage_error(run(command, "snap", *target), "'snap' is neither VG/SNAP nor")
        for name in ("vg/", "vg/snap/", "vg/snap/x", "@tag/snap", "vg/-y", "vg/sn ap", "v$g/snap"):
            self.assert_usage_error(run("plan", name), "is no name of a volume")

    def test_a_path_must_be_a_thin_device(self):
        for command in ("plan", "merge", "verify"):
            consent = ["--yes"] if command == "merge" else []
            missing = self.pool.path("no-such-thin")
            self.assert_failed(run(command, missing, *consent), 4, "EXM-401")
            for path in (self.pool.origin, self.pool.folder, "/dev/null"):
                self.assert_failed(run(command, path, *consent), 4, "EXM-421")
            relative = "./" + os.path.basename(self.pool.origin)
            self.assert_failed(run(command, relative, *consent, cwd=self.pool.folder),
                               4, "EXM-421")

    def test_a_named_source_finds_its_devices_itself(self):
        for name in ("vg/snap", "/dev/mapper/thin"):
            for words in (["--metadata=x"], ["--data=x"], ["--thin-id=1"], ["--origin=x"],
                          ["--thin-size=1M"], ["--live-root"], self.pool.source):
                for command in ("plan", "merge", "verify"):
                    # A path beside all devices is a target.
                    if command == "verify" and name.startswith("/") and len(words) > 1:
                        continue
                    option = words[0].split("=")[0]
                    self.assert_usage_error(run(command, name, *words), "'%s' and %s exclude" %
                                            (name, option))

    def test_finish_is_for_volumes_and_verifies_in_full(self):
        self.assert_usage_error(self.pool.run("merge", "--yes", "--finish"), "--finish is for")
        self.assertTrue(self.pool.untouched())
        self.assertFalse(os.path.exists(self.pool.state))
        for how in ("none", "sample"):
            self.assert_usage_error(run("merge", "vg/snap", "--finish", "--verify=" + how),
                                    "verifies in full")
        for how in ("changed", "full"):  # the parser takes them; there is no such volume
            result = run("merge", "no-such-group/snap", "--yes", "--finish", "--verify=" + how, "--state-dir", self.pool.state)
            self.assertIn(result.returncode, (3, 6, 11), result.stderr)
            self.assertNotIn("EXM-101", result.stderr)

    def test_with_is_for_volumes_and_has_names(self):
        self.assert_usage_error(self.pool.run("merge", "--yes", "--with=mon"), "--with is for volumes", "oldest first")
        for names in (",", "mon,", ",mon", "mon,,tue"):
            self.assert_usage_error(run("plan", "vg/wed", "--with=" + names), "--with has an empty name")

    def test_when_closed_is_for_a_finish(self):
        for source in (["vg/snap"], self.pool.source):
            self.assert_usage_error(run("merge", *source, "--yes", "--when-closed"), "--when-closed without --finish", "add --finish")
            for option in ("--until=64M", "--timeout=30m"):
                for words in ([option], [option, "--finish"]):
                    if "--finish" not in words or source == ["vg/snap"]:
                        self.assert_usage_error(run("merge", *source, "--yes", *words), option.split("=")[0] + " without --when-closed",
                                                "add --finish --when-closed")
        self.assert_usage_error(self.pool.run("merge", "--yes", "--finish", "--when-closed"), "--finish is for volumes")
        self.assertTrue(self.pool.untouched())
        self.assertFalse(os.path.exists(self.pool.state))

    def test_when_closed_of_a_copy_is_for_volumes(self):
        target = "/nonexistent/target"
        for option in ("--until=64M", "--timeout=30m"):
            self.assert_usage_error(run("copy", "vg/snap", target, "--yes", option), "without --when-closed", "add --when-closed")
        self.assert_usage_error(run("copy", *self.pool.source, target, "--yes", "--when-closed"), "--when-closed is for volumes", "by hand")
        self.assert_usage_error(run("copy", "vg/snap", target, "--yes", "--when-closed", "--verify=sample"), "verifies in full")
        for option in ("--allow-stale", "--metadata-snap", "--undo-log=x"):
            self.assert_usage_error(run("copy", "vg/snap", target, "--yes", "--when-closed", option), "exclude each other")
        self.assertTrue(self.pool.untouched())
        self.assertFalse(os.path.exists(self.pool.state))

    def test_one_source_and_one_journal(self):
        self.assert_usage_error(run("plan", "vg/snap", "more"), "'more'", "one source")
        self.assert_usage_error(run("resume"), "journal is missing")
        self.assert_usage_error(run("resume", "/a", "/b"), "/b", "one journal")
        self.assert_usage_error(run("status", "/a", "./b"), "./b", "one journal")
        self.assert_usage_error(run("abort"), "journal is missing")
        self.assert_usage_error(run("abort", "vg/snap", "/b"), "/b", "one journal")

    def test_each_part_of_the_source_is_needed(self):
        for missing in ("--metadata", "--data", "--thin-id", "--origin"):
            source = self.pool.source
            at = source.index(missing)
            self.assert_usage_error(run("plan", *source[:at], *source[at + 2:]),
                                    missing + " is missing")

    def test_options_that_exclude_each_other(self):
        for command, words in [
                ("plan", ["--metadata-snap", "--live-root"]),
                ("merge", ["--journal=x", "--state-dir=y"]),
                ("plan", ["--json", "--ranges"]),
                ("plan", ["--ranges", "--units=k"]),
                ("plan", ["--ranges", "--nosuffix"]),
                ("plan", ["--noheadings"]),
                ("plan", ["--full", "--since-last"]),
                ("merge", ["--full", "--since-last"]),
                ("plan", ["--restart", "--since-last"]),
                ("merge", ["--restart", "--since-last"]),
                ("merge", ["--again", "--since-last"]),
                ("merge", ["--keep-siblings", "--allow-shared-origin"]),
                ("plan", ["--keep-siblings", "--metadata-snap"]),
                ("merge", ["--when-closed", "--undo-log=x"]),
                ("merge", ["--progress=bar", "--progress-json"]),
                ("merge", ["--batch-mode", "--progress=line"]),
                ("merge", ["--batch-mode", "--progress-json"]),
                ("merge", ["--batch-mode", "--progress-frequency=1"]),
                ("merge", ["--progress=none", "--progress-frequency=1"]),
                ("merge", ["--progress=bar", "--progress-frequency=1"]),
                ("verify", ["--beyond-origin=extend"]),
                ("merge", ["--io-size=2M", "--buffer-size=1M"]),
                ("plan", ["--log-level=info"])]:
            with self.subTest(words):
                self.assert_usage_error(run(command, *self.pool.source, *words),
                                        words[0].split("=")[0])
        self.assert_usage_error(run("status", "--json", "--noheadings"), "--noheadings")
        for command in ("resume", "status", "abort"):
            self.assert_usage_error(run(command, "--state-dir=/x", "/y"), "--state-dir")

    def test_a_usage_error_is_json_where_json_was_asked_for(self):
        for words in (["-J", "--nonsense"], ["--json", "--thin-size=x"]):
            result = self.pool.run("plan", *words)
            self.assertEqual(result.returncode, 1)
            self.assertEqual(json.loads(result.stdout)["error"]["id"], "EXM-101")


class BadValuesTest(PoolTest):
    SIZES = ("-1", "+1", "x", "1x", "1.5M", "99999999999999999999", "16E")

    def assert_refused(self, command, option, *values):
        source = self.pool.source
        if option in source:
            del source[source.index(option):source.index(option) + 2]
        for value in values:
            with self.subTest(option=option, value=value):
                self.assert_usage_error(run(command, *source, option + "=" + value), option)

    def test_sizes(self):
        self.assert_refused("plan", "--thin-size", "0", "511", *self.SIZES)
        self.assert_refused("merge", "--rate-limit", "0", "4095", *self.SIZES)
        self.assert_refused("merge", "--io-size", "0", "4095", "65M", *self.SIZES)
        self.assert_refused("merge", "--buffer-size", "0", "63k", "257M", *self.SIZES)
        self.assert_refused("merge", "--checkpoint-interval", "0", "63k", "2T", "0s", "-1s", "s",
                            "86401s", "1.5s", "5m5s", *self.SIZES)
        self.assert_refused("merge", "--until", "0", "63k", "65535", *self.SIZES)

    def test_times(self):
        self.assert_refused("merge", "--timeout", "0", "0h", "-1", "+1", "-1s", "x", "s", "1x", "1M", "1.5h", "5m5s", "1 h", "31622401",
                            "527041m", "8785h", "367d", "99999999999999999999", "99999999999999999999d")

    def test_numbers(self):
        numbers = ("-1", "+1", "x", "1x", "", "99999999999999999999")
        self.assert_refused("plan", "--thin-id", "16777216", *numbers)
        self.assert_refused("merge", "--io-depth", "0", "1025", *numbers)
        self.assert_refused("merge", "--threads", "0", "257", *numbers)
        self.assert_refused("merge", "--progress-frequency", "0", "86401", *numbers)
        self.assert_refused("plan", "--metadata-snap", "0", "4161600", "-1", "x", "1x")

    def test_words(self):
        self.assert_refused("plan", "--beyond-origin", "keep", "Drop", "dro")
        self.assert_refused("merge", "--compare", "yes", "al", "AUTO")
        self.assert_refused("merge", "--verify", "all", "samp")
        self.assert_refused("merge", "--progress", "dots", "ba")
        self.assert_refused("plan", "--units", "x", "kk", "kib", "1")
        self.assert_refused("plan", "--log-level", "warning", "7")

    def test_the_value_of_m_is_part_of_the_same_word(self):
        self.assert_usage_error(self.pool.run("plan", "-m", "66"), "'66'")
        self.assert_usage_error(self.pool.run("plan", "--metadata-snap", "66"), "'66'")


if __name__ == "__main__":
    unittest.main()
