# SPDX-License-Identifier: GPL-3.0-or-later
"""extmerge refuses if it cannot read a source of facts. It never takes that for "nothing found".

Each source is hidden from extmerge alone, in a mount namespace of its own: missing, empty, or
impossible to read. Every command that writes, and plan, then ends with EXM-308 and names the
source. Origin and journal stay as they were. docs/guards.md has the same table.
"""

import ctypes
import os
import subprocess
import unittest

from support import PoolTest, run

LIBC = ctypes.CDLL(None, use_errno=True)
CLONE_NEWNS = 0x20000
MS_BIND, MS_REC, MS_PRIVATE = 0x1000, 0x4000, 0x40000
MNT_DETACH = 2


def check(result):
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def mount(source, target, kind=b"none", flags=0, data=None):
    check(LIBC.mount(source.encode(), target.encode(), kind, flags, data))


def empty_folder(path):
    return lambda: mount("none", path, b"tmpfs")


def not_mounted(path):
    return lambda: check(LIBC.umount2(path.encode(), MNT_DETACH))


def instead(source, path):
    """Mounts `source` over the file `path`."""
    return lambda: mount(source, path, flags=MS_BIND)


def processes_only():
    mount("proc", "/proc", b"proc", data=b"subset=pid")


# A read at the beginning of this file fails with EIO.
UNREADABLE = "/proc/self/mem"
EMPTY = "/dev/null"

# Name, function that hides the source, word in the message.
SOURCES = (
    ("sysfs, not mounted", not_mounted("/sys"), "/sys"),
    ("sysfs, an empty folder", empty_folder("/sys"), "/sys"),
    ("sysfs, without the devices by number", empty_folder("/sys/dev/block"), "/sys/dev/block"),
    ("sysfs, without the devices themselves", empty_folder("/sys/devices"), "/sys/dev"),
    ("sysfs, without the list of disks", empty_folder("/sys/block"), "/sys/block"),
    ("procfs, not mounted", not_mounted("/proc"), "/proc"),
    ("procfs, an empty folder", empty_folder("/proc"), "/proc"),
    ("the mount table, empty", instead(EMPTY, "/proc/self/mountinfo"), "mountinfo"),
    ("the mount table, unreadable", instead(UNREADABLE, "/proc/self/mountinfo"), "mountinfo"),
    ("the mount table, another file", instead("/etc/passwd", "/proc/self/mountinfo"), "mountinfo"),
    ("swap, empty", instead(EMPTY, "/proc/swaps"), "/proc/swaps"),
    ("swap, unreadable", instead(UNREADABLE, "/proc/swaps"), "/proc/swaps"),
    ("swap, in a procfs of processes only", processes_only, "/proc/swaps"),
)


def contents_of(path):
    with open(path, "rb") as file:
        return file.read()


def hiding(hide):
    """A function for the child to call before it becomes extmerge."""
    def prepare():
        check(LIBC.unshare(CLONE_NEWNS))
        mount("none", "/", flags=MS_REC | MS_PRIVATE)
        hide()
    return prepare


@unittest.skipUnless(os.geteuid() == 0, "needs root, for mount namespaces")
class CannotLookTest(PoolTest):
    @classmethod
    def setUpClass(cls):
        try:
            subprocess.run(["true"], preexec_fn=hiding(lambda: None), check=True)
        except (OSError, subprocess.SubprocessError):
            raise unittest.SkipTest("no mount namespaces here")

    def refuse(self, pool, *commands):
        """Each command (a list of words) is refused while any one of the sources is hidden."""
        journal = pool.journal()
        before = pool.origin_bytes(), journal and contents_of(journal)
        for name, hide, word in SOURCES:
            for command in commands:
                with self.subTest(source=name, command=command[0]):
                    result = run(*command, preexec_fn=hiding(hide))
                    self.assert_failed(result, 3, "EXM-308")
                    self.assertRegex(result.stderr, "cannot look at [^ ]*" + word)
                    self.assertIn("mount", result.stderr.splitlines()[1])
                    self.assertEqual(pool.origin_bytes(), before[0])
                    self.assertEqual(pool.journal() and contents_of(pool.journal()), before[1])

    def loop_over(self, file):
        made = subprocess.run(["losetup", "-f", "--show", file], capture_output=True, text=True)
        if made.returncode != 0:
            self.skipTest("no loop devices here")
        self.addCleanup(subprocess.run, ["losetup", "-d", made.stdout.strip()], check=True)
        return made.stdout.strip()

    def test_an_image_is_not_merged_into(self):
        self.refuse(self.pool, self.pool.command("plan"), self.pool.command("merge", "--yes"))

    def test_a_loop_device_is_not_merged_into(self):
        source = ["--metadata", self.pool.metadata, "--data", self.pool.data, "--thin-id", "1",
                  "--origin", self.loop_over(self.pool.origin), "--state-dir", self.pool.state]
        self.refuse(self.pool, ["plan", *source], ["merge", "--yes", *source])

    def test_a_loop_device_over_the_pools_data_is_not_taken_for_the_origin(self):
        before = contents_of(self.pool.data)
        source = ["--metadata", self.pool.metadata, "--data", self.pool.data, "--thin-id", "1",
                  "--origin", self.loop_over(self.pool.data), "--state-dir", self.pool.state]
        self.refuse(self.pool, ["merge", "--yes", *source])
        self.assertEqual(contents_of(self.pool.data), before)

    def test_an_unfinished_merge_is_not_resumed(self):
        journal = self.unfinished()
        self.refuse(self.pool, ["resume", journal], self.pool.command("plan"),
                    self.pool.command("merge", "--yes", "--restart"))
        # A command that only reads the journal succeeds.
        for name, hide, _ in SOURCES:
            with self.subTest(source=name, command="status"):
                self.assert_ok(run("status", journal, preexec_fn=hiding(hide)))
        self.assert_ok(run("resume", journal))
        self.assertEqual(self.pool.origin_bytes(), self.pool.merged())

    def test_a_merge_is_not_undone(self):
        log = self.pool.path("undo.log")
        self.assert_ok(self.pool.run("merge", "--yes", "--undo-log", log))
        self.refuse(self.pool, ["undo", "--yes", self.pool.journal()])
        self.assert_ok(run("undo", "--yes", self.pool.journal()))
        self.assertTrue(self.pool.untouched())

    def test_an_image_under_a_loop_device_without_a_node_is_not_merged_into(self):
        loop = self.loop_over(self.pool.origin)

        def hide():
            mount("none", "/dev", b"tmpfs")
        result = self.pool.run("merge", "--yes", preexec_fn=hiding(hide))
        self.assert_failed(result, 3, "EXM-308")
        self.assertRegex(result.stderr, "cannot look at /dev/loop")
        self.assertTrue(self.pool.untouched())
        # If the node exists, the message names the loop device.
        result = self.pool.run("merge", "--yes")
        self.assert_failed(result, 5, "EXM-503")
        self.assertIn(os.path.basename(loop), result.stderr)

    def test_without_device_mapper_in_the_kernel_an_image_is_merged(self):
        devices = self.pool.path("devices")
        with open("/proc/devices") as file:
            lines = [line for line in file if "device-mapper" not in line]
        with open(devices, "w") as file:
            file.writelines(lines)
        # extmerge asks device-mapper only about a device of device-mapper.
        self.assert_ok(self.pool.run("merge", "--yes",
                                     preexec_fn=hiding(instead(devices, "/proc/devices"))))
        self.assertEqual(self.pool.origin_bytes(), self.pool.merged())


if __name__ == "__main__":
    unittest.main()
