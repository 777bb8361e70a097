# SPDX-License-Identifier: GPL-3.0-or-later
"""Rules about the source tree that no other test checks."""

import ast
import os
import pathlib
import re
import sys
import unittest

TREE = pathlib.Path(os.environ["EXTMERGE_SOURCE"])
sys.path.insert(0, str(TREE / "docs"))
import make_rooms  # pylint: disable=wrong-import-position
from make_rooms import ROOMS  # pylint: disable=wrong-import-position
sys.path.insert(0, str(TREE / "tests/mutants"))
import mutants  # pylint: disable=wrong-import-position
LIBRARIES = sorted({room.split("/")[0] for room in ROOMS})
# Libraries that only the command line includes: the rest returns or throws, and runs without devices.
CLI_ONLY = re.compile(r"(boost|nlohmann|spdlog)/|libdevmapper\.h")
TEST_FOLDERS = [f"tests/{name}" for name in (*LIBRARIES, "support")]
MOST_LINES = 400
MOST_LINES_OF_A_FUNCTION = 60
# Files and functions that are longer. Each is removed from here once it is shorter.
LONG_FILES = {"io/device_facts.cc"}
LONG_FUNCTIONS = set()


def read(path):
    return path.read_text(encoding="utf-8")


def sources(folder, *suffixes):
    """The sources in the folder and its subfolders."""
    found = sorted(path for path in (TREE / folder).rglob("*") if path.suffix in suffixes)
    if not found:
        raise AssertionError(f"there are no sources in {folder}")
    return found


def program():
    return [path for library in LIBRARIES for path in sources(library, ".h", ".cc")]


def scripts():
    found = [TREE / "run", TREE / ".ci/run"]
    for folder in ("docs", "findings", "tests"):
        found += [path for path in sources(folder, ".sh", ".py", "")
                  if path.suffix or path.is_file() and path.read_bytes().startswith(b"#!")]
    return found + sorted(path for folder in (*LIBRARIES, "tests") for path in (TREE / folder).rglob("CMakeLists.txt"))


def room_of(path):
    return path.parent.relative_to(TREE).as_posix()


def includes(path, pattern=r'^#include "([^"]+)"'):
    return re.findall(pattern, read(path), re.MULTILINE)


def unit_of(path):
    """A header and its source are one unit."""
    return str(path.relative_to(TREE).with_suffix(""))


def circle(graph):
    """The units of a circle, empty if there is no circle."""
    state, way = {}, []

    def visit(unit):
        state[unit] = "under way"
        way.append(unit)
        for other in sorted(graph.get(unit, ())):
            if state.get(other) == "under way":
                return way[way.index(other):]
            found = [] if other in state else visit(other)
            if found:
                return found
        way.pop()
        state[unit] = "done"
        return []

    for unit in sorted(graph):
        found = [] if unit in state else visit(unit)
        if found:
            return found
    return []


def functions(text):
    """The first line and the length of each function that is defined outside of a class."""
    begin = None
    for number, line in enumerate(text.splitlines(), 1):
        # clang-format begins such a function, and nothing in it, in the first column.
        if re.match(r"[A-Za-z][^;{}]*(\(|$)", line) and begin is None:
            begin = number
        elif line.endswith(";") and not line.startswith(" "):
            begin = None
        elif line == "}" and begin is not None:
            yield begin, number - begin + 1
            begin = None


