# SPDX-License-Identifier: GPL-3.0-or-later
"""No output of a run may be a file with another part in the work.

The tests send each output of each command to each protected file, by its name and by every other way to it. extmerge
must refuse the run, and no byte on disk may change.
"""

import hashlib
import os
import shutil
import subprocess
import tempfile
import unittest

from support import EXTMERGE, PoolTest, environment, run


def files_in(*folders):
    return [os.path.join(where, name) for folder in folders for where, _, names in os.walk(folder) for name in names]


def looks(*folders):
    """The facts of every file that change if the file is written to, replaced or removed."""
    found = {}
    for path in files_in(*folders):
        status = os.lstat(path)
        found[path] = status.st_ino, status.st_size, status.st_mtime_ns
    return found


def digests(*folders):
    found = {}
    for path in files_in(*folders):
        with open(path, "rb") as file:
            found[path] = hashlib.sha256(file.read()).hexdigest()
    return found


class LoopDevice:
    """A loop device over a whole file. path is None if no loop device can be made."""

    def __init__(self, test, path):
        result = subprocess.run(["losetup", "--find", "--show", path], capture_output=True, text=True, check=False)
        self.path = result.stdout.strip() if result.returncode == 0 else None
        if self.path:
            test.addCleanup(subprocess.run, ["losetup", "--detach", self.path], check=True)


class PathsTest(PoolTest):
    """One merge is half done, and so is a merge of another pool. Both have undo logs."""

    def setUp(self):
        super().setUp()
        self.undo_log = self.pool.path("undo")
        self.journal = self.unfinished(self.pool, "--undo-log", self.undo_log)
        self.config = self.pool.path("extmerge.conf")
        with open(self.config, "w", encoding="utf-8") as file:
            file.write("units = b\n")
        # The other merge's journal is in the same state directory.
        self.other = self.make_pool()
        self.other.state = self.pool.path("other")
        self.other_undo_log = self.other.path("undo")
        journal = self.unfinished(self.other, "--undo-log", self.other_undo_log)
        self.other_journal = shutil.move(journal, os.path.join(self.pool.state, "other.journal"))
        shutil.rmtree(self.other.state)
        self.env = environment(EXTMERGE_CONFIG=self.config, EXTMERGE_STATE_DIR=self.pool.state)
        self.ways = self.pool.path("ways")
        os.mkdir(self.ways)
        self.folders = self.pool.folder, self.other.folder
        self.settle()
        self.addCleanup(lambda: self.assertEqual(digests(*self.folders), self.before))

    def settle(self):
        """Records the present state of all files. They must be the same in the end."""
        self.before = digests(*self.folders)

    def make_folder(self):
        folder = tempfile.mkdtemp(prefix="extmerge-test-")
        self.addCleanup(shutil.rmtree, folder)
        return folder

    def make_loop(self, path):
        loop = LoopDevice(self, path)
        if not loop.path:
            self.skipTest("no loop device can be made here")
        return loop.path

    def protected(self):
        return {"metadata": self.pool.metadata, "data": self.pool.data, "origin": self.pool.origin,
                "journal": self.journal, "journal.new": self.journal + ".new",
                "journal.lock": self.journal + ".lock", "journal.lvm": self.journal + ".lvm",
                "journal.lvm.new": self.journal + ".lvm.new", "undo log": self.undo_log,
                "configuration": self.config, "other journal": self.other_journal,
                "other undo log": self.other_undo_log, "other origin": self.other.origin}

    def commands(self):
        source = self.pool.source
        return {"plan": ["plan", *source], "merge": ["merge", "--yes", *source],
                "verify": ["verify", *source], "resume": ["resume", self.journal],
                "undo": ["undo", "--yes", self.journal], "abort": ["abort", self.journal],
                "status": ["status", self.journal], "status of all": ["status"]}

    def outputs(self, command):
        """The options that name an output, each with its words."""
        yield "--log-file", ["--log-level=trace", "--log-file"]
        if command in ("plan", "status"):
            yield "--map", ["--map"]
        if command == "status":
            yield "--export", ["--export=ddrescue"]

    def ways_to(self, path):
        """Other names of the same file, or of its future place."""
        yield "its name", path
        yield "a detour", os.path.join(os.path.dirname(path), ".", "..", os.path.basename(os.path.dirname(path)),
                                       os.path.basename(path))
        folder = os.path.join(self.ways, "folder")
        if not os.path.lexists(folder):
            os.symlink(os.path.dirname(path), folder)
        yield "a link to its folder", os.path.join(folder, os.path.basename(path))
        if os.path.exists(path):
            for kind, make in (("a link", os.symlink), ("a hard link", os.link)):
                name = os.path.join(self.ways, kind.replace(" ", "-"))
                make(path, name)
                yield kind, name
                os.remove(name)
        os.remove(folder)

    def assert_refused(self, words, status=1, message_id=101):
        before = looks(*self.folders)
        result = run(*words, env=self.env)
        self.assert_failed(result, status, "EXM-%d" % message_id)
        self.assertEqual(looks(*self.folders), before)


