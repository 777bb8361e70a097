#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
#
# LVM removes a thin while a metadata snapshot of its pool is held, and the pool keeps all blocks of it.
#
# Package: lvm2 2.03.31-2 (Debian 13), Linux 6.12 of user-mode-linux 6.12um1+b22, thin_dump 1.1.0
# Command: dmsetup message POOL 0 reserve_metadata_snap; lvremove vg/thin; lvchange -an and -ay of the pool
# Seen:    lvremove ends with 0. The pool has as many used blocks as before, also after it was deactivated and activated:
#          the metadata snapshot is held across that. `lvs` shows a pool without thins that is 20 % full. `thin_dump -m`
#          still has the mappings of the removed thin. `release_metadata_snap` frees all blocks at once.
#
# So a forgotten metadata snapshot fills a pool for good; and a program can keep the data of a thin readable after LVM
# has removed the thin.
source "$(dirname "$0")/lab.sh"
packages trixie bash coreutils mount util-linux kmod grep sed lvm2=2.03.31-2 dmsetup=2:1.02.205-2 thin-provisioning-tools=1.1.0-4+b1 user-mode-linux=6.12um1+b22
guest -d 200M << 'SCRIPT'
module dm-mod dm-thin-pool dm-snapshot
lvm version | head -n 1
quietly vgcreate vg /dev/ubda
quietly lvcreate -y --type thin-pool -L 80M -n pool --chunksize 64k --poolmetadatasize 4M vg
quietly lvcreate -y -V 20M --thinpool pool -n thin vg
dd if=/dev/zero of=/dev/vg/thin bs=1M count=16 oflag=direct status=none
used() {
  local words
  read -ra words < <(dmsetup status vg-pool-tpool)
  echo "$1: used ${words[5]}, lvs $(lvs --noheadings -o data_percent vg/pool | tr -d ' ')"
}
quietly lvchange -an vg/thin
quietly lvchange -ay vg/pool
used before
dmsetup message vg-pool-tpool 0 reserve_metadata_snap
status=0
lvremove -y vg/thin > /run/out 2>&1 || status=$?
echo "lvremove: status $status"
used removed
quietly lvchange -an vg/pool
quietly lvchange -ay vg/pool
used activated
echo "mappings: $(thin_dump -m /dev/mapper/vg-pool_tmeta 2> /dev/null | grep -c 'mapped_blocks="256"')"
dmsetup message vg-pool-tpool 0 release_metadata_snap
used released
SCRIPT
holds "the thin has 256 blocks" says '^before: used 256/1280, lvs 20.00'
holds "LVM removes the thin" says '^lvremove: status 0'
holds "its blocks stay in use" says '^removed: used 256/1280, lvs 20.00'
holds "also after the pool was inactive" says '^activated: used 256/1280, lvs 20.00'
holds "the metadata snapshot has its mappings" says '^mappings: 1'
holds "the release frees them" says '^released: used 0/1280, lvs 0.00'
exit $changed