class Rooms(unittest.TestCase):
    def test_every_source_is_in_a_room(self):
        for path in program():
            self.assertIn(room_of(path), ROOMS, path)

    def test_a_room_includes_only_itself_and_those_below_it(self):
        for path in program():
            for included in includes(path):
                self.assertTrue((TREE / included).is_file(), f"{path} includes {included}")
                self.assertLessEqual(ROOMS[room_of(TREE / included)], ROOMS[room_of(path)], f"{path} includes {included}")

    def test_there_are_no_circles(self):
        graph = {}
        for path in program():
            units = {unit_of(TREE / included) for included in includes(path)} - {unit_of(path)}
            graph.setdefault(unit_of(path), set()).update(units)
        self.assertGreater(len(graph), 100, "the pattern fits nothing")
        self.assertEqual(circle(graph), [])
        self.assertEqual(circle({"a": {"b"}, "b": {"c"}, "c": {"b"}}), ["b", "c"], "a circle is not found")

    def test_what_belongs_to_the_command_line_is_included_there_only(self):
        used = 0
        for path in program():
            for included in includes(path, r"^#include <([^>]+)>"):
                if CLI_ONLY.match(included):
                    used += 1
                    self.assertTrue(room_of(path).startswith("cli"), f"{path} includes {included}")
        self.assertGreater(used, 0, "the pattern fits nothing")

    def test_the_picture_is_current(self):
        self.assertEqual(read(TREE / "docs/rooms.svg"), make_rooms.draw(), "docs/make_rooms.py > docs/rooms.svg")

    def test_tests_have_the_same_rooms(self):
        for library in LIBRARIES:
            for path in sources(f"tests/{library}", ".h", ".cc"):
                self.assertIn(path.parent.relative_to(TREE / "tests").as_posix(), ROOMS, path)


class Files(unittest.TestCase):
    def test_only_test_data_is_not_text(self):
        """A program or an archive that a build has left is easily committed with `git add`."""
        top_level = [path for path in TREE.iterdir() if path.name != ".git" and not path.name.startswith("build")]
        files = [path for top in top_level for path in [top, *top.rglob("*")] if path.is_file()]
        self.assertGreater(len(files), 400, "the walk finds nothing")
        binary = {path.relative_to(TREE) for path in files if b"\0" in path.read_bytes() and path.suffix != ".pyc"}
        self.assertGreater(len(binary), 0, "test data is not found")
        self.assertEqual({path for path in binary if path.parts[:2] not in {("tests", "data"), ("tests", "fuzz")}}, set())


class Lengths(unittest.TestCase):
    def test_no_file_is_too_long(self):
        long = {str(path.relative_to(TREE)) for path in program() if len(read(path).splitlines()) > MOST_LINES}
        self.assertEqual(long, LONG_FILES)

    def test_no_function_is_too_long(self):
        counted, long = 0, set()
        for path in program():
            for begin, length in functions(read(path)):
                counted += 1
                if length > MOST_LINES_OF_A_FUNCTION:
                    line = read(path).splitlines()[begin - 1]
                    long.add(str(path.relative_to(TREE)) + ": " + re.search(r"([\w:~]+)\(", line)[1])
        self.assertGreater(counted, 1000, "the pattern fits nothing")
        self.assertEqual(long, LONG_FUNCTIONS)


class ListedSources(unittest.TestCase):
    def test_every_source_is_built_and_every_listed_one_exists(self):
        for folder in LIBRARIES + TEST_FOLDERS:
            listed = re.findall(r"^\s*(?:add_executable\(\S+ )?([\w/-]+\.cc)\b",
                                read(TREE / folder / "CMakeLists.txt"), re.MULTILINE)
            found = [path.relative_to(TREE / folder).as_posix() for path in sources(folder, ".cc")]
            self.assertEqual(sorted(listed), sorted(found), folder)


class PlantedBugs(unittest.TestCase):
    def test_each_fits_its_source(self):
        for name, path, old, new in mutants.BUGS:
            with self.subTest(name):
                self.assertIn(old, read(TREE / path), path)
                self.assertNotEqual(old, new)


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
            for name in re.findall(r"`((?:io|persistent-data|merge|cli)/[a-z_/]+\.(?:h|cc))`", read(page)):
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


