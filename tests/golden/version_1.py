# SPDX-License-Identifier: GPL-3.0-or-later
"""The journals that extmerge 0.1 wrote (tests/data/journals-0.1), with their origins.

A journal names devices by absolute paths and by identities, which are inode and time of birth for
an image. `rebind` puts those of this machine into both copies of the header and seals the copies
again. All other bytes stay as 0.1 wrote them.

To make the journals again, with the program of commit 85ca08b and the unpacked pools:

    EXTMERGE=OLD_PROGRAM EXTMERGE_TEST_DATA=build/tests/data EXTMERGE_SCRATCH=/var/tmp \\
      python3 -B tests/golden/version_1.py tests/data/journals-0.1
"""

import ctypes
import hashlib
import os
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time

from pools import EXTMERGE, Pool

POOL, THIN = "equal-64k", 1
COPIES, COPY, FIXED = 2, 16384, 208
SLOTS, SLOT, SLOT_DISTANCE, SLOTS_AT = 8, 512, 4096, 32768
COPYING, DONE = 2, 3


def crc32c(data):
    """The CRC-32C of RFC 3720."""
    table = []
    for value in range(256):
        for _ in range(8):
            value = value >> 1 ^ (0x82f63b78 if value & 1 else 0)
        table.append(value)
    crc = 0xffffffff
    for byte in data:
        crc = crc >> 8 ^ table[(crc ^ byte) & 0xff]
    return crc ^ 0xffffffff


def sealed(part):
    return part[:-4] + struct.pack("<I", crc32c(part[:-4]))


def identity(path):
    """The identity that 0.1 gave to an image."""
    inode, born = subprocess.run(["stat", "-c", "%i %.9W", path], check=True, capture_output=True, text=True,
                                 env={**os.environ, "LC_ALL": "C"}).stdout.split()
    seconds, nanoseconds = born.split(".")
    return f"file:ino={inode},born=" + (f"{seconds}.{int(nanoseconds)}" if int(seconds) else "0")


def journal_name(origin):
    """The name that 0.1 gave to the journal of an origin, in the state directory."""
    name = identity(origin).encode()
    xxhash = ctypes.CDLL("libxxhash.so.0")
    xxhash.XXH3_64bits.restype = ctypes.c_uint64
    xxhash.XXH3_64bits.argtypes = [ctypes.c_char_p, ctypes.c_size_t]
    return f"{xxhash.XXH3_64bits(name, len(name)):016x}.journal"


class StoredJournal:
    def __init__(self, path):
        with open(path, "rb") as file:
            self.bytes = file.read()

    def copies(self):
        return [self.bytes[i * COPY:(i + 1) * COPY] for i in range(COPIES)]

    def field(self, offset, form):
        return [struct.unpack_from("<" + form, copy, offset)[0] for copy in self.copies()]

    def versions(self):
        return self.field(8, "I")

    def states(self):
        return self.field(12, "I")

    def copy_bytes(self):
        return self.field(144, "Q")[0]

    def position(self):
        """The position in the newest slot."""
        slots = [self.bytes[SLOTS_AT + i * SLOT_DISTANCE:][:SLOT] for i in range(SLOTS)]
        return max(struct.unpack_from("<QQ", slot, 16) for slot in slots if crc32c(slot[:-4]) == struct.unpack("<I", slot[-4:])[0])[1]

    def strings(self, copy):
        """Path and identity of metadata, data and origin, then the undo log's path."""
        at, found = FIXED, []
        for _ in range(7):
            length = struct.unpack_from("<H", copy, at)[0]
            found.append(copy[at + 2:at + 2 + length].decode())
            at += 2 + length
        if any(copy[at:-4]) or sealed(copy) != copy:
            raise ValueError("a copy of the header is not as docs/journal-format.md says")
        return found

    def rebind(self, metadata, data, origin):
        """Names these images in both copies of the header."""
        copies = []
        for copy in self.copies():
            undo_log = self.strings(copy)[6]
            body = copy[:FIXED]
            for text in (*(text for path in (metadata, data, origin) for text in (path, identity(path))), undo_log):
                body += struct.pack("<H", len(text.encode())) + text.encode()
            copies.append(sealed(body + bytes(COPY - len(body))))
        self.bytes = b"".join(copies) + self.bytes[COPIES * COPY:]

    def write(self, path):
        """Writes the journal as extmerge does: for its owner alone."""
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(self.bytes)


