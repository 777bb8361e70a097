# SPDX-License-Identifier: GPL-3.0-or-later
"""Two images, one a copy of the other with the same inode and birth time: copies of a whole file
system, snapshots of a btrfs subvolume. extmerge never takes facts of one image for the other's.

Journals of an earlier version have identities of inode and birth time alone.
"""

import json
import os
import shutil
import signal
import struct
import subprocess
import unittest

from hostile_journal_test import HEADER, POSITION, SLOT, SLOTS, SLOT_DISTANCE, seal
from support import PoolTest, run

FIXED = 288  # bytes of a header before its devices: its fixed part and its round


def does(*words):
    try:
        return subprocess.run(words, capture_output=True).returncode == 0
    except FileNotFoundError:
        return False


def older_form(journal):
    """Gives both headers the identities of an earlier version. Returns the journal's earlier bytes."""
    with open(journal, "r+b") as file:
        whole = file.read()
        for copy in (0, 1):
            header = whole[copy * HEADER:(copy + 1) * HEADER]
            parts, at = [header[:FIXED]], FIXED
            for field in range(7):
                length = struct.unpack_from("<H", header, at)[0]
                text = header[at + 2:at + 2 + length]
                at += 2 + length
                if field in (1, 3, 5):
                    assert text.startswith(b"file:ino="), text
                    text = b",".join(text.split(b",")[:2])
                parts.append(struct.pack("<H", len(text)) + text)
            older = bytearray(b"".join(parts).ljust(HEADER, b"\0"))
            seal(older)
            file.seek(copy * HEADER)
            file.write(older)
    return whole


@unittest.skipUnless(os.geteuid() == 0, "needs root, to mount")
class CopiesTest(PoolTest):
    def mount(self, device, name, *options):
        where = self.pool.path(name)
        os.makedirs(where, exist_ok=True)
        if not does("mount", "-o", ",".join(("loop",) + options), device, where):
            self.skipTest("%s cannot be mounted here" % device)
        self.addCleanup(subprocess.run, ["umount", where], check=True)
        return where

    def merge_both(self, first, second):
        """Merges half of `first`, then `second`, then the rest of `first`, in one state directory."""
        as_statx = [subprocess.run(["stat", "-c", "%i %w", path], capture_output=True,
                                   check=True).stdout for path in (first, second)]
        self.assertEqual(as_statx[0], as_statx[1])
        self.pool.origin = first
        journal = self.unfinished()
        for command in (["plan"], ["merge", "--yes", "--restart"]):
            self.pool.origin = second
            self.assert_ok(self.pool.run(*command))
        self.assertEqual(self.pool.origin_bytes(), self.pool.merged())
        self.assertEqual(len([name for name in os.listdir(self.pool.state)
                              if name.endswith(".journal")]), 2)
        status = json.loads(run("status", "--json", journal).stdout)
        self.assertEqual(status["state"], "copying")
        # A journal that is named on the command line is not the other image's either.
        self.assert_failed(run(*self.pool.command("merge", "--yes", "--journal", journal)),
                           6, "EXM-602")
        self.assert_ok(run("resume", journal))
        self.pool.origin = first
        self.assertEqual(self.pool.origin_bytes(), self.pool.merged())

    def file_system(self, mkfs, size):
        image = self.pool.path("file-system")
        with open(image, "wb") as file:
            file.truncate(size)
        if not does(*mkfs, image):
            self.skipTest("there is no %s here" % mkfs[0])
        return image

    def test_of_a_copy_of_the_file_system(self):
        image = self.file_system(["mkfs.ext4", "-q", "-F"], 64 << 20)
        where = self.mount(image, "first")
        shutil.move(self.pool.origin, os.path.join(where, "origin"))
        # Another test's mount namespace may keep the file system mounted. Then umount writes nothing.
        subprocess.run(["sync", "-f", where], check=True)
        subprocess.run(["umount", where], check=True)
        subprocess.run(["cp", "--sparse=always", image, image + ".copy"], check=True)
        subprocess.run(["mount", "-o", "loop", image, where], check=True)
        other = self.mount(image + ".copy", "second")
        self.merge_both(os.path.join(where, "origin"), os.path.join(other, "origin"))

    def test_of_a_snapshot_of_its_subvolume(self):
        image = self.file_system(["mkfs.btrfs", "-q", "-f"], 256 << 20)
        where = self.mount(image, "btrfs")
        sub, snapshot = os.path.join(where, "sub"), os.path.join(where, "snapshot")
        if not does("btrfs", "subvolume", "create", sub):
            self.skipTest("there is no btrfs here")
        shutil.move(self.pool.origin, os.path.join(sub, "origin"))
        self.assertTrue(does("btrfs", "subvolume", "snapshot", sub, snapshot))
        self.merge_both(os.path.join(sub, "origin"), os.path.join(snapshot, "origin"))


class EarlierVersionTest(PoolTest):
    def test_a_journal_of_an_earlier_version_is_resumed(self):
        journal = self.unfinished()
        older_form(journal)
        with open(journal, "rb") as file:
            self.assertNotIn(b"fs=", file.read(HEADER))
        self.assert_ok(run("resume", journal))
        self.assertEqual(self.pool.origin_bytes(), self.pool.merged())
        self.assert_failed(run(*self.pool.command("merge", "--yes", "--journal", journal)),
                           6, "EXM-604")

    def test_a_journal_of_an_earlier_version_is_the_right_one_for_a_merge(self):
        journal = self.unfinished()
        older_form(journal)
        result = self.assert_ok(run(*self.pool.command("merge", "--yes", "--json",
                                                       "--journal", journal)))
        self.assertGreater(json.loads(result.stdout)["resumed_from"], 0)
        self.assertEqual(self.pool.origin_bytes(), self.pool.merged())

    def test_each_sector_that_an_earlier_version_claims_is_compared(self):
        process = self.pool.start(*self.pool.command(
            "merge", "--yes", "--rate-limit", "1M", "--checkpoint-interval", "256k",
            "--buffer-size", "64k"))
        self.pool.wait_for_copying(process, position=4 << 20, seconds=60)
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=10)
        journal = self.pool.journal()
        older_form(journal)
        with open(journal, "rb") as file:
            contents = file.read()
        claimed = max(struct.unpack_from("<Q", contents, SLOTS + SLOT_DISTANCE * i + POSITION)[0]
                      for i in range(8))
        self.assertGreater(claimed, 4 << 20)
        half, merged, before = self.pool.origin_bytes(), self.pool.merged(), None
        with open(os.path.join(self.pool.fixture, "origin.img"), "rb") as file:
            before = file.read()
        changed = [at for at in range(0, len(half), 65536)
                   if half[at:at + 65536] == merged[at:at + 65536] != before[at:at + 65536]]
        # A sample of 66 pieces would not see each of these changes.
        for at in changed[3:-24:max(1, len(changed) // 8)]:
            with self.subTest(at=at):
                with open(self.pool.origin, "r+b") as file:
                    file.seek(at + 4096)
                    file.write(bytes(byte ^ 255 for byte in half[at + 4096:at + 4608]))
                self.assert_failed(run("resume", journal), 6, "EXM-609")
                with open(self.pool.origin, "r+b") as file:
                    file.seek(at)
                    file.write(half[at:at + 65536])
        self.assert_ok(run("resume", journal))
        self.assertEqual(self.pool.origin_bytes(), merged)


if __name__ == "__main__":
    unittest.main()