class Words(unittest.TestCase):
    """A sentence has its subject in front, and plain verbs. Names and transcripts are left alone."""
    FIRST = re.compile(r"(What|That|Of|Whoever|Also|Nor)\b")
    # "It" needs a sentence before it that says what it is.
    FIRST_OF_ALL = re.compile(r"It\b")
    ARCHAIC = re.compile(r"\b(go(es)? on with|gone on with|going on with|anew|meanwhile|aside|comes? to|whoever|is to have|of none any more)\b", re.I)

    def wrong(self, paragraph, begins=True):
        for number, sentence in enumerate(re.split(r"(?<=[.!?])\s+", paragraph)):
            sentence = sentence.lstrip("~-*`> ")
            at_start = self.FIRST.match(sentence) or (number == 0 and self.FIRST_OF_ALL.match(sentence))
            if (begins and at_start) or self.ARCHAIC.search(sentence):
                yield sentence

    @staticmethod
    def paragraphs(page):
        text = re.sub(r"(?ms)^```.*?^```|^ {4}.*?$|<!--.*?-->", "", read(page))
        for paragraph in re.split(r"\n\s*\n|\n(?=\||- |\d+\. )", text):
            for cell in paragraph.replace("\n", " ").split("|"):
                yield cell.strip(" -#*")

    @staticmethod
    def comments(text, mark="//"):
        block = []
        for line in [*text.splitlines(), ""]:
            alone = re.match(rf"\s*{mark}+(?!!)\s?(.*)", line)
            if alone and alone[1].strip():
                block.append(alone[1])
                continue
            if block:
                yield " ".join(block), True
            block = []
            behind = re.search(rf"\S\s+{mark}\s(.*)", line)
            if behind:  # a fragment is enough there
                yield behind[1], False

    @staticmethod
    def docstrings(text):
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef)):
                for paragraph in re.split(r"\n\s*\n", ast.get_docstring(node) or ""):
                    yield paragraph.replace("\n", " "), True

    @staticmethod
    def literals(path):
        code = re.sub(r"(?m)^\s*//.*$", "", read(path))
        return re.findall(r'"((?:[^"\\\n]|\\.)*)"', re.sub(r'"\s*\n\s*"', "", code))

    def assert_plain(self, path, texts):
        found = [sentence for text, begins in texts for sentence in self.wrong(text, begins)]
        self.assertEqual(found, [], path)

    def test_of_the_pages(self):
        pages = [TREE / "README.md", TREE / "CONTRIBUTING.md", *sources("docs", ".md")]
        for page in pages:
            self.assert_plain(page, [(paragraph, True) for paragraph in self.paragraphs(page)])

    def test_of_comments(self):
        for path in [*program(), *(path for folder in TEST_FOLDERS for path in sources(folder, ".h", ".cc"))]:
            self.assert_plain(path, self.comments(read(path)))

    def test_of_scripts(self):
        found = scripts()
        self.assertGreater({path.name for path in found}, {"run", "boot", "guest.sh", "tree_test.py"}, "scripts are not found")
        for path in found:
            self.assert_plain(path, self.comments(read(path), "#"))
            if path.suffix == ".py":
                self.assert_plain(path, self.docstrings(read(path)))

    def test_of_messages(self):
        for path in program():
            self.assert_plain(path, [(text, True) for text in self.literals(path)])

    def test_finds_what_is_not_plain(self):
        self.assertEqual(list(self.wrong("What is missing is nothing. It goes on. All is well")), ["What is missing is nothing."])
        self.assertEqual(len(list(self.wrong("the merge begins anew"))), 1)
        self.assertEqual(list(self.wrong("of a device", True)), [])
        shell = "@!/bin/sh\n@ Of none.\nwait  @ until it goes on with it\n  @ seen WHAT: it is plain.\n  @ Whoever waits.\n".replace("@", "#")
        self.assertEqual([sentence for each in self.comments(shell, "#") for sentence in self.wrong(*each)],
                         ["Of none.", "until it goes on with it", "Whoever waits."])
        python = 'def seen():\n    """Plain.\n\n    What is seen."""\n'
        self.assertEqual([sentence for each in self.docstrings(python) for sentence in self.wrong(*each)], ["What is seen."])


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
