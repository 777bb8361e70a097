# SPDX-License-Identifier: GPL-3.0-or-later
"""Replays a log of dm-log-writes: log_writes.py LOG FIRST TARGET.

LOG is the log's device, FIRST a file with the logged device's earlier bytes. The script prints
the number of writes. Then it reads numbers from standard input. For each number, TARGET becomes
what the logged device was after so many writes, is synced, and a line is printed.

The format is that of drivers/md/dm-log-writes.c. The superblock has 64-bit magic, version and
number of entries, and a 32-bit sector size. From the second sector on there are entries: one
sector with sector, number of sectors, flags and length of a mark, then the entry's data.
"""

import os
import struct
import sys

MAGIC, DISCARD = 0x6a736677736872, 4


def entries(log):
    """Yields the offset and the bytes of each write. A flush has no bytes; a discard writes nothing here."""
    magic, version, count, sector_size = struct.unpack("<QQQI", os.pread(log, 28, 0))
    assert magic == MAGIC and version == 1, (magic, version)
    at = sector_size
    for _ in range(count):
        sector, sectors, flags, _ = struct.unpack("<QQQQ", os.pread(log, 32, at))
        at += sector_size
        length = 0 if flags & DISCARD else sectors * sector_size
        if length:
            yield sector * sector_size, os.pread(log, length, at)
        at += length


def main():
    log = os.open(sys.argv[1], os.O_RDONLY)
    with open(sys.argv[2], "rb") as file:
        image = bytearray(file.read())
    target = os.open(sys.argv[3], os.O_RDWR)
    writes = list(entries(log))
    print(len(writes), flush=True)
    done = 0
    for line in sys.stdin:
        wanted = int(line)
        while done < wanted:
            offset, data = writes[done]
            image[offset:offset + len(data)] = data
            done += 1
        os.pwrite(target, image, 0)
        os.fsync(target)
        print("at", done, flush=True)


if __name__ == "__main__":
    main()
