# SPDX-License-Identifier: GPL-3.0-or-later
"""The manual has every option of --help, every message, exit status and variable, and man can
show it. EXTMERGE_MANUAL is the folder with the pages."""

import os
import re
import subprocess
import unittest

from support import COMMANDS, SOURCE, run

MANUAL = os.environ["EXTMERGE_MANUAL"]
PAGES = ("extmerge.8", "extmerge-journal.5", "extmerge-recovery.7")


def shown(page):
    """The page as a reader sees it, without line breaks inside words."""
    result = subprocess.run(["mandoc", "-T", "utf8", "-O", "width=1000", os.path.join(MANUAL, page)],
                            capture_output=True, text=True, check=True)
    return re.sub(r".\x08", "", result.stdout)


@unittest.skipUnless(os.path.isfile(os.path.join(MANUAL, PAGES[0])), "no scdoc: no manual was made")
class ManualTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.page = shown("extmerge.8")

    def section(self, name):
        found = re.search(r"(?ms)^%s\n(.*?)(?=^[A-Z])" % name, self.page)
        self.assertIsNotNone(found, name)
        return found.group(1)

    def test_man_takes_every_page(self):
        for page in PAGES:
            result = subprocess.run(["mandoc", "-T", "lint", "-W", "error", os.path.join(MANUAL, page)],
                                    capture_output=True, text=True)
            self.assertEqual(result.returncode, 0, result.stdout)
            self.assertNotRegex(shown(page), r"\.md\b|\]\(|\{\{", page)

    def test_every_option_of_help_is_there_with_its_commands(self):
        told = {}
        for found in re.finditer(r"(?m)^ {7}((?:-\w, )?(--[\w-]+)[^\n]*)\n(.*?)Commands: ([^\n]*)\.$",
                                 self.section("OPTIONS"), re.DOTALL):
            told[found.group(2)] = (found.group(1), set(found.group(4).split(", ")))
        helped = {}
        for command in COMMANDS:
            for line in run(command, "--help").stdout.split("\n"):
                option = re.match(r"^ +((?:-\w, )?(--[\w-]+)(?:\[\S+\])?(?: FORMAT FILE| [A-Z][\w|]*)?) ", line)
                if option:
                    helped.setdefault(option.group(2), (option.group(1), set()))[1].add(command)
        self.assertGreater(len(helped), 35)
        self.assertEqual(set(told), set(helped))
        for option, (words, commands) in helped.items():
            self.assertEqual(told[option], (words.strip(), commands))

    def test_every_command_is_told(self):
        for command in COMMANDS:
            self.assertRegex(self.section("COMMANDS"), r"(?m)^ {7}%s " % command)
            self.assertIn(command, self.section("SYNOPSIS"))

    def test_every_message_is_there_with_cause_and_cure(self):
        with open(os.path.join(SOURCE, "io/message_id.h"), encoding="utf-8") as header:
            known = re.findall(r"(?m)^  k\w+ = (\d+),", header.read())
        messages = self.section("MESSAGES")
        for number in known:
            self.assertRegex(messages, r"EXM-%03d [^\n]+\n\s+Cause: [^\n]+\n\s+Cure: \S" % int(number))
        self.assertEqual(messages.count("Cause: "), len(known))

    def test_every_exit_status_is_there(self):
        self.assertEqual(re.findall(r"(?m)^ {7}(\d+)$", self.section("EXIT STATUS")),
                         [str(i) for i in range(12)])

    def test_every_variable_that_the_program_reads_is_there(self):
        variables = set()
        for folder in ("cli", "io", "merge"):
            for name in os.listdir(os.path.join(SOURCE, folder)):
                if name.endswith(".cc"):
                    with open(os.path.join(SOURCE, folder, name), encoding="utf-8") as source:
                        variables |= set(re.findall(r'getenv\("(\w+)"\)', source.read()))
        self.assertIn("EXTMERGE_STATE_DIR", variables)
        for variable in variables:
            self.assertIn(variable, self.section("ENVIRONMENT"))


if __name__ == "__main__":
    unittest.main()
