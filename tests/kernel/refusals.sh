#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
#
# On real devices extmerge refuses merges that cannot end well, each with its number. At
# the end no byte of the origin has changed.
source "$(dirname "$0")/guest.sh"

thin_sectors=$(sectors $origin)
stamp range $origin 0 0 "$thin_sectors"
dd if=$origin of=/run/origin bs=64k iflag=direct status=none
source_of 1 "$thin_sectors"
new_pool() {
  make_pool "$@"
  message "create_thin 0"
  thin parent 0 "$thin_sectors" $origin
  stamp scatter /dev/mapper/parent 1 5 20
  snapshot 1 0 parent
}
no_pool() {
  ! dmsetup info parent &> /dev/null || dmsetup remove parent
  dmsetup remove pool
}

note "no metadata snapshot; a live tree that a pool is changing"
new_pool
refused EXM-408 plan "${source[@]}"
refused EXM-408 merge --yes "${source[@]}"
refused EXM-504 merge --yes --live-root "${source[@]}"

note "a metadata snapshot that is older than the snapshot's last write"
dmsetup remove parent
message reserve_metadata_snap
thin frozen 1 "$thin_sectors" $origin
stamp scatter /dev/mapper/frozen 2 6 5
dmsetup remove frozen
refused EXM-409 merge --yes "${source[@]}"
message release_metadata_snap
message reserve_metadata_snap
"$EXTMERGE" plan "${source[@]}" > /dev/null || fail "a fresh metadata snapshot was refused"

note "a picture on a file system that has no unnamed files, new, replaced and without room"
modprobe -q -d /run -a loop vfat nls_cp437 nls_iso8859-1 nls_ascii nls_utf8 || true
mkdir /run/fat
python3 - /run/fat.img << 'FAT' # a floppy disk of 1440 KiB
import struct, sys
boot = struct.pack("<3s8sHBHBHHBHHHIIBBBI11s8s", b"\xeb\x3c\x90", b"MSDOS5.0", 512, 1, 1, 2, 224, 2880, 0xf0, 9, 18, 2, 0, 0,
                   0, 0, 0x29, 1, b"PICTURES   ", b"FAT12   ")
with open(sys.argv[1], "wb") as disk:
    disk.write(boot.ljust(510, b"\0") + b"\x55\xaa")
    for table in (1, 10):
        disk.seek(table * 512)
        disk.write(b"\xf0\xff\xff")
    disk.truncate(2880 * 512)
FAT
mount -o loop -t vfat /run/fat.img /run/fat
! python3 -c 'import os; os.open("/run/fat", os.O_TMPFILE | os.O_WRONLY)' 2> /dev/null || fail "it has unnamed files"
"$EXTMERGE" plan "${source[@]}" --map /run/fat/map.svg > /dev/null || fail "no picture on vfat"
"$EXTMERGE" plan "${source[@]}" --map /run/map.svg > /dev/null
cmp /run/fat/map.svg /run/map.svg
"$EXTMERGE" plan "${source[@]}" --units=s --map /run/fat/map.svg > /dev/null || fail "it was not replaced on vfat"
"$EXTMERGE" plan "${source[@]}" --units=s --map /run/map.svg > /dev/null
cmp /run/fat/map.svg /run/map.svg
! dd if=/dev/zero of=/run/fat/filler bs=512 status=none 2> /dev/null || fail "vfat is never full"
refused EXM-301 plan "${source[@]}" --map /run/fat/map.svg
cmp /run/fat/map.svg /run/map.svg
[[ $(ls -A /run/fat) == $'filler\nmap.svg' ]] || fail "left on vfat: $(ls -A /run/fat)"
umount /run/fat

note "another thin over the origin, active, which the merge would change"
message "create_thin 5"
thin sibling 5 "$thin_sectors" $origin
message release_metadata_snap
message reserve_metadata_snap
refused EXM-417 merge --yes "${source[@]}"
dmsetup remove sibling
no_pool

note "the pool's own devices as the origin, by themselves and under another name"
new_pool
message reserve_metadata_snap
refused EXM-404 merge --yes --metadata $metadata --data $metadata --thin-id 1 --origin $origin
refused EXM-405 merge --yes --metadata $metadata --data $data --thin-id 1 --origin $data
refused EXM-405 merge --yes --metadata $metadata --data $data --thin-id 1 --origin $metadata
no_pool
dmsetup create stacked --table "0 $(sectors $data) linear $data 0"
new_pool /dev/mapper/stacked
message reserve_metadata_snap
refused EXM-405 merge --yes --metadata $metadata --data /dev/mapper/stacked --thin-id 1 --origin $data
no_pool
dmsetup remove stacked

note "a journal on the thin that is merged, and on another thin of the same pool"
new_pool
message reserve_metadata_snap
message "create_thin 6"
thin journals 6 65536
mkfs.ext4 -q /dev/mapper/journals
mkdir /run/journals
mount /dev/mapper/journals /run/journals
mkdir -m 0700 /run/journals/state
source_of 6 65536
refused EXM-607 merge --yes --state-dir /run/journals/state "${source[@]}"
source_of 1 "$thin_sectors"
"$EXTMERGE" plan --state-dir /run/journals/state "${source[@]}" > /run/plan || fail "plan refuses a journal on another thin"
grep -q 'journals, another thin of the same pool' /run/plan || fail "no note: $(< /run/plan)"
umount /run/journals
dmsetup remove journals

note "a source that is active and writable is worth a note"
thin frozen 1 "$thin_sectors" $origin
"$EXTMERGE" plan "${source[@]}" > /run/plan
grep -q frozen /run/plan || fail "plan does not say that the source is active"
dmsetup remove frozen

note "an origin that cannot be written, is mounted, or is swapped to"
dmsetup create readonly --readonly --table "0 $thin_sectors linear $origin 0"
source_of 1 "$thin_sectors" /dev/mapper/readonly
refused EXM-403 merge --yes "${source[@]}"
dmsetup remove readonly
no_pool
same "a refused merge wrote to the origin" /run/origin $origin

source_of 1 "$thin_sectors"
new_pool
message reserve_metadata_snap
no_pool
mkfs.ext4 -q $origin
mkdir /run/mounted
mount $origin /run/mounted
refused EXM-502 merge --yes "${source[@]}"
umount /run/mounted
mkswap $origin > /dev/null
swapon $origin
refused EXM-501 merge --yes "${source[@]}"
swapoff $origin

note "an origin that somebody has claimed"
python3 - $origin <<'CLAIM' &
import os, sys, time
fd = os.open(sys.argv[1], os.O_RDWR | os.O_EXCL)
open("/run/claimed", "w").close()
time.sleep(600)
CLAIM
claimer=$!
while [[ ! -e /run/claimed ]]; do sleep 0.05; done
refused EXM-501 merge --yes "${source[@]}"
kill $claimer
wait $claimer || true

note "a pool that the kernel wants to have checked"
dd if=$origin of=/run/origin bs=64k iflag=direct status=none
mark_needs_check $metadata
refused EXM-902 merge --yes "${source[@]}"
refused EXM-902 merge --yes --live-root "${source[@]}"
dmsetup create pool --table "0 $(sectors $data) thin-pool $metadata $data $block_sectors 0"
[[ $(dmsetup status pool) == *needs_check* ]] || fail "the kernel does not see the mark"
dmsetup remove pool
same "a refused merge wrote to the origin" /run/origin $origin
