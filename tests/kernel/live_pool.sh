#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
#
# A merge in an active pool. The snapshot's parent, a thin over the same origin, is written all the
# time, and so is another thin. The origin ends inside a data block. The thin was longer once, so that
# it has mappings past its end.
source "$(dirname "$0")/guest.sh"

# All three are devices of device-mapper, as on a machine with LVM.
for device in metadata data origin; do
  dmsetup create $device --table "0 $(sectors "${!device}") linear ${!device} 0"
  printf -v $device /dev/mapper/$device
done
origin_sectors=$(sectors $origin)
((origin_sectors % block_sectors != 0)) || fail "the origin should end inside a block"

note "a pool whose data device is full of old stamps, which must not show up anywhere"
stamp range $data 99 0 "$(sectors $data)"
stamp range $origin 0 0 "$origin_sectors"
make_pool
message "create_thin 0"
thin parent 0 $((origin_sectors + 2048)) $origin

note "all a thin can have: data, zeroes, discarded blocks, what the origin holds, its tail"
stamp scatter /dev/mapper/parent 1 7 120
stamp range /dev/mapper/parent 1 $((origin_sectors - 1)) 1
stamp range /dev/mapper/parent 1 $((origin_sectors + 1024)) 512
dd if=/dev/zero of=/dev/mapper/parent bs=64k seek=40 count=3 oflag=direct conv=notrunc status=none
blkdiscard -o $((64 * 65536)) -l $((4 * 65536)) /dev/mapper/parent
stamp range /dev/mapper/parent 0 $((80 * block_sectors)) $((2 * block_sectors))
dmsetup suspend parent
dmsetup load parent --table "0 $origin_sectors thin /dev/mapper/pool 0 $origin"
dmsetup resume parent

snapshot 1 0 parent
stamp scatter /dev/mapper/parent 2 8 30
snapshot 2 0 parent
kernel_reads 1 "$origin_sectors" $origin /run/before1
kernel_reads 2 "$origin_sectors" $origin /run/before2
! cmp -s /run/before1 $origin || fail "there is nothing to merge"

python3 -B "$here/stamp.py" forever /dev/mapper/parent 3 9 /run/writes &
writer=$!
message "create_thin 3"
thin other 3 16384
python3 -B "$here/stamp.py" forever /dev/mapper/other 4 10 /run/other_writes &
other_writer=$!
message reserve_metadata_snap
while [[ ! -s /run/writes ]]; do sleep 0.05; done
source_of 1 "$origin_sectors"
"$EXTMERGE" plan "${source[@]}" --json > /run/plan
python3 - /run/plan <<'CHECK' || fail "the plan has wrong ends"
import json, sys
plan = json.load(open(sys.argv[1]))
assert plan["beyond_origin_bytes"] == 0, plan
assert plan["beyond_thin_bytes"] >= 512 * 512, plan
assert plan["copy_bytes"] % 65536 != 0, plan
CHECK

note "merging while the parent is written"
# writes_so_far NAME: prints the count in /run/NAME. At each write the file is empty for a moment.
writes_so_far() {
  local count
  until count=$(<"/run/$1") && [[ -n $count ]]; do :; done
  echo "$count"
}
writes=$(writes_so_far writes)
"$EXTMERGE" merge --yes --batch-mode --rate-limit 2M "${source[@]}"
(($(writes_so_far writes) > writes)) || fail "the parent was not written during the merge"
(($(writes_so_far other_writes) > 1)) || fail "the other thin was not written"
kill $writer $other_writer
wait $writer $other_writer || true

note "the origin is what the kernel read from the snapshot, and both snapshots read as before"
same "the origin is not what the snapshot was" /run/before1 $origin
kernel_reads 1 "$origin_sectors" $origin /run/after
cmp /run/before1 /run/after || fail "the merged snapshot reads differently"
kernel_reads 2 "$origin_sectors" $origin /run/after
cmp /run/before2 /run/after || fail "the later snapshot reads differently"
"$EXTMERGE" verify --batch-mode "${source[@]}"

note "without its snapshots and its pool the origin is still that"
message release_metadata_snap
[[ $(dmsetup status pool | cut -d' ' -f7) == - ]] || fail "the metadata snapshot is still held"
dmsetup remove parent
dmsetup remove other
dmsetup remove pool
same "the origin changed" /run/before1 $origin
