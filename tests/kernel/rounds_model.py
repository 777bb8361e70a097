#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""Writes at random to volumes, and knows which data blocks of SNAP were written since the last merge.

Each line on standard input is a command. Each answer is one line: "bad: REASON", or another.

history SEED BLOCK            a new history, with data blocks of BLOCK bytes
write DEVICE COUNT [snap [FIRST]]
                              makes COUNT writes of 512 bytes to 192 KiB, past the byte FIRST; a tenth are zeros
discard DEVICE COUNT          discards COUNT ranges
start DEVICE                  writes to SNAP, and discards some of it, until `stop`
stop
merging                       a merge begins: later writes belong to the next round
merged END                    the merge of the bytes before END is done
expect VIEW BEFORE EXPECTED   writes to EXPECTED the origin after a merge of VIEW
check JSON END ROUND [REASON] checks a merge's report; END is where its plan ends
compare DUMP1 DUMP2 VIEW1 VIEW2 RANGES END
                              checks a plan (RANGES) with two snapshots of SNAP, one made right after the
                              last merge and one made now: their mappings (thin_dump) and their contents
"""

import fcntl
import json
import mmap
import os
import random
import struct
import sys
import threading
import time
import xml.etree.ElementTree

SECTOR = 512
BLKDISCARD = 0x1277
MOST_SECTORS = 384


class Device:
    def __init__(self, path):
        self.fd = os.open(path, os.O_RDWR | os.O_DIRECT)
        self.sectors = os.lseek(self.fd, 0, os.SEEK_END) // SECTOR
        self.memory = mmap.mmap(-1, MOST_SECTORS * SECTOR)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        os.fsync(self.fd)
        os.close(self.fd)

    def place(self, dice, most, first=0):
        # Half of the writes are short, so that many of them change only a part of a block.
        count = min(dice.randint(1, dice.choice((16, most))), self.sectors - first)
        return dice.randint(first, self.sectors - count), count

    def write(self, dice, first=0):
        begin, count = self.place(dice, MOST_SECTORS, first // SECTOR)
        size = count * SECTOR
        self.memory[:size] = bytes(size) if dice.random() < 0.1 else dice.randbytes(size)
        with memoryview(self.memory)[:size] as view:
            if os.pwrite(self.fd, view, begin * SECTOR) != size:
                raise OSError("short write")
        return begin * SECTOR, size

    def discard(self, dice):
        begin, count = self.place(dice, self.sectors // 8)
        fcntl.ioctl(self.fd, BLKDISCARD, struct.pack("QQ", begin * SECTOR, count * SECTOR))


class Model:
    def history(self, seed, block):
        self.dice = random.Random(int(seed))
        self.block = int(block)
        self.touched = set()  # data blocks of SNAP that were written since the last merge
        self.later = set()  # of these, since a merge began
        self.held_end = 0
        return "ok"

    def touch(self, offset, size):
        blocks = range(offset // self.block, (offset + size - 1) // self.block + 1)
        self.touched.update(blocks)
        self.later.update(blocks)

    def write(self, path, count, snap="", first=0):
        with Device(path) as device:
            for _ in range(int(count)):
                place = device.write(self.dice, int(first))
                if snap:
                    self.touch(*place)
        return "ok"

    def discard(self, path, count):
        with Device(path) as device:
            for _ in range(int(count)):
                device.discard(self.dice)
        return "ok"

    def start(self, path):
        self.stopping = threading.Event()
        self.failure = None
        self.writes = 0
        dice = random.Random(self.dice.random())

        def work():
            try:
                with Device(path) as device:
                    while not self.stopping.is_set():
                        if dice.random() < 0.05:
                            device.discard(dice)
                        self.touch(*device.write(dice))
                        self.writes += 1
                        time.sleep(0.05)
            except OSError as error:
                self.failure = error

        self.thread = threading.Thread(target=work)
        self.thread.start()
        return "ok"

    def stop(self):
        self.stopping.set()
        self.thread.join()
        return f"bad: the writer failed: {self.failure}" if self.failure else f"{self.writes}"

    def merging(self):
        self.later = set()
        return "ok"

    def merged(self, end):
        self.touched = set(self.later)
        self.held_end = int(end)
        return "ok"

    def expect(self, view, before, expected):
        with open(view, "rb") as file:
            new = file.read()
        with open(before, "rb") as file:
            old = file.read()
        with open(expected, "wb") as file:
            file.write(new[:len(old)] + old[len(new):])
        return "ok"

    def length(self, block, end):
        return max(0, min(end, (block + 1) * self.block) - block * self.block)

    def check(self, path, end, expected, *reason):
        end, reason = int(end), " ".join(reason)
        with open(path, encoding="utf-8") as file:
            report = json.load(file)
        says = report["full_reason"] or ""
        if report["round"] != expected or reason not in says or bool(says) != (expected == "full"):
            return f"bad: the round is {report['round']} ({says}), not {expected} ({reason})"
        if report["state"] != "done":
            return f"bad: the state is {report['state']}"
        copied, mapped = report["copy_bytes"], report["mapped_bytes"]
        if expected == "full":
            return f"full {copied} {mapped}"
        past = range(self.held_end // self.block, end // self.block + 1)
        most = sum(self.length(block, end) for block in self.touched.union(past))
        if copied > most:
            return f"bad: the round copies {copied} bytes; blocks of {most} bytes were written to"
        if most < mapped <= copied:
            return f"bad: the round copies all of {mapped} bytes"
        return f"since {copied} {mapped}"

    @staticmethod
    def mappings(path):
        found = {}
        for device in xml.etree.ElementTree.parse(path).getroot().iter("device"):
            for one in device:
                if one.tag == "single_mapping":
                    found[int(one.get("origin_block"))] = int(one.get("data_block"))
                elif one.tag == "range_mapping":
                    for i in range(int(one.get("length"))):
                        found[int(one.get("origin_begin")) + i] = int(one.get("data_begin")) + i
        return found

    def compare(self, dump1, dump2, view1, view2, ranges, end):
        end = int(end)
        old, new = self.mappings(dump1), self.mappings(dump2)
        inside = {block for block in new if self.length(block, end)}
        changed = {block for block in inside if old.get(block) != new[block]}
        past = {block for block in inside if block >= self.held_end // self.block}
        planned = {}
        with open(ranges, encoding="utf-8") as file:
            for line in file:
                if line[:1].isdigit():
                    first, data, count = map(int, line.split())
                    planned.update((first + i, data + i) for i in range(count))
        missing, more = changed - planned.keys(), planned.keys() - changed - past
        if missing or more:
            return f"bad: the plan lacks {sorted(missing)} and has {sorted(more)} too many"
        if any(new[block] != data for block, data in planned.items()):
            return "bad: the plan reads other data blocks than the snapshot"
        with open(view1, "rb") as file:
            content1 = file.read()[:end]
        with open(view2, "rb") as file:
            content2 = file.read()[:end]
        for block in inside - planned.keys():
            piece = slice(block * self.block, (block + 1) * self.block)
            if content1[piece] != content2[piece]:
                return f"bad: block {block} has changed, and is not planned"
        return f"{len(planned)} of {len(inside)}"


def main():
    model = Model()
    for line in sys.stdin:
        command, *arguments = line.split()
        try:
            answer = getattr(model, command)(*arguments)
        except Exception as error:  # pylint: disable=broad-except
            answer = f"bad: {command}: {error!r}"
        print(answer, flush=True)


main()
