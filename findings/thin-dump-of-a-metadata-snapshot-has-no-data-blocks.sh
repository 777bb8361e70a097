#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
#
# thin_restore refuses the dump that thin_dump makes of a reserved metadata snapshot.
#
# Packages: thin-provisioning-tools 0.9.0-2, dmsetup 2:1.02.185-2 (Debian 12)
# Command:  thin_dump -m METADATA, after reserve_metadata_snap, and thin_restore of that
# Seen:     nr_data_blocks="0" in the first element; thin_dump without -m writes the pool's number there. thin_restore ends with 1,
#           "mapping beyond end of data device (0 >= 0)". With the right number in the dump, it restores the same mappings. The
#           kernel copies the superblock without the space maps, and one of these has the number.
#
# So such a dump is no complete copy of a live pool's metadata. A metadata snapshot does not have the pool's size: a tool
# must read it from the live superblock.
source "$(dirname "$0")/lab.sh"
packages bookworm bash coreutils mount util-linux kmod grep sed diffutils thin-provisioning-tools=0.9.0-2 dmsetup=2:1.02.185-2 user-mode-linux
guest -d 4M -d 64M -d 4M << 'SCRIPT'
module dm-mod dm-thin-pool
dmsetup create pool --table "0 131072 thin-pool /dev/ubda /dev/ubdb 128 0"
dmsetup message pool 0 "create_thin 1"
dmsetup create thin --table "0 32768 thin /dev/mapper/pool 1"
dd if=/dev/urandom of=/dev/mapper/thin bs=64k count=20 oflag=direct status=none
dmsetup message pool 0 reserve_metadata_snap
thin_dump -m /dev/ubda > /run/held
dmsetup message pool 0 release_metadata_snap
dmsetup remove thin
dmsetup remove pool
thin_dump /dev/ubda > /run/live
for name in held live; do echo "$name: $(grep -o 'nr_data_blocks="[0-9]*"' /run/$name)"; done
restore() {
  local status=0
  dd if=/dev/zero of=/dev/ubdc bs=4k count=1 oflag=direct status=none
  thin_restore -i "$2" -o /dev/ubdc > /run/out 2>&1 || status=$?
  echo "$1: status $status, $(tail -n 1 /run/out)"
}
restore "as it is" /run/held
sed 's/nr_data_blocks="0"/nr_data_blocks="1024"/' /run/held > /run/mended
restore mended /run/mended
thin_dump /dev/ubdc | grep mapping > /run/mappings
grep mapping /run/live | diff - /run/mappings && echo "the same mappings"
SCRIPT
holds "a live dump has the number of data blocks" says '^live: nr_data_blocks="1024"'
holds "that of a metadata snapshot has none" says '^held: nr_data_blocks="0"'
holds "thin_restore refuses it" says '^as it is: status 1, mapping beyond end of data device'
holds "with the number it is taken" says '^mended: status 0'
holds "and has the same mappings" says '^the same mappings'
exit $changed
