# SPDX-License-Identifier: GPL-3.0-or-later
"""Code that the scenarios share: the pools of tests/data, facts about them from
the kernel and thin_dump, and runs of the program on a copy.

The tests only read the pools. Each test works in a folder of its own, with a copy of
the origin and a state directory. Afterwards the folder is removed.
"""

import json
import os
import shutil
import signal
import subprocess
import tempfile
import unittest
import xml.etree.ElementTree

EXTMERGE = os.environ["EXTMERGE"]
NAMES = ("block-192k", "block-1m", "deep-64k", "equal-64k", "tail-64k", "thin-larger-64k",
         "thin-smaller-64k")
# Pools whose snapshots have data past the origin's end. A merge of one needs an option for that data.
LARGER_THAN_ORIGIN = ("tail-64k", "thin-larger-64k")
SECTOR = 512

# A shell may ignore these signals for tests in the background. The program would inherit that.
for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
    signal.signal(number, signal.SIG_DFL)


class Pool:
    def __init__(self, name):
        self.name = name
        self.folder = os.path.join(os.environ["EXTMERGE_TEST_DATA"], name)
        with open(self.path("parameters"), encoding="ascii") as file:
            values = dict(word.split("=") for word in file.read().split())
        self.block_size = int(values["block_sectors"]) * SECTOR
        self.origin_size = int(values["origin_sectors"]) * SECTOR
        self.thin_size = int(values["thin_sectors"]) * SECTOR
        self.metadata = self.path("metadata.img")
        self.data = self.path("data.img")
        self.origin = self.path("origin.img")

    def path(self, name):
        return os.path.join(self.folder, name)

    def expected(self, thin_id):
        """A file with all bytes that the kernel read from the thin."""
        return self.path({1: "expected.img", 2: "expected2.img"}[thin_id])

    def mappings(self, thin_id):
        """{thin block: data block} of the held metadata, according to thin_dump."""
        dump = xml.etree.ElementTree.parse(self.path("dump.xml")).getroot()
        device = dump.find(f"device[@dev_id='{thin_id}']")
        found = {}
        for element in device:
            value = {key: int(text) for key, text in element.attrib.items()}
            if element.tag == "single_mapping":
                found[value["origin_block"]] = value["data_block"]
            elif element.tag == "range_mapping":
                for i in range(value["length"]):
                    found[value["origin_begin"] + i] = value["data_begin"] + i
            else:
                raise ValueError(f"{self.name}: dump.xml has a <{element.tag}>")
        if len(found) != int(device.get("mapped_blocks")):
            raise ValueError(f"{self.name}: dump.xml does not have all blocks of thin {thin_id}")
        return found

    def blocks_before(self, end):
        """The number of blocks that begin before the offset `end`."""
        return -(-end // self.block_size)

    def source(self, thin_id, origin, metadata=None, data=None):
        return ["--metadata", metadata or self.metadata, "--data", data or self.data,
                "--thin-id", str(thin_id), "--origin", origin, "--thin-size", f"{self.thin_size}b"]


def each_thin():
    """Each pool, and each of its thins whose contents the kernel has read."""
    for name in NAMES:
        pool = Pool(name)
        for thin_id in (1, 2):
            if os.path.exists(pool.expected(thin_id)):
                yield pool, thin_id


class GoldenTest(unittest.TestCase):
    maxDiff = 2000

    def setUp(self):
        self.folder = tempfile.mkdtemp(dir=os.environ["EXTMERGE_SCRATCH"])
        self.addCleanup(shutil.rmtree, self.folder)
        self.state_dir = os.path.join(self.folder, "state")
        os.mkdir(self.state_dir, mode=0o700)

    def environment(self):
        return dict(os.environ, EXTMERGE_STATE_DIR=self.state_dir, LC_ALL="C")

    def copy_of_origin(self, pool):
        origin = os.path.join(self.folder, "origin.img")
        shutil.copyfile(pool.origin, origin)
        return origin

    def extmerge(self, *arguments, status=0):
        """Runs the program, checks its exit status, returns what it printed on stdout."""
        done = subprocess.run([EXTMERGE, *arguments], stdin=subprocess.DEVNULL,
                              capture_output=True, text=True, env=self.environment(), check=False)
        self.assertEqual(done.returncode, status,
                         f"extmerge {' '.join(arguments)}\n{done.stdout}{done.stderr}")
        self.last_stderr = done.stderr
        return done.stdout

    def extmerge_json(self, *arguments, status=0):
        document = json.loads(self.extmerge(*arguments, "--json", status=status))
        self.assertEqual(document["schema"], "extmerge/1")
        return document

    def assert_refused(self, identifier, *arguments):
        """extmerge refuses with this id, and the id fits the exit status."""
        self.extmerge(*arguments, status=int(identifier[4]))
        self.assertIn(identifier, self.last_stderr)

    def assert_equal_bytes(self, path, other, begin=0, end=None):
        """Compares [begin, end) of two files; names the first sector that differs."""
        end = os.path.getsize(path) if end is None else end
        step = 1 << 20
        with open(path, "rb") as a, open(other, "rb") as b:
            a.seek(begin)
            b.seek(begin)
            for offset in range(begin, end, step):
                length = min(step, end - offset)
                left, right = a.read(length), b.read(length)
                self.assertEqual((len(left), len(right)), (length, length), "a file is too short")
                if left != right:
                    at = next(i for i in range(length) if left[i] != right[i]) // SECTOR * SECTOR
                    self.fail(f"sector {(offset + at) // SECTOR} of {path} and {other}: "
                              f"{left[at:at + 40]} and {right[at:at + 40]}")

    def assert_merged(self, pool, thin_id, origin):
        """The origin keeps its size and shows the thin's bytes. Past the thin's end it is unchanged."""
        self.assertEqual(os.path.getsize(origin), pool.origin_size)
        common = min(pool.origin_size, pool.thin_size)
        self.assert_equal_bytes(origin, pool.expected(thin_id), 0, common)
        self.assert_equal_bytes(origin, pool.origin, common, pool.origin_size)


def each_pool(names=NAMES, thin_ids=(1, 2)):
    for name in names:
        for thin_id in thin_ids:
            yield Pool(name), thin_id
