#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Merges a thin with a mapping tree of three levels. A root has room for 252 leaves, and a leaf for 252
# mappings; the tree needs more leaves than that. Every other block of the thin is mapped, so that no
# two mappings join into one run.
# The test provisions blocks through the thin without its origin, which the metadata does not record
# anyway. So the kernel copies nothing up, and the data device stays sparse.
source "$(dirname "$0")/guest.sh"

blocks=66000
thin_sectors=$((2 * blocks * block_sectors))
make_pool
message "create_thin 0"
thin bare 0 $thin_sectors
python3 - /dev/mapper/bare "$blocks" <<'WRITE'
import os, struct, sys
fd = os.open(sys.argv[1], os.O_WRONLY)
for i in range(int(sys.argv[2])):
    os.pwrite(fd, struct.pack("<QQ", i, 1) * 256, 2 * i * 65536)
os.fsync(fd)
WRITE
snapshot 1 0 bare
dmsetup remove bare
message reserve_metadata_snap

note "the tree, as thin_dump and as plan read it"
thin_dump --metadata-snap $metadata > /run/dump.xml
source_of 1 $thin_sectors
"$EXTMERGE" plan --ranges --noheadings "${source[@]}" > /run/ranges
python3 - /run/dump.xml /run/ranges "$blocks" <<'CHECK' || fail "the plan is not what thin_dump shows"
import sys, xml.etree.ElementTree as xml
planned = {}
for line in open(sys.argv[2]):
    thin, data, count = map(int, line.split())
    planned.update((thin + i, data + i) for i in range(count))
pool = xml.parse(sys.argv[1]).getroot()
# thin_dump 1.1 writes mappings that several thins share once, as <def>, and names them by <ref>.
shared = {d.get("name"): d for d in pool.findall("def")}
def mappings(parent):
    for m in parent:
        yield from mappings(shared[m.get("name")]) if m.tag == "ref" else [m]
dumped = {}
for m in mappings(pool.find("device[@dev_id='1']")):
    begin = int(m.get("origin_begin", m.get("origin_block")))
    data = int(m.get("data_begin", m.get("data_block")))
    dumped.update((begin + i, data + i) for i in range(int(m.get("length", 1))))
assert planned == dumped, "different mappings"
assert len(planned) == int(sys.argv[3]), len(planned)
CHECK
python3 - $metadata <<'CHECK' || fail "the tree has not three levels"
import struct, sys
metadata = open(sys.argv[1], "rb")
def block(n):
    metadata.seek(n * 4096)
    return metadata.read(4096)
def first_value(node):
    return struct.unpack_from("<Q", node, 32 + 8 * struct.unpack_from("<I", node, 20)[0])[0]
def is_leaf(node):
    return struct.unpack_from("<I", node, 4)[0] == 2
held = struct.unpack_from("<Q", block(0), 56)[0]
node = block(struct.unpack_from("<Q", block(held), 320)[0])
assert is_leaf(node)  # of the tree of devices
node, levels = block(first_value(node)), 1
while not is_leaf(node):
    node, levels = block(first_value(node)), levels + 1
assert levels == 3, levels
CHECK

note "merging the first GiB of it, as if the thin ended there, while it is active and another thin is written"
end_block=16384
end_sectors=$((end_block * block_sectors))
message "create_thin 2"
thin other 2 2097152
python3 -B "$here/stamp.py" forever /dev/mapper/other 3 9 /run/writes &
writer=$!
# The file is empty for a moment whenever it is written.
while [[ ! -s /run/writes ]]; do pause 0.05; done
dmsetup create view --readonly --table "0 $end_sectors thin /dev/mapper/pool 1 $origin"
gib_of() { dd if="$1" bs=1M count=1024 iflag=direct status=none | sha256sum; }
kernel_reads=$(gib_of /dev/mapper/view)
source_of 1 $end_sectors
"$EXTMERGE" merge --yes --batch-mode --compare=always "${source[@]}"
kill $writer
wait $writer || true
[[ $(gib_of $origin) == "$kernel_reads" ]] || fail "the origin is not what the kernel reads from the thin"
[[ $(gib_of /dev/mapper/view) == "$kernel_reads" ]] || fail "the thin reads differently"
dmsetup remove view
python3 - $origin $end_block $((2 * blocks)) <<'CHECK' || fail "the origin is not what was written"
import os, struct, sys
end, beyond = int(sys.argv[2]), int(sys.argv[3])
fd = os.open(sys.argv[1], os.O_RDONLY)
os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_RANDOM)
for block in [*range(end), *range(end, beyond, 100)]:
    is_mapped = block % 2 == 0 and block < end
    stamp = struct.pack("<QQ", block // 2, 1) * 256 if is_mapped else bytes(4096)
    assert os.pread(fd, 8192, block * 65536) == stamp + bytes(4096), block
CHECK
message release_metadata_snap
