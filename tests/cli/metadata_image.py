# SPDX-License-Identifier: GPL-3.0-or-later
"""Changes a pool's metadata image as the kernel would, with checksums.

The tests need only the two trees of devices of the live superblock, each of one
leaf. docs/metadata-format.md describes the bytes.
"""

import struct

BLOCK = 4096
SUPERBLOCK_TREES = struct.Struct("<320x2Q")  # roots of data mappings and device details
NODE = struct.Struct("<2IQ3I4x")  # checksum, flags, block, entries, most entries, value size
LEAF = 2
NODE_XOR = 121107


def _crc32c_table():
    table = []
    for byte in range(256):
        for _ in range(8):
            byte = byte >> 1 ^ (0x82f63b78 if byte & 1 else 0)
        table.append(byte)
    return table


CRC32C = _crc32c_table()


def checksum(block):
    """The CRC of all but the checksum itself, not inverted at the end."""
    crc = 0xffffffff
    for byte in block[4:]:
        crc = crc >> 8 ^ CRC32C[(crc ^ byte) & 255]
    return crc ^ NODE_XOR


class MetadataImage:
    def __init__(self, path):
        self.path = path
        with open(path, "rb") as file:
            self.bytes = bytearray(file.read())
        self.roots_leaf, self.details_leaf = SUPERBLOCK_TREES.unpack_from(self.bytes)

    def _value(self, leaf, thin_id):
        """The place of this thin's value in the leaf."""
        start = leaf * BLOCK
        found, flags, block, entries, most, size = NODE.unpack_from(self.bytes, start)
        if not flags & LEAF or block != leaf or checksum(self._block(leaf)) != found:
            raise ValueError(f"block {leaf} of {self.path} is no sound leaf")
        keys = struct.unpack_from(f"<{entries}Q", self.bytes, start + NODE.size)
        return start + NODE.size + most * 8 + keys.index(thin_id) * size

    def _block(self, number):
        return self.bytes[number * BLOCK:(number + 1) * BLOCK]

    def give(self, thin_id, other_id):
        """Gives a thin the mappings of another one, as if it had been written to."""
        for leaf in (self.roots_leaf, self.details_leaf):
            # The first 8 bytes are the root of the thin's mappings, or their number in its details.
            to, source = (self._value(leaf, each) for each in (thin_id, other_id))
            self.bytes[to:to + 8] = self.bytes[source:source + 8]
            struct.pack_into("<I", self.bytes, leaf * BLOCK, checksum(self._block(leaf)))
        with open(self.path, "wb") as file:
            file.write(self.bytes)
