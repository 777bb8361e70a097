#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
#
# libblkid ignores a device-mapper node with an LVM uuid and a suffix, for mount UUID= and even by name.
#
# Packages: util-linux and libblkid1 of Debian 13 (2.41.5-0+deb13u1), dmsetup 2:1.02.205-2
# Command:  dmsetup create node --uuid LVM-<64 characters>-x over an ext4 file system; blkid -U, mount UUID=, blkid -p
# Seen:     the node is not found and not mounted, and blkid -p of its path ends with 2. With the same uuid without the suffix, or
#           with another beginning (FOO-x), all three find the node. The suffix may be any word.
#
# So a program can keep its private layer from every mount by UUID or label. The node stays writable and usable by its
# path. A tool that asks libblkid for the contents of such a node gets "nothing".
source "$(dirname "$0")/lab.sh"
packages trixie bash coreutils mount=2.41.5-0+deb13u1 util-linux=2.41.5-0+deb13u1 libblkid1=2.41.5-0+deb13u1 kmod grep sed e2fsprogs dmsetup=2:1.02.205-2 user-mode-linux=6.12um1+b22
guest -d 64M << 'SCRIPT'
module dm-mod
blkid --version
id=11111111-2222-3333-4444-555555555555
table="0 40960 linear /dev/ubda 2048" # not the whole disk: libblkid would find the disk itself
dmsetup create node --table "$table"
mkfs.ext4 -q -U $id /dev/mapper/node
dmsetup remove node
try() {
  local found mounted=no probed=0
  dmsetup create node --uuid "$2" --table "$table"
  found=$(blkid -U $id) || true
  ! mount -o ro UUID=$id /run/mnt 2> /dev/null || { mounted=yes; umount /run/mnt; }
  blkid -p /dev/mapper/node > /dev/null || probed=$?
  echo "$1: found '$found', mounted: $mounted, blkid -p ends with $probed"
  dmsetup remove node
}
lvm=LVM-aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaabbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb
try plain $lvm
try layer $lvm-real
try any $lvm-x
try other FOO-x
SCRIPT
holds "LVM's uuid without a suffix is found" says "^plain: found '/dev/mapper/node', mounted: yes, blkid -p ends with 0"
holds "with one it is not" says "^layer: found '', mounted: no, blkid -p ends with 2"
holds "whatever the suffix is" says "^any: found '', mounted: no, blkid -p ends with 2"
holds "the suffix alone does not do it" says "^other: found '/dev/mapper/node', mounted: yes, blkid -p ends with 0"
exit $changed
