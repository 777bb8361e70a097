# SPDX-License-Identifier: GPL-3.0-or-later
"""--help: fits a screen, needs nothing, and agrees with docs/command-line.md."""

import os
import re
import unittest

from support import COMMANDS, SOURCE, environment, run, run_as_another


def options_in_help(command):
    """{long option: short letter or None} as `extmerge COMMAND --help` lists them."""
    found = {}
    for line in run(command, "--help").stdout.splitlines():
        match = re.match(r"\s+(?:-(\w), )?--([a-z-]+)", line)
        if match:
            found[match.group(2)] = match.group(1)
    return found


def options_in_docs(command):
    """The same, as the tables of the section about `command` list them."""
    with open(os.path.join(SOURCE, "docs", "command-line.md"), encoding="utf-8") as file:
        text = file.read()
    found = {}
    for row in re.findall(r"(?m)^\| `(.+?)` \| (.+?) \|", text):
        match = re.match(r"(?:-(\w), )?--([a-z-]+)", row[0])
        if match and command in re.split(r"[ ,]+", row[1]):
            found[match.group(2)] = match.group(1)
    return found


class HelpTest(unittest.TestCase):
    def test_the_overview_fits_a_screen(self):
        for arguments in (["--help"], ["-h"], ["help"]):
            result = run(*arguments)
            self.assertEqual(result.returncode, 0)
            self.assertEqual(result.stderr, "")
            lines = result.stdout.splitlines()
            self.assertLessEqual(len(lines), 24)
            self.assertLessEqual(max(map(len, lines)), 80)
            for command in COMMANDS:
                self.assertIn("  %s " % command, result.stdout)

    def test_each_command_has_help_of_53_lines_at_most(self):
        for command in COMMANDS:
            with self.subTest(command):
                result = run(command, "--help")
                self.assertEqual(result.returncode, 0)
                self.assertEqual(result.stderr, "")
                lines = result.stdout.splitlines()
                self.assertLessEqual(len(lines), 53)
                self.assertLessEqual(max(map(len, lines)), 80)
                self.assertEqual(run("help", command).stdout, result.stdout)
                self.assertEqual(run(command, "-h").stdout, result.stdout)

    def test_help_works_without_root_devices_and_environment(self):
        for command in COMMANDS:
            result = run_as_another(command, "--help", env={}, cwd="/")
            self.assertEqual(result.returncode, 0, result.stderr)

    def test_help_and_docs_agree_in_both_directions(self):
        for command in COMMANDS:
            with self.subTest(command):
                in_help = options_in_help(command)
                self.assertGreater(len(in_help), 8)
                self.assertEqual(in_help, options_in_docs(command))

    def test_the_docs_name_no_option_that_does_not_exist(self):
        known = set()
        for command in COMMANDS:
            known |= set(options_in_help(command))
        with open(os.path.join(SOURCE, "docs", "command-line.md"), encoding="utf-8") as file:
            mentioned = set(re.findall(r"(?<![\w-])--([a-z][a-z-]+)", file.read()))
        self.assertEqual(mentioned - known, set())

    def test_version_is_name_and_number(self):
        for arguments in (["--version"], ["-V"], ["plan", "--version"], ["status", "-V"]):
            result = run(*arguments)
            self.assertEqual(result.returncode, 0)
            self.assertRegex(result.stdout, r"\Aextmerge \d+\.\d+\.\d+\n\Z")

    def test_help_into_a_full_disk_is_a_failure_and_not_a_crash(self):
        with open("/dev/full", "wb") as full:
            import subprocess
            from support import EXTMERGE
            result = subprocess.run([EXTMERGE, "--help"], stdout=full, stderr=subprocess.PIPE,
                                    text=True, env=environment())
        self.assertEqual(result.returncode, 3)
        self.assertIn("EXM-305", result.stderr)


if __name__ == "__main__":
    unittest.main()
