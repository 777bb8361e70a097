# SPDX-License-Identifier: GPL-3.0-or-later
"""--map and --export=ddrescue draw the images' contents, and replace only files of extmerge."""

import ctypes
import errno
import json
import os
import platform
import re
import resource
import shlex
import shutil
import signal
import struct
import subprocess
import sys
import unittest
import xml.etree.ElementTree as ElementTree

from support import EXTMERGE, SOURCE, PoolTest, environment, run

sys.path.insert(0, os.path.join(SOURCE, "tests/support"))
import transcripts  # pylint: disable=wrong-import-position

SVG = "{http://www.w3.org/2000/svg}"
BLOCK = 65536
UNIT = 4096


class Drawn:
    """A parsed SVG: the text of each column, by the column's place."""

    def __init__(self, path):
        root = ElementTree.parse(path).getroot()
        assert root.tag == SVG + "svg", root.tag
        self.texts = [text.text for text in root.iter(SVG + "text")]
        self.columns = {}
        for group in root.iter(SVG + "g"):
            offset, *amounts = group.find(SVG + "title").text.removeprefix("from ").split(", ")
            self.columns[int(offset)] = {kind: int(amount) for amount, kind in
                                         (each.split(" ", 1) for each in amounts)}


class MapTest(PoolTest):
    def thin_bytes(self, pool):
        with open(os.path.join(pool.fixture, "expected.img"), "rb") as file:
            return file.read()

    def mapped_blocks(self, pool, *options):
        table = self.assert_ok(pool.run("plan", "--ranges", "--noheadings", *options)).stdout
        return {start + i for start, _, count in (map(int, line.split()) for line in table.splitlines())
                for i in range(count)}

    def different_units(self, pool):
        origin, thin = pool.origin_bytes(), self.thin_bytes(pool)
        return {at for at in range(0, len(origin), UNIT) if origin[at:at + UNIT] != thin[at:at + UNIT]}

    def draw(self, pool, command="plan", *options):
        path = pool.path("map.svg")
        self.assert_ok(pool.run(command, "--map", path, "--units=b", "--nosuffix", *options))
        return Drawn(path)

    def test_a_plan_is_drawn_as_the_images_are(self):
        drawn = self.draw(self.pool)
        self.assertEqual({offset // BLOCK for offset in drawn.columns}, self.mapped_blocks(self.pool))
        units = self.different_units(self.pool)
        self.assertTrue(units)
        for offset, kinds in drawn.columns.items():
            different = sum(UNIT for at in range(offset, offset + BLOCK, UNIT) if at in units)
            self.assertEqual(kinds.get("different", 0), different, offset)
            self.assertEqual(kinds.get("equal already", 0), BLOCK - different, offset)

    def test_the_report_and_json_have_the_sums(self):
        units = len(self.different_units(self.pool)) * UNIT
        plan = json.loads(self.pool.run("plan", "--json", "--map", self.pool.path("map.svg")).stdout)
        self.assertEqual(plan["map"], {"compared_bytes": plan["copy_bytes"], "different_bytes": units,
                                       "equal_bytes": plan["copy_bytes"] - units, "unknown_bytes": 0,
                                       "exact": True})
        self.assertIsNone(json.loads(self.pool.run("plan", "--json").stdout)["map"])
        text = self.pool.run("plan", "--units=b", "--nosuffix", "--map", self.pool.path("map.svg")).stdout
        self.assertRegex(text, r"(?m)^  compared +all of it$")
        self.assertRegex(text, r"(?m)^  different +%d$" % units)
        self.assertNotIn("different", self.pool.run("plan").stdout)

    def test_what_lies_past_the_origins_end_is_drawn_past_it(self):
        pool = self.make_pool("thin-larger-64k")
        for options in (["--beyond-origin=drop"], ["--beyond-origin=extend"]):
            drawn = self.draw(pool, "plan", "--thin-size=32M", *options)
            end = os.path.getsize(pool.origin)
            past = {offset for offset, kinds in drawn.columns.items() if "past the origin's end" in kinds}
            self.assertTrue(past)
            self.assertEqual(past, {offset for offset in drawn.columns if offset >= end})

    def test_a_refused_plan_is_drawn_all_the_same(self):
        pool = self.make_pool("thin-larger-64k")
        path = pool.path("map.svg")
        self.assert_failed(pool.run("plan", "--map", path, "--units=b", "--nosuffix"), 4, "EXM-411")
        self.assertTrue(Drawn(path).columns)

    def test_blocks_of_other_sizes(self):
        for name, size in (("block-192k", 192 << 10), ("block-1m", 1 << 20)):
            pool = self.make_pool(name)
            drawn = self.draw(pool)
            self.assertEqual({offset // size for offset in drawn.columns}, self.mapped_blocks(pool))

    def test_status_draws_what_is_durable(self):
        journal = self.unfinished()
        durable = self.pool.status()["durable_bytes"]
        mapped = sorted(self.mapped_blocks(self.pool))
        path = self.pool.path("map.svg")
        self.assert_ok(run("status", journal, "--map", path, "--units=b", "--nosuffix"))
        columns = Drawn(path).columns
        self.assertEqual(sorted(offset // BLOCK for offset in columns), mapped)
        for position, block in enumerate(mapped):
            here = min(max(durable - position * BLOCK, 0), BLOCK)
            self.assertEqual(columns[block * BLOCK].get("durable", 0), here, block)
            self.assertEqual(columns[block * BLOCK].get("still to be copied", 0), BLOCK - here, block)
        # The second map replaces the first.
        self.assert_ok(run("resume", journal))
        self.assert_ok(run("status", journal, "--map", path, "--units=b", "--nosuffix"))
        self.assertTrue(all(kinds == {"durable": BLOCK} for kinds in Drawn(path).columns.values()))

    def characters(self, text):
        return "".join(re.findall(r"(?m)^ *[\d.]+ \w+ ([.#=?+>]*) *$", text))

    def test_without_colours_a_column_is_a_character(self):
        text = self.assert_ok(self.pool.run("plan", "--map", "-", "--units=b", "--nosuffix")).stdout
        drawn = self.characters(text)
        self.assertEqual(len(drawn), os.path.getsize(self.pool.origin) // BLOCK)
        mapped, units = self.mapped_blocks(self.pool), self.different_units(self.pool)
        for block, character in enumerate(drawn):
            differs = any(at in units for at in range(block * BLOCK, (block + 1) * BLOCK, UNIT))
            self.assertEqual(character, "." if block not in mapped else "#" if differs else "=", block)
        self.assertIn("Merge of thin 1", text)
        self.assertNotIn("\x1b", text)

    def on_terminal(self, *arguments, **changes):
        shown, status = transcripts.run(shlex.join([EXTMERGE, *arguments]), EXTMERGE_CONFIG="", TERM="xterm",
                                        **{"NO_COLOR": "", **changes})
        self.assertEqual(status, 0, shown)
        return shown

    def test_on_a_terminal_a_column_is_half_a_character(self):
        command = self.pool.command("plan", "--map", "-", "-qq")
        shown = self.on_terminal(*command, LANG="C.UTF-8", LC_ALL="", LC_CTYPE="")
        cells = re.findall("\x1b\\[(\\d+)m\x1b\\[(\\d+)m▀\x1b\\[0m", shown)
        blocks = os.path.getsize(self.pool.origin) // BLOCK
        self.assertEqual(2 * len(cells), blocks)
        mapped = self.mapped_blocks(self.pool)
        for i, (upper, lower) in enumerate(cells):
            block = i // 64 * 128 + i % 64
            for colour, unmapped, here in ((upper, "90", block), (lower, "100", block + 64)):
                self.assertEqual(colour != unmapped, here in mapped, here)
        for changes in ({"LANG": "C", "LC_ALL": "", "LC_CTYPE": ""}, {"NO_COLOR": "1", "LANG": "C.UTF-8"}):
            shown = self.on_terminal(*command, **changes)
            self.assertNotIn("\x1b[9", shown)
            self.assertNotIn("▀", shown)

    def test_a_mapfile_is_what_ddrescuelog_reads(self):
        if not shutil.which("ddrescuelog"):
            self.skipTest("there is no ddrescuelog")
        journal = self.unfinished()
        status, mapped = self.pool.status(), sorted(self.mapped_blocks(self.pool))
        path = self.pool.path("merge.map")
        self.assert_ok(run("status", journal, "--export=ddrescue", path))

        def blocks(kind):
            result = subprocess.run(["ddrescuelog", "--block-size=512", f"--list-blocks={kind}", path],
                                    capture_output=True, text=True, check=True)
            return set(map(int, result.stdout.split()))

        left = set()
        for position, block in enumerate(mapped):
            done = min(max(status["durable_bytes"] - position * BLOCK, 0), BLOCK)
            left |= set(range((block * BLOCK + done) // 512, (block + 1) * BLOCK // 512))
        self.assertTrue(left)
        self.assertEqual(blocks("?"), left)
        self.assertEqual(blocks("+"), set(range(os.path.getsize(self.pool.origin) // 512)) - left)
        self.assertNotEqual(subprocess.run(["ddrescuelog", "-D", path], check=False).returncode, 0)
        self.assert_ok(run("resume", journal))
        self.assert_ok(run("status", "--export", "ddrescue", path, journal))
        self.assertEqual(subprocess.run(["ddrescuelog", "-D", path], check=False).returncode, 0)

    def test_on_standard_output_a_mapfile_is_alone(self):
        journal = self.unfinished()
        path = self.pool.path("merge.map")
        shown = self.assert_ok(run("status", "--export=ddrescue", "-", journal)).stdout
        self.assert_ok(run("status", "--export=ddrescue", path, journal))
        with open(path, encoding="utf-8") as file:
            self.assertEqual(file.read(), shown)

    def test_no_file_but_one_of_ours_is_replaced(self):
        path, journal = self.pool.path("in-the-way"), self.unfinished()
        os.mkfifo(self.pool.path("fifo"))
        os.symlink("nowhere", self.pool.path("link"))
        with open(path, "wb") as file:
            file.write(b"<svg xmlns")
        before = self.pool.origin_bytes()
        in_the_way = [path, journal, self.pool.origin, self.pool.path("fifo"), self.pool.path("link"),
                      self.pool.folder, "/dev/null"]
        for name in in_the_way:
            self.assert_usage_error(self.pool.run("plan", "--map", name), "--map", "already")
            self.assert_usage_error(run("status", journal, "--export=ddrescue", name), "--export",
                                    "one file" if name == journal else "already")
        self.assertEqual(self.pool.origin_bytes(), before)
        with open(path, "rb") as file:
            self.assertEqual(file.read(), b"<svg xmlns")
        # A file of the other kind is not replaced either.
        mapfile = self.pool.path("merge.map")
        self.assert_ok(run("status", journal, "--export=ddrescue", mapfile))
        self.assert_usage_error(run("status", journal, "--map", mapfile), "already")
        self.assert_ok(run("status", journal, "--export=ddrescue", mapfile))
        # A journal's lock is always empty.
        lock = os.stat(journal + ".lock").st_ino
        self.assert_usage_error(run("status", journal, "--map", journal + ".lock"), "already")
        self.assertEqual(os.stat(journal + ".lock").st_ino, lock)

    def test_owner_and_mode_of_one_that_is_replaced_stay(self):
        path = self.pool.path("map.svg")
        self.assert_ok(self.pool.run("plan", "--map", path))
        os.chmod(path, 0o600)
        if os.geteuid() == 0:
            os.chown(path, 65534, 65534)
        before = os.stat(path)
        self.assert_ok(self.pool.run("plan", "--map", path))
        after = os.stat(path)
        self.assertNotEqual(after.st_ino, before.st_ino)
        self.assertEqual((after.st_mode, after.st_uid, after.st_gid), (before.st_mode, before.st_uid, before.st_gid))

    def test_a_name_as_long_as_can_be(self):
        self.assert_ok(self.pool.run("plan", "--map", self.pool.path("m" * 251 + ".svg")))

    def test_one_that_has_no_room_leaves_nothing_and_what_was_there(self):
        """A failure prints one JSON document, too."""
        path, earlier = self.pool.path("map.svg"), self.pool.path("earlier.svg")
        self.assert_ok(self.pool.run("plan", "--map", earlier))
        with open(earlier, "rb") as file:
            whole = file.read()
        self.assertGreater(len(whole), 4096)
        names = set(os.listdir(self.pool.folder))

        def little_room():
            resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        for name in (path, earlier):
            result = self.pool.run("plan", "--json", "--map", name, preexec_fn=little_room)
            self.assert_failed(result, 3, "EXM-301")
            self.assertEqual(json.loads(result.stdout)["error"]["id"], "EXM-301")
        self.assertEqual(set(os.listdir(self.pool.folder)), names)
        with open(earlier, "rb") as file:
            self.assertEqual(file.read(), whole)

    def test_one_name_for_two_files_is_refused(self):
        name, journal = self.pool.path("one"), self.unfinished()
        twice = os.path.join(self.pool.folder, ".", "one")
        self.assert_usage_error(run("status", journal, "--map", name, "--export=ddrescue", twice), "one file")
        self.assert_usage_error(run("status", journal, "--map", name, "--log-file", name), "one file")
        self.assert_usage_error(self.pool.run("plan", "--map", name, "--journal", twice), "one file")
        self.assert_usage_error(self.pool.run("plan", "--map", name, "--undo-log", name), "one file")
        os.symlink(self.pool.folder, self.pool.path("elsewhere"))
        self.assert_usage_error(run("status", journal, "--map", name, "--export=ddrescue",
                                    self.pool.path("elsewhere/one")), "one file")
        self.assertFalse(os.path.exists(name))

    def test_an_extension_that_is_undone_is_not_drawn(self):
        pool = self.make_pool("thin-larger-64k")
        size = os.path.getsize(pool.origin)
        self.assert_ok(pool.run("merge", "--yes", "--beyond-origin=extend", "--thin-size=32M", "--undo-log",
                                pool.path("undo")))
        self.assertGreater(os.path.getsize(pool.origin), size)
        for command, end in ((["status"], 32 << 20), (["undo", "--yes"], size)):
            self.assert_ok(run(*command, pool.journal()))
            shown = self.assert_ok(run("status", "--export=ddrescue", "-", pool.journal())).stdout
            offset, length, _ = shown.splitlines()[-1].split()
            self.assertEqual(int(offset, 16) + int(length, 16), end)

    def test_nothing_is_left_of_one_that_could_not_be_written(self):
        before = set(os.listdir(self.pool.folder))
        self.assert_failed(self.pool.run("plan", "--map", self.pool.path("no/such/folder.svg")), 4, "EXM-401")
        self.assert_failed(run("plan", "--metadata", "/nonexistent", "--data", self.pool.data, "--thin-id=1",
                               "--origin", self.pool.origin, "--map", self.pool.path("map.svg")), 4, "EXM-401")
        self.assertEqual(set(os.listdir(self.pool.folder)), before)

    def test_words_that_do_not_fit_together(self):
        journal = self.unfinished()
        for words in (["--map", "-", "--json"], ["--export=ddrescue", "-", "--json"],
                      ["--map", "-", "--export=ddrescue", "-"]):
            self.assert_usage_error(run("status", journal, *words), "standard output")
        self.assert_usage_error(run("status", journal, "--export=ddrescue"), "no FILE")
        self.assertIn("Usage", run("status", "--export=ddrescue", "--help").stdout)
        self.assert_usage_error(run("status", journal, "--export", "ddrescue", "--map", "-"), "no FILE")
        self.assert_usage_error(run("status", journal, "--export", "gparted", "file"), "ddrescue")
        self.assert_usage_error(run("status", "--state-dir", self.pool.state, "--map", "-"), "is for one merge, and none is named")
        self.assert_usage_error(run("status", "--export=ddrescue", "-"), "is for one merge, and none is named")
        self.assert_usage_error(self.pool.run("plan", "--map", "-", "--ranges"), "exclude")
        self.assert_usage_error(run("status", journal, "--export=borg", "-"), "ddrescue")

    def test_names_cannot_break_the_picture(self):
        odd = self.pool.path('a<b>&"\x1b[2J.img')
        os.rename(self.pool.origin, odd)
        self.pool.origin = odd
        self.draw(self.pool)


def refuse_unnamed_files():
    """From here on the kernel refuses O_TMPFILE and RENAME_NOREPLACE, as file systems without them do."""
    # The machine's number for seccomp, and the numbers of openat(2) and renameat2(2).
    machine, openat, renameat2 = {"x86_64": (0xC000003E, 257, 316), "aarch64": (0xC00000B7, 56, 276)}[platform.machine()]
    load, masked, equal, end = 0x20, 0x54, 0x15, 0x06  # BPF: LD|W|ABS, ALU|AND|K, JMP|JEQ|K, RET|K
    number, of_machine, flags_of_openat, flags_of_renameat2 = 0, 4, 32, 48  # in struct seccomp_data
    allow, refuse = 0x7FFF0000, 0x00050000
    program = [(load, 0, 0, of_machine), (equal, 0, 9, machine),
               (load, 0, 0, number), (equal, 2, 0, openat), (equal, 4, 0, renameat2), (end, 0, 0, allow),
               (load, 0, 0, flags_of_openat), (masked, 0, 0, os.O_TMPFILE), (equal, 3, 2, os.O_TMPFILE),
               (load, 0, 0, flags_of_renameat2), (equal, 2, 0, 1),
               (end, 0, 0, allow), (end, 0, 0, refuse | errno.EOPNOTSUPP), (end, 0, 0, refuse | errno.EINVAL)]
    text = b"".join(struct.pack("=HBBI", *line) for line in program)
    memory = ctypes.create_string_buffer(text)
    filters = ctypes.create_string_buffer(struct.pack("@HP", len(program), ctypes.addressof(memory)))
    libc = ctypes.CDLL(None, use_errno=True)
    for words in ((38, 1, 0, 0, 0), (22, 2, filters, 0, 0)):  # PR_SET_NO_NEW_PRIVS; PR_SET_SECCOMP, a filter
        if libc.prctl(*words) != 0:
            raise OSError(ctypes.get_errno(), "prctl")


@unittest.skipUnless(platform.machine() in ("x86_64", "aarch64"), "the numbers of system calls here are not known")
class WithoutUnnamedFilesTest(PoolTest):
    def setUp(self):
        super().setUp()
        self.path = self.pool.path("map.svg")
        self.names = set(os.listdir(self.pool.folder))

    def draw(self, *options, prepare=lambda: None):
        def restricted():
            prepare()
            refuse_unnamed_files()
        return self.pool.run("plan", "--map", self.path, *options, preexec_fn=restricted)

    def drawing(self):
        with open(self.path, "rb") as file:
            return file.read()

    def assert_only_the_picture_is_new(self):
        self.assertEqual(set(os.listdir(self.pool.folder)), self.names | {"map.svg"})

    def test_the_kernel_refuses_them(self):
        for flags in (os.O_TMPFILE, 0):
            opened = subprocess.run([sys.executable, "-c", "import os, sys; os.open(sys.argv[1], os.O_RDWR | int(sys.argv[2]))",
                                     self.pool.folder if flags else self.pool.data, str(flags)],
                                    preexec_fn=refuse_unnamed_files, capture_output=True, text=True, check=False)
            self.assertEqual("Operation not supported" in opened.stderr, bool(flags), opened.stderr)
            self.assertEqual(opened.returncode, 1 if flags else 0, opened.stderr)

    def test_a_new_picture_is_whole(self):
        self.assert_ok(self.draw())
        drawn = self.drawing()
        self.assert_only_the_picture_is_new()
        os.remove(self.path)
        self.assert_ok(self.pool.run("plan", "--map", self.path))
        self.assertEqual(self.drawing(), drawn)

    def test_one_that_is_replaced_is_whole_and_keeps_owner_and_mode(self):
        self.assert_ok(self.draw("--units=s"))
        os.chmod(self.path, 0o604)
        if os.geteuid() == 0:
            os.chown(self.path, 65534, 65534)
        before, drawn = os.stat(self.path), self.drawing()
        self.assert_ok(self.draw("--units=b", "--nosuffix"))
        after = os.stat(self.path)
        self.assertNotEqual(after.st_ino, before.st_ino)
        self.assertEqual((after.st_mode, after.st_uid, after.st_gid), (before.st_mode, before.st_uid, before.st_gid))
        self.assertNotEqual(self.drawing(), drawn)
        self.assert_only_the_picture_is_new()
        self.assertTrue(Drawn(self.path).columns)

    def test_a_failure_leaves_what_was_there(self):
        def little_room():
            resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        self.assert_failed(self.draw(prepare=little_room), 3, "EXM-301")
        self.assertEqual(set(os.listdir(self.pool.folder)), self.names)
        self.assert_ok(self.draw())
        drawn = self.drawing()
        self.assertGreater(len(drawn), 4096)
        self.assert_failed(self.draw("--units=s", prepare=little_room), 3, "EXM-301")
        self.assertEqual(self.drawing(), drawn)
        self.assert_only_the_picture_is_new()

    def test_anything_else_of_that_name_stays(self):
        with open(self.path, "wb") as file:
            file.write(b"somebody's")
        self.assert_usage_error(self.draw(), "already")
        self.assertEqual(self.drawing(), b"somebody's")
        self.assert_only_the_picture_is_new()


if __name__ == "__main__":
    unittest.main()
