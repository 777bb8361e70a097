#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""Writes sectors that name their own address and a generation, past the page cache.

stamp.py range DEVICE GENERATION BEGIN COUNT    writes COUNT sectors from BEGIN on
stamp.py scatter DEVICE GENERATION SEED WRITES  makes WRITES writes of 4 to 160 KiB in random places
stamp.py forever DEVICE GENERATION SEED COUNTER does the same until it is killed; the file COUNTER
                                                has the number of writes so far
"""

import mmap
import os
import random
import struct
import sys

SECTOR = 512


class Device:
    def __init__(self, path, generation):
        self.fd = os.open(path, os.O_RDWR | os.O_DIRECT)
        self.sectors = os.lseek(self.fd, 0, os.SEEK_END) // SECTOR
        self.generation = generation
        self.memory = mmap.mmap(-1, 1 << 20)

    def write(self, begin, count):
        most = len(self.memory) // SECTOR
        while count:
            now = min(count, most)
            self.memory[:now * SECTOR] = b"".join(
                struct.pack("<QQ", sector, self.generation) * (SECTOR // 16)
                for sector in range(begin, begin + now))
            with memoryview(self.memory)[:now * SECTOR] as view:
                if os.pwrite(self.fd, view, begin * SECTOR) != now * SECTOR:
                    raise OSError("short write")
            begin, count = begin + now, count - now

    def write_anywhere(self, dice):
        pages = dice.randint(1, 40)
        page = dice.randrange(self.sectors // 8 - pages)
        self.write(page * 8, pages * 8)


def main():
    deed, path, generation = sys.argv[1:4]
    device = Device(path, int(generation))
    arguments = sys.argv[4:]
    if deed == "range":
        device.write(int(arguments[0]), int(arguments[1]))
    elif deed == "scatter":
        dice = random.Random(int(arguments[0]))
        for _ in range(int(arguments[1])):
            device.write_anywhere(dice)
        os.fsync(device.fd)
    elif deed == "forever":
        dice = random.Random(int(arguments[0]))
        writes = 0
        while True:
            device.write_anywhere(dice)
            writes += 1
            with open(arguments[1], "w", encoding="ascii") as counter:
                counter.write(str(writes))
    else:
        raise SystemExit(__doc__)


main()
