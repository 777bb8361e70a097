# SPDX-License-Identifier: GPL-3.0-or-later
"""extmerge refuses journals that somebody else could have put there, and never believes them.

The journals are of a merge that was stopped half way. plan, merge and resume try each of them.
No command may write a byte of the origin, or change the file under the journal's name. With
the right journal back in place the merge completes.
"""

import os
import shutil
import struct
import unittest

from metadata_image import CRC32C
from support import PoolTest, run

HEADER, SLOTS, SLOT_DISTANCE, SLOT = 16384, 32768, 4096, 512
VERSION, COPY_BYTES = 8, 144  # in a header
SEQUENCE, POSITION = 16, 24  # in a slot


def seal(part):
    crc = 0xffffffff
    for byte in part[:-4]:
        crc = crc >> 8 ^ CRC32C[(crc ^ byte) & 255]
    struct.pack_into("<I", part, len(part) - 4, crc ^ 0xffffffff)


class HostileJournalTest(PoolTest):
    def setUp(self):
        super().setUp()
        self.journal = self.unfinished()
        self.half_merged = self.pool.origin_bytes()
        self.assertFalse(self.pool.untouched())
        with open(self.journal, "rb") as file:
            self.honest = file.read()

    def put(self, contents):
        with open(self.journal, "wb") as file:
            file.write(contents)

    def assert_refused(self, status, message_id, commands=("plan", "merge", "resume")):
        for command in commands:
            words = ["resume", self.journal] if command == "resume" else \
                self.pool.command(command, *(["--yes"] if command == "merge" else []))
            with self.subTest(command=command):
                self.assert_failed(run(*words), status, message_id)
        self.assertEqual(self.pool.origin_bytes(), self.half_merged)

    def assert_honest_one_goes_on(self):
        if os.path.lexists(self.journal):
            os.remove(self.journal)
        self.put(self.honest)
        os.chmod(self.journal, 0o600)
        self.assert_ok(run("resume", self.journal))
        self.assertEqual(self.pool.origin_bytes(), self.pool.merged())

    def test_a_symbolic_link(self):
        elsewhere = self.pool.path("elsewhere")
        os.rename(self.journal, elsewhere)
        os.symlink(elsewhere, self.journal)
        self.assert_refused(6, "EXM-606")
        with open(elsewhere, "rb") as file:
            self.assertEqual(file.read(), self.honest)
        self.assert_honest_one_goes_on()

    def test_a_hard_link(self):
        os.link(self.journal, self.pool.path("elsewhere"))
        self.assert_refused(6, "EXM-606")
        self.assert_honest_one_goes_on()

    def test_a_fifo_and_a_directory(self):
        os.remove(self.journal)
        os.mkfifo(self.journal)
        self.assert_refused(6, "EXM-606")
        os.remove(self.journal)
        os.mkdir(self.journal)
        self.assert_refused(6, "EXM-606")
        os.rmdir(self.journal)
        self.assert_honest_one_goes_on()

    @unittest.skipUnless(os.geteuid() == 0, "only root can give a file away")
    def test_of_another_owner(self):
        os.chown(self.journal, 65534, -1)
        self.assert_refused(6, "EXM-606")
        self.assert_honest_one_goes_on()

    def test_that_others_may_write_to(self):
        os.chmod(self.journal, 0o620)
        self.assert_refused(6, "EXM-606")
        self.assert_honest_one_goes_on()

    def test_in_a_folder_that_others_may_write_to(self):
        os.chmod(self.pool.state, 0o777)
        self.assert_refused(6, "EXM-606")
        os.chmod(self.pool.state, 0o700)
        self.assert_honest_one_goes_on()

    def test_of_another_origin(self):
        other = self.make_pool()
        theirs = self.unfinished(other)
        shutil.copyfile(theirs, self.journal)
        self.assert_refused(6, "EXM-602", ("plan", "merge"))
        self.assert_honest_one_goes_on()

    def test_of_another_pool(self):
        other, ours = self.make_pool(), (self.pool.metadata, self.pool.data)
        self.pool.metadata, self.pool.data = other.metadata, other.data
        self.assert_refused(6, "EXM-610", ("plan", "merge"))
        self.pool.metadata, self.pool.data = ours
        # The paths are the same, but other devices are behind them.
        for path in ours:
            os.rename(path, path + ".aside")
        os.rename(other.metadata, ours[0])
        os.rename(other.data, ours[1])
        self.assert_refused(6, "EXM-610", ("plan", "merge"))
        self.assert_refused(4, "EXM-415", ("resume",))
        for path in ours:
            os.rename(path + ".aside", path)
        self.assert_honest_one_goes_on()

    def test_of_another_thin(self):
        self.pool.thin_id = 2
        self.assert_refused(6, "EXM-610", ("plan", "merge"))
        self.pool.thin_id = 1
        self.assert_honest_one_goes_on()

    def test_of_an_origin_of_another_size(self):
        with open(self.pool.origin, "r+b") as origin:
            origin.truncate(len(self.half_merged) + 65536)
        self.half_merged += bytes(65536)
        self.assert_refused(4, "EXM-419")
        with open(self.pool.origin, "r+b") as origin:
            origin.truncate(len(self.half_merged) - 65536)
        self.assert_honest_one_goes_on()

    def put_version(self, version):
        forged = bytearray(self.honest)
        for copy in range(2):
            header = forged[copy * HEADER:(copy + 1) * HEADER]
            struct.pack_into("<I", header, VERSION, version)
            seal(header)
            forged[copy * HEADER:(copy + 1) * HEADER] = header
        self.put(forged)

    def test_of_a_newer_version(self):
        self.put_version(4)
        self.assert_refused(6, "EXM-608")
        self.assert_honest_one_goes_on()

    def test_of_this_version_that_claims_to_be_the_earlier_one(self):
        self.put_version(1)
        self.assert_refused(6, "EXM-603")
        self.assert_honest_one_goes_on()

    def test_with_a_forged_position(self):
        forged = bytearray(self.honest)
        newest = max(range(8), key=lambda i: struct.unpack_from(
            "<Q", forged, SLOTS + i * SLOT_DISTANCE + SEQUENCE))
        at = SLOTS + newest * SLOT_DISTANCE
        slot = forged[at:at + SLOT]
        struct.pack_into("<Q", slot, POSITION, struct.unpack_from("<Q", forged, COPY_BYTES)[0])
        seal(slot)
        forged[at:at + SLOT] = slot
        self.put(forged)
        self.assertEqual(self.pool.status()["durable_bytes"], self.pool.status()["total_bytes"])
        self.assert_refused(6, "EXM-609", ("merge", "resume"))
        self.assert_honest_one_goes_on()

    def test_an_older_one_after_the_origin_was_put_back(self):
        with open(self.pool.origin, "r+b") as origin, \
                open(os.path.join(self.pool.fixture, "origin.img"), "rb") as first:
            origin.write(first.read())
        self.half_merged = self.pool.origin_bytes()
        self.assert_refused(6, "EXM-609", ("merge", "resume"))
        self.assert_ok(self.pool.run("merge", "--yes", "--restart"))
        self.assertEqual(self.pool.origin_bytes(), self.pool.merged())

    def test_an_older_one_after_the_merge_was_done_costs_time_only(self):
        self.assert_ok(run("resume", self.journal))
        self.assert_honest_one_goes_on()


if __name__ == "__main__":
    unittest.main()
