# SPDX-License-Identifier: GPL-3.0-or-later
"""Rules about the source tree that nothing else would notice being broken."""

import os
import pathlib
import re
import unittest

TREE = pathlib.Path(os.environ["EXTMERGE_SOURCE"])
# Each folder and what it may include: itself and those before it.
LIBRARIES = ["io", "persistent-data", "merge", "cli"]
# Libraries that only the command line knows: the rest returns or throws, and runs without devices.
CLI_ONLY = re.compile(r"(boost|nlohmann|spdlog)/|libdevmapper\.h")
TEST_FOLDERS = [f"tests/{name}" for name in (*LIBRARIES, "support")]


def read(path):
    return path.read_text(encoding="utf-8")


def sources(folder, *suffixes):
    found = sorted(path for path in (TREE / folder).iterdir() if path.suffix in suffixes)
    if not found:
        raise AssertionError(f"there are no sources in {folder}")
    return found


class IncludeDirection(unittest.TestCase):
    def includes(self, folder, pattern):
        for path in sources(folder, ".h", ".cc"):
            for name in re.findall(pattern, read(path), re.MULTILINE):
                yield path.relative_to(TREE), name

    def test_a_folder_includes_only_itself_and_those_below_it(self):
        for position, folder in enumerate(LIBRARIES):
            allowed = LIBRARIES[:position + 1]
            for path, included in self.includes(folder, r'^#include "([^"]+)"'):
                self.assertIn(included.split("/")[0], allowed, f"{path} includes {included}")
                self.assertTrue((TREE / included).is_file(), f"{path} includes {included}")

    def test_what_belongs_to_the_command_line_is_included_there_only(self):
        for folder in LIBRARIES[:-1]:
            for path, included in self.includes(folder, r"^#include <([^>]+)>"):
                self.assertIsNone(CLI_ONLY.match(included), f"{path} includes {included}")
        used = [name for _, name in self.includes("cli", r"^#include <([^>]+)>")]
        self.assertTrue(any(CLI_ONLY.match(name) for name in used), "the pattern fits nothing")


class ListedSources(unittest.TestCase):
    def test_every_source_is_built_and_every_listed_one_exists(self):
        for folder in LIBRARIES + TEST_FOLDERS:
            listed = re.findall(r"^\s*(?:add_executable\(\S+ )?([\w-]+\.cc)\b",
                                read(TREE / folder / "CMakeLists.txt"), re.MULTILINE)
            self.assertEqual(sorted(listed), [path.name for path in sources(folder, ".cc")], folder)


class Pages(unittest.TestCase):
    def setUp(self):
        self.pages = [TREE / "README.md", TREE / "CONTRIBUTING.md", TREE / "tests/data/README.md",
                      TREE / "findings/README.md",
                      *sources("docs", ".md")]

    def test_every_link_leads_to_a_file(self):
        for page in self.pages:
            for link in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", read(page)):
                self.assertTrue((page.parent / link).exists(), f"{page} links to {link}")

    def test_every_message_that_is_mentioned_exists(self):
        header = read(TREE / "io/message_id.h")
        known = {f"EXM-{int(n):03}" for n in re.findall(r"^  k\w+ = (\d+),", header, re.MULTILINE)}
        for page in self.pages:
            self.assertLessEqual(set(re.findall(r"EXM-\d+", read(page))), known, page)

    def test_every_source_that_is_mentioned_exists(self):
        for page in self.pages:
            for name in re.findall(r"`((?:io|persistent-data|merge|cli)/[a-z_]+\.(?:h|cc))`", read(page)):
                self.assertTrue((TREE / name).is_file(), f"{page} mentions {name}")

    def test_every_test_that_is_mentioned_exists(self):
        mentioned = 0
        for page in self.pages:
            for name in re.findall(r"\btests/[\w./*-]*\w", read(page)):
                mentioned += 1
                self.assertTrue(any(TREE.glob(name)), f"{page} mentions {name}")
        self.assertGreater(mentioned, 0, "the pattern fits nothing")

    def test_every_guard_is_staged_where_the_page_says(self):
        staged = re.findall(r"`(tests/[^`]+)`: `([^`]+)`", read(TREE / "docs/guards.md"))
        self.assertGreater(len(staged), 40)
        for path, words in staged:
            self.assertIn(words, read(TREE / path), path)


class Findings(unittest.TestCase):
    def setUp(self):
        self.scripts = [path for path in sources("findings", ".sh") if path.name != "lab.sh"]

    def test_every_one_is_in_both_tables_and_nothing_else(self):
        names = sorted(path.name for path in self.scripts)
        self.assertEqual(sorted(re.findall(r"(?m)^\| \[([\w-]+\.sh)\]", read(TREE / "findings/README.md"))), names)
        self.assertEqual(sorted(re.findall(r"\(\.\./findings/([\w-]+\.sh)\)", read(TREE / "docs/surprises.md"))), names)

    def test_every_one_has_the_form_that_the_page_states(self):
        for path in self.scripts:
            text = read(path)
            self.assertTrue(os.access(path, os.X_OK), path)
            for word in ("Package", "Seen:", "So ", '\nsource "$(dirname "$0")/lab.sh"\n', "holds ", "\nexit $changed\n"):
                self.assertIn(word, text, path)
            self.assertRegex(text, r"\npackages \w+ .*=", f"{path}: no package is pinned")
            self.assertNotRegex(text, r"https?://|\bextmerge\b", path)


class Properties(unittest.TestCase):
    def test_the_outcome_of_every_property_is_looked_at(self):
        checks = 0
        for folder in TEST_FOLDERS:
            for path in sources(folder, ".h", ".cc"):
                text = read(path)
                for check in re.finditer(r"\brc::check\(", text):
                    checks += 1
                    before = text[:check.start()].rstrip()
                    line = before.count("\n") + 1
                    # rc::check() reports a failure on stderr and to its caller, not to GoogleTest.
                    self.assertRegex(before, r"(EXPECT_TRUE\(|ASSERT_TRUE\(|bool \w+ =)$",
                                     f"{path}:{line}: nobody looks at what rc::check() returns")
        self.assertGreater(checks, 0, "the pattern fits nothing")


if __name__ == "__main__":
    unittest.main()