class LinksTest(PathsTest):
    def test_no_output_lands_in_a_file_that_has_another_part(self):
        for command, words in self.commands().items():
            for option, more in self.outputs(command):
                for part, path in self.protected().items():
                    for way, name in self.ways_to(path):
                        with self.subTest(command=command, option=option, part=part, way=way):
                            # extmerge does not trust a journal with two names.
                            is_unsafe = way == "a hard link" and part.startswith("journal") and \
                                words[-1] == self.journal
                            self.assert_refused([*words, *more, name], *([6, 606] if is_unsafe else []))

    def test_nor_where_it_begins_like_one_that_may_be_replaced(self):
        result = run("plan", *self.pool.source, "--map", self.pool.path("m.svg"), env=self.env)
        self.assert_ok(result)
        self.assert_ok(run("status", self.journal, "--export=ddrescue", self.pool.path("m.map")))
        for option, made in (("--map", "m.svg"), ("--export=ddrescue", "m.map")):
            with open(self.pool.path(made), "rb") as file:
                mark = file.read(200)
            with open(self.pool.origin, "r+b") as file:
                file.write(mark)
            self.settle()
            self.assert_refused(["status", self.journal, option, self.pool.origin])

    def test_a_loop_device_is_what_it_stands_on(self):
        """The loop device is named instead of its backing file, or as an output."""
        for role in ("metadata", "data", "origin"):
            image = getattr(self.pool, role)
            loop = self.make_loop(image)
            source = [loop if word == image else word for word in self.pool.source]
            for words in (["plan", *source], ["merge", "--yes", *source], ["verify", *source]):
                for option in ["--log-file"] + ["--map"] * (words[0] == "plan"):
                    for name in (image, loop):
                        with self.subTest(command=words[0], option=option, name=name):
                            self.assert_refused([*words, option, name])

    def test_a_log_on_a_file_system_of_the_origin(self):
        loop = self.make_loop(self.pool.origin)
        mounted = self.make_folder()
        quietly = {"check": True, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        subprocess.run(["mkfs.ext4", "-q", "-F", loop], **quietly)
        subprocess.run(["mount", loop, mounted], **quietly)
        self.addCleanup(self.settle)  # unmounting writes to it
        self.addCleanup(subprocess.run, ["umount", mounted], check=True)
        source = [loop if word == self.pool.origin else word for word in self.pool.source]
        for words in (self.pool.command("plan"), self.pool.command("merge", "--yes"), ["plan", *source],
                      ["verify", *source], ["resume", self.journal], ["undo", "--yes", self.journal]):
            result = run(*words, "--log-file", os.path.join(mounted, "log"), env=self.env)
            self.assert_failed(result, 1, "EXM-101")
            self.assertIn("on a file system of the origin", result.stderr)
        self.assertEqual(os.listdir(mounted), ["lost+found"])

    def test_the_file_under_any_loop_device_is_no_log(self):
        """extmerge does not know the devices of a named source yet, but they may lie on this file."""
        image = os.path.join(self.make_folder(), "disk")
        with open(image, "wb") as file:
            file.truncate(1 << 20)
        self.make_loop(image)
        for words in (["plan", "vg/snap"], ["merge", "--yes", "vg/snap"], ["undo", "--yes", "vg/snap"],
                      ["status", "vg/snap"], ["status"]):
            self.assert_refused([*words, "--log-file", image])

    def test_the_configured_log_file_is_no_exception(self):
        for part, path in self.protected().items():
            if part == "configuration":
                continue
            with open(self.config, "w", encoding="utf-8") as file:
                file.write("log-file = %s\nlog-level = trace\n" % path)
            self.settle()
            for command, words in self.commands().items():
                with self.subTest(part=part, command=command):
                    self.assert_refused(words)

    def test_one_new_file_has_one_part(self):
        """Neither file exists when extmerge looks for it."""
        new = self.pool.path("new")
        os.symlink(self.pool.folder, self.pool.path("elsewhere"))
        plan, merge = ["plan", *self.pool.source], ["merge", "--yes", *self.pool.source]
        for name in (new, self.pool.path("./new"), self.pool.path("elsewhere/new")):
            for words in ([*plan, "--undo-log", name, "--log-file", new],
                          [*merge, "--undo-log", name, "--log-file", new],
                          [*plan, "--map", name, "--log-file", new],
                          [*plan, "--map", name, "--undo-log", new],
                          [*plan, "--map", name, "--journal", new],
                          [*merge, "--journal", name, "--log-file", new],
                          [*merge, "--journal", name, "--undo-log", new],
                          [*merge, "--journal", name, "--log-file", new + ".lock"],
                          [*merge, "--journal", name, "--log-file", new + ".lvm"],
                          ["status", self.journal, "--map", name, "--export=ddrescue", new],
                          ["status", self.journal, "--map", name, "--log-file", new],
                          ["status", self.journal, "--export=ddrescue", name, "--log-file", new]):
                with self.subTest(words=words[0], more=words[-4:]):
                    self.assert_refused(words, *([6, 616] if words[-4:-1:2] == ["--journal", "--undo-log"] else []))
                    self.assertFalse(os.path.exists(new))

    def test_a_new_undo_log_is_none_of_the_others(self):
        """The merge has no journal yet, so only the undo log's path can be wrong."""
        fresh = self.make_pool()
        self.addCleanup(lambda: self.assertEqual(fresh.origin_bytes(), before_it))
        before_it = fresh.origin_bytes()
        parts = {**self.protected(), "own metadata": fresh.metadata, "own data": fresh.data, "own origin": fresh.origin}
        for part, path in parts.items():
            for way, name in self.ways_to(path):
                for words in (["plan", *fresh.source], ["merge", "--yes", *fresh.source]):
                    with self.subTest(command=words[0], part=part, way=way):
                        before = looks(*self.folders, fresh.folder)
                        result = run(*words, "--undo-log", name, env=self.env)
                        self.assertIn(result.returncode, (1, 6), result.stderr)
                        self.assertRegex(result.stderr, "EXM-(1|6)")
                        self.assertNotIn("was begun with", result.stderr)
                        self.assertEqual(looks(*self.folders, fresh.folder), before)

    def test_undo_logs_and_journals_are_none_of_the_others(self):
        plan, merge = ["plan", *self.pool.source], ["merge", "--yes", "--restart", *self.pool.source]
        for part, path in self.protected().items():
            for way, name in self.ways_to(path):
                for words in (plan, merge):
                    with self.subTest(command=words[0], part=part, way=way):
                        before = looks(*self.folders)
                        if part != "undo log":
                            self.assertNotEqual(run(*words, "--undo-log", name, env=self.env).returncode, 0)
                        if part != "journal":
                            result = run(*words, "--journal", name, env=self.env)
                            self.assertIn(result.returncode, (1, 6), result.stderr)
                        self.assertEqual(looks(*self.folders), before)


class StreamsTest(PathsTest):
    """Standard output or error is a file with a part in the work."""

    def run_into(self, number, path, words):
        streams = {1: {"stderr": subprocess.PIPE}, 2: {"stdout": subprocess.PIPE}}[number]
        # The file is not emptied, as with the shell's >>.
        with open(path, "r+b") as file:
            streams["stdout" if number == 1 else "stderr"] = file
            return subprocess.run([EXTMERGE, *words], stdin=subprocess.DEVNULL, env=self.env, timeout=120,
                                  check=False, **streams)

    def test_nothing_is_said_into_what_is_worked_on(self):
        parts = {part: path for part, path in self.protected().items()
                 if os.path.exists(path) and not part.startswith("other")}
        for number in (1, 2):
            for command, words in self.commands().items():
                for part, path in parts.items():
                    if command == "status of all" and part not in ("configuration",):
                        continue
                    with self.subTest(stream=number, command=command, part=part):
                        before = looks(*self.folders)
                        result = self.run_into(number, path, [*words, "-v"])
                        self.assertEqual(result.returncode, 1, result.stderr)
                        self.assertEqual(looks(*self.folders), before)

    def test_nor_through_a_loop_device(self):
        loop = self.make_loop(self.pool.origin)
        for number in (1, 2):
            for path, source in ((loop, self.pool.origin), (loop, loop), (self.pool.origin, loop)):
                words = ["plan", "-v", *(source if word == self.pool.origin else word for word in self.pool.source)]
                with self.subTest(stream=number, path=path, source=source):
                    self.assertEqual(self.run_into(number, path, words).returncode, 1)


if __name__ == "__main__":
    unittest.main()