def merge_part(pool, thin_id, origin, planned_bytes):
    """Copies the first bytes of the plan to the origin, by thin_dump's mappings."""
    end = min(pool.origin_size, pool.thin_size)
    with open(pool.data, "rb") as data, open(origin, "r+b") as out:
        for block, data_block in sorted(pool.mappings(thin_id).items()):
            length = min(pool.block_size, end - block * pool.block_size, planned_bytes)
            if length <= 0:
                break
            data.seek(data_block * pool.block_size)
            out.seek(block * pool.block_size)
            out.write(data.read(length))
            planned_bytes -= length


def sha256(path):
    with open(path, "rb") as file:
        return hashlib.sha256(file.read()).hexdigest()


def parameters(folder):
    """Reads what `make` has recorded about the origins."""
    with open(os.path.join(folder, "parameters"), encoding="ascii") as file:
        return dict(word.split("=") for word in file.read().split())


def make(target):
    """Kills a merge at half of the plan and resumes it. Keeps the journal after either."""
    pool = Pool(POOL)
    folder = tempfile.mkdtemp(prefix="extmerge-0.1-", dir=os.environ["EXTMERGE_SCRATCH"])
    try:
        journals, values = _make(pool, folder)
        for name, data in journals.items():
            subprocess.run(["zstd", "-19", "-q", "-f", "-", "-o", os.path.join(target, name + ".journal.zst")], input=data, check=True)
        with open(os.path.join(target, "parameters"), "w", encoding="ascii") as file:
            file.write("".join(f"{key}={value}\n" for key, value in values.items()))
    finally:
        shutil.rmtree(folder)


def _make(pool, folder):
    origin, state = os.path.join(folder, "origin.img"), os.path.join(folder, "state")
    shutil.copyfile(pool.origin, origin)
    journal = os.path.join(state, journal_name(origin))
    merge = subprocess.Popen(
        [EXTMERGE, "merge", "--yes", "--batch-mode", "--state-dir", state, "--rate-limit=700k", "--checkpoint-interval=64k",
         "--buffer-size=64k", "--io-size=64k", "--threads=1", *pool.source(THIN, origin)], stdout=subprocess.DEVNULL)
    stored = None
    while stored is None or stored.position() < stored.copy_bytes() // 2:
        if merge.poll() is not None:
            raise RuntimeError("the merge ended by itself")
        time.sleep(0.05)
        stored = StoredJournal(journal) if os.path.exists(journal) else None
    merge.send_signal(signal.SIGKILL)
    merge.wait()
    stored = StoredJournal(journal)

    # The program writes in the order of the plan, so the origin has a first part of it.
    length, rebuilt = stored.position(), os.path.join(folder, "rebuilt.img")
    while True:
        shutil.copyfile(pool.origin, rebuilt)
        merge_part(pool, THIN, rebuilt, length)
        if sha256(rebuilt) == sha256(origin):
            break
        length += pool.block_size
        if length > stored.copy_bytes():
            raise RuntimeError("the origin does not have a first part of the plan")
    values = {"on_origin": length, "origin_sha256": sha256(origin)}
    subprocess.run([EXTMERGE, "resume", journal], check=True, stdout=subprocess.DEVNULL)
    done = StoredJournal(journal)
    values["done_origin_mtime_ns"] = os.stat(origin).st_mtime_ns
    values["version"] = subprocess.run([EXTMERGE, "--version"], check=True, capture_output=True, text=True).stdout.split()[1]
    return {"copying": stored.bytes, "done": done.bytes}, values


if __name__ == "__main__":
    make(sys.argv[1])
