# SPDX-License-Identifier: GPL-3.0-or-later
"""Pools to merge in benchmarks, and the same changes as qcow2 overlays.

A pool has two thins over one origin. They map the same blocks of the origin to different data.
So merges of the two in turn find all blocks different each time (or the requested part).
Nobody must write the origin again.
"""

import contextlib
import multiprocessing
import os
import random
import shutil
import struct
import subprocess
import tempfile
import xml.etree.ElementTree

KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30
UNIT = 4096


class Shape:
    """Which blocks of the origin are mapped, and where their data lies.

    block      bytes of a block
    mapped     bytes mapped
    origin     bytes of the origin
    run        blocks that lie together on both devices
    scattered  whether the data lies in another order than the origin's
    equal      part of each block that the origin holds already; the rest is from one write
    """

    def __init__(self, block=64 * KIB, mapped=2 * GIB, origin=8 * GIB, run=1, scattered=True,
                 equal=0.0):
        self.block, self.mapped, self.origin = block, mapped, origin
        self.run, self.scattered, self.equal = run, scattered, equal

    def name(self):
        return "%dk-%dm-of-%dm-run%d-%s-%d" % (
            self.block // KIB, self.mapped // MIB, self.origin // MIB, self.run,
            "scattered" if self.scattered else "inorder", round(self.equal * 100))

    def runs(self):
        """(thin block, data block, blocks) in order of thin block."""
        chance = random.Random(1)
        blocks = self.mapped // self.block
        places = self.origin // self.block // self.run
        thin = sorted(chance.sample(range(places), blocks // self.run))
        data = list(range(len(thin)))
        if self.scattered:
            chance.shuffle(data)
        return [(t * self.run, d * self.run, self.run) for t, d in zip(thin, data)]


def apart(function, *arguments):
    """Calls the function in a process of its own. The kernel counts a program's peak memory from
    that of the process which started it."""
    process = multiprocessing.get_context("fork").Process(target=function, args=arguments)
    process.start()
    process.join()
    if process.exitcode != 0:
        raise RuntimeError("%s ended with %d" % (function.__name__, process.exitcode))


def random_file(path, size):
    with open("/dev/urandom", "rb", buffering=0) as source, open(path, "wb") as file:
        seed = source.read(16 * MIB + 4099)  # repeated at an odd length: no two blocks are equal
        written = 0
        while written < size:
            written += file.write(seed[:size - written])


class Pool:
    """The files of one pool, made if they do not exist."""

    def __init__(self, folder, shape, with_overlays=True):
        self.folder, self.shape, self.turn = os.path.join(
            folder, shape.name() + ("" if with_overlays else "-alone")), shape, 0
        self.with_overlays, self.devices = with_overlays, {}
        done = self.path("complete")
        if not os.path.exists(done):
            os.makedirs(self.folder, exist_ok=True)
            apart(self._make)
            open(done, "w").close()

    def remove(self):
        shutil.rmtree(self.folder)

    def path(self, name):
        return os.path.join(self.folder, name)

    def next_thin(self):
        """The thin that no program has merged last, so that the origin differs from it."""
        self.turn += 1
        return 1 + self.turn % 2

    @contextlib.contextmanager
    def on_loop_devices(self, sector):
        """Puts loop devices over all files that the two programs read or write."""
        names = ["data", "origin"] + ["overlay%d.qcow2" % thin for thin in (1, 2)]
        try:
            for name in names:
                self.devices[name] = subprocess.run(
                    ["losetup", "--find", "--show", "--direct-io=on", "--sector-size",
                     str(sector), self.path(name)],
                    check=True, capture_output=True, text=True).stdout.strip()
            self._rebase(self.device("origin"))
            yield
        finally:
            for device in self.devices.values():
                subprocess.run(["losetup", "--detach", device], check=True)
            self.devices = {}
            self._rebase(self.path("origin"))

    def _rebase(self, backing):
        for thin in (1, 2):
            subprocess.run(["qemu-img", "rebase", "-u", "-f", "qcow2", "-F", "raw", "-b", backing,
                            self.overlay(thin)], check=True)

    def device(self, name):
        return self.devices.get(name, self.path(name))

    def source(self, thin):
        return ["--metadata", self.path("metadata"), "--data", self.device("data"),
                "--thin-id", str(thin), "--origin", self.device("origin"), "--live-root",
                "--thin-size", str(self.shape.origin)]

    def overlay(self, thin):
        return self.device("overlay%d.qcow2" % thin)

    def _make(self):
        shape = self.shape
        runs = shape.runs()
        random_file(self.path("origin"), shape.origin)
        self._make_data(runs)
        self._make_metadata(runs)
        for thin in (1, 2) if self.with_overlays else ():
            self._make_overlay(thin, runs)
        subprocess.run(["sync"], check=True)

    def _make_data(self, runs):
        """Writes thin 1's half, then thin 2's. With `equal`, thin 2 has the origin's data, and
        thin 1's data differs from it in some units."""
        shape = self.shape
        if shape.equal == 0:
            random_file(self.path("data"), 2 * shape.mapped)
            # Each unit begins with a number of its own, so no two units of the data are equal.
            with open(self.path("data"), "r+b") as data:
                for offset in range(0, 2 * shape.mapped, UNIT):
                    data.seek(offset)
                    data.write(struct.pack("<Q", offset + 1))
            return
        chance = random.Random(2)
        with open(self.path("origin"), "rb") as origin, open(self.path("data"), "wb") as data:
            data.truncate(2 * shape.mapped)
            for thin, block, blocks in runs:
                origin.seek(thin * shape.block)
                contents = bytearray(origin.read(blocks * shape.block))
                data.seek(shape.mapped + block * shape.block)
                data.write(contents)
                for start in range(0, len(contents), shape.block):
                    for unit in self._changed(chance, start):
                        contents[unit:unit + 8] = chance.randbytes(8)
                data.seek(block * shape.block)
                data.write(contents)

    def _changed(self, chance, start):
        """The units of a block that differ: neighbours in a random place, like those of one write,
        on average as many as requested."""
        units = self.shape.block // UNIT
        wanted = units * (1 - self.shape.equal)
        count = int(wanted) + (chance.random() < wanted - int(wanted))
        first = chance.randrange(units - count + 1)
        return range(start + first * UNIT, start + (first + count) * UNIT, UNIT)

    def _make_metadata(self, runs):
        shape = self.shape
        blocks = shape.mapped // shape.block
        xml = self.path("metadata.xml")
        with open(xml, "w") as file:
            file.write('<superblock uuid="" time="1" transaction="1" flags="0" version="2" '
                       'data_block_size="%d" nr_data_blocks="%d">\n' %
                       (shape.block // 512, 2 * blocks))
            for thin in (1, 2):
                file.write('<device dev_id="%d" mapped_blocks="%d" transaction="0" '
                           'creation_time="0" snap_time="0">\n' % (thin, blocks))
                for origin, data, length in runs:
                    file.write('<range_mapping origin_begin="%d" data_begin="%d" length="%d" '
                               'time="0"/>\n' % (origin, data + (thin - 1) * blocks, length))
                file.write("</device>\n")
            file.write("</superblock>\n")
        with open(self.path("metadata"), "wb") as file:
            file.truncate(64 * MIB)
        subprocess.run(["thin_restore", "-i", xml, "-o", self.path("metadata")], check=True,
                       stdout=subprocess.DEVNULL)
        os.remove(xml)

    def _make_overlay(self, thin, runs):
        """Writes a qcow2 file with its clusters in the order of the pool's data blocks."""
        shape = self.shape
        cluster = min(shape.block, 2 * MIB)
        count = shape.mapped // cluster
        entries = cluster // 8
        l1_size = -(-shape.origin // cluster // entries)
        backing = self.path("origin").encode()

        # header | L1 | refcount table | refcount blocks | L2 tables | data
        l1_clusters = -(-l1_size * 8 // cluster)
        guest = {}
        for origin, data, length in runs:
            for i in range(length * shape.block // cluster):
                guest[origin * shape.block // cluster + i] = data * shape.block // cluster + i
        used_l2 = sorted({g // entries for g in guest})
        refcounts_per_block = cluster // 2
        total = 2 + l1_clusters + len(used_l2) + count
        blocks = -(-(total + total // refcounts_per_block + 2) // refcounts_per_block)
        l1_at = 1
        table_at = l1_at + l1_clusters
        refcounts_at = table_at + 1
        l2_at = refcounts_at + blocks
        data_at = l2_at + len(used_l2)
        end = data_at + count
        copied = 1 << 63

        l2 = {index: [0] * entries for index in used_l2}
        for g, d in guest.items():
            l2[g // entries][g % entries] = (data_at + d) * cluster | copied
        l1 = [0] * l1_size
        for i, index in enumerate(used_l2):
            l1[index] = (l2_at + i) * cluster | copied
        header = struct.pack(
            ">4sIQIIQIIQQIIQ", b"QFI\xfb", 3, 104 + 16, len(backing), cluster.bit_length() - 1,
            shape.origin, 0, l1_size, l1_at * cluster, table_at * cluster, 1, 0, 0)
        header += struct.pack(">QQQII", 0, 0, 0, 4, 104)
        header += struct.pack(">II3s5x", 0xe2792aca, 3, b"raw")  # the backing file's format
        header += backing
        with open(self.path("data"), "rb") as data, open(self.overlay(thin), "wb") as file:
            file.write(header)
            file.seek(l1_at * cluster)
            file.write(struct.pack(">%dQ" % l1_size, *l1))
            file.seek(table_at * cluster)
            file.write(struct.pack(">%dQ" % blocks,
                                   *[(refcounts_at + i) * cluster for i in range(blocks)]))
            file.seek(refcounts_at * cluster)
            file.write(struct.pack(">H", 1) * end)
            file.seek(l2_at * cluster)
            for index in used_l2:
                file.write(struct.pack(">%dQ" % entries, *l2[index]))
            file.seek(data_at * cluster)
            data.seek((thin - 1) * shape.mapped)
            for _ in range(0, shape.mapped, 4 * MIB):
                file.write(data.read(4 * MIB))


class RoundsPool:
    """A thin (id 1) with two snapshots. One block in a hundred changed between them. An unchanged
    mapping has time 0. Snapshot 2 was made at time 1, so a changed mapping has time 1. Snapshot 3
    was made at time 2. All blocks are single and scattered, on both devices.

    The file `metadata` is the pool with one snapshot at first, and with both after `take_second`.
    thin_restore writes it, so no two trees share a node.
    """

    FIRST, SECOND = 2, 3

    def __init__(self, folder, shape):
        self.shape = shape
        self.folder = os.path.join(folder, shape.name() + "-rounds")
        self.blocks = shape.mapped // shape.block
        self.changed = self.blocks // 100
        if not os.path.exists(self.path("complete")):
            os.makedirs(self.folder, exist_ok=True)
            apart(self._make)
            open(self.path("complete"), "w").close()
        self._take("metadata-1")

    def remove(self):
        shutil.rmtree(self.folder)

    def path(self, name):
        return os.path.join(self.folder, name)

    def source(self, thin):
        return ["--metadata", self.path("metadata"), "--data", self.path("data"), "--thin-id", str(thin),
                "--origin", self.path("origin"), "--live-root", "--thin-size", str(self.shape.origin)]

    def changed_bytes(self):
        return self.changed * self.shape.block

    def take_second(self):
        self._take("metadata-2")

    def put_back(self, modified):
        """Gives the origin the blocks of snapshot 2 again, and this time of modification in ns."""
        apart(self._put_back)
        os.utime(self.path("origin"), ns=(modified, modified))

    def _put_back(self):
        block, runs = self.shape.block, self.shape.runs()
        with open(self.path("data"), "rb") as data, open(self.path("origin"), "r+b") as origin:
            for place in self._changed_places():
                thin_block, data_block, _ = runs[place]
                data.seek(data_block * block)
                origin.seek(thin_block * block)
                origin.write(data.read(block))
            origin.flush()
            os.fsync(origin.fileno())
            for file in (data, origin):
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)

    def _changed_places(self):
        """The place in Shape.runs() of each changed block, in rising order."""
        return sorted(random.Random(3).sample(range(self.blocks), self.changed))

    def check(self):
        """Runs thin_check, and compares what thin_dump reads with the wanted mappings."""
        subprocess.run(["thin_check", "-q", self.path("metadata-2")], check=True)
        with tempfile.TemporaryFile("w+") as dump:
            subprocess.run(["thin_dump", self.path("metadata-2")], check=True, stdout=dump)
            dump.seek(0)
            for device in xml.etree.ElementTree.parse(dump).getroot():
                id = int(device.get("dev_id"))
                wanted = {origin: (data, time) for origin, data, _, time in self._mappings(id != self.FIRST)}
                found = dict(mapping for element in device for mapping in mappings_of(element))
                if found != wanted or int(device.get("creation_time")) != max(id - 1, 0):
                    raise RuntimeError("thin %d of %s is not as wanted" % (id, self.path("metadata-2")))

    def _take(self, name):
        shutil.copyfile(self.path(name), self.path("metadata"))  # the file stays the same
        subprocess.run(["sync", self.path("metadata")], check=True)

    def _make(self):
        shape = self.shape
        random_file(self.path("origin"), shape.origin)
        random_file(self.path("data"), shape.mapped + self.changed_bytes())
        self._make_metadata(1)
        self._make_metadata(2)
        self.check()
        subprocess.run(["sync"], check=True)

    def _mappings(self, with_changes):
        """(thin block, data block, blocks, time) in order of thin block. New data lies at the end."""
        new_data = {place: self.blocks + i for i, place in enumerate(self._changed_places())} if with_changes else {}
        for place, (origin, data, length) in enumerate(self.shape.runs()):
            yield origin, new_data.get(place, data), length, 1 if place in new_data else 0

    def _make_metadata(self, snapshots):
        image = self.path("metadata-%d" % snapshots)
        with open(image + ".xml", "w") as file:
            file.write('<superblock uuid="" time="%d" transaction="%d" flags="0" version="2" data_block_size="%d" '
                       'nr_data_blocks="%d">\n' % (snapshots, snapshots, self.shape.block // 512, self.blocks + self.changed))
            for id in range(1, snapshots + 2):
                created = id - 1
                file.write('<device dev_id="%d" mapped_blocks="%d" transaction="%d" creation_time="%d" snap_time="%d">\n'
                           % (id, self.blocks, max(created - 1, 0), created, created or snapshots))
                for mapping in self._mappings(snapshots == 2 and id != self.FIRST):
                    file.write('<range_mapping origin_begin="%d" data_begin="%d" length="%d" time="%d"/>\n' % mapping)
                file.write("</device>\n")
            file.write("</superblock>\n")
        with open(image, "wb") as file:
            file.truncate(64 * MIB)
        subprocess.run(["thin_restore", "-i", image + ".xml", "-o", image], check=True, stdout=subprocess.DEVNULL)
        os.remove(image + ".xml")


def mappings_of(element):
    """(thin block, (data block, time)) of each block of one element that thin_dump has printed."""
    value = {key: int(text) for key, text in element.attrib.items()}
    if element.tag == "single_mapping":
        yield value["origin_block"], (value["data_block"], value["time"])
        return
    for i in range(value["length"]):
        yield value["origin_begin"] + i, (value["data_begin"] + i, value["time"])
