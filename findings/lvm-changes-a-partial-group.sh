#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
#
# LVM reports and changes a volume group that misses a disk, with exit status 0.
#
# Package: lvm2 2.03.31-2 (Debian 13)
# Command: lvs vg, and lvchange --addtag half vg/first, while one of two disks is filtered out
# Seen:    both end with 0 and only warn. Only the field vg_partial shows the missing disk for every volume; lv_attr has its
#          "p" only for a volume that lies on the disk. After the change the group refuses the disk that comes back
#          ("ignoring metadata seqno"), and the disk stays marked as missing.
#
# So a program must read vg_partial and refuse before its first change. A tag that is set while a disk is late costs the
# administrator that disk.
source "$(dirname "$0")/lab.sh"
packages trixie bash coreutils mount util-linux kmod grep sed lvm2=2.03.31-2 dmsetup=2:1.02.205-2 user-mode-linux=6.12um1+b22
guest -d 50M -d 50M << 'SCRIPT'
module dm-mod
lvm version | head -n 1
quietly vgcreate vg /dev/ubda /dev/ubdb
quietly lvcreate -y -an -Wn -Zn -L 8M -n first vg /dev/ubda
quietly lvcreate -y -an -Wn -Zn -L 8M -n second vg /dev/ubdb
sed -i 's#filter=\[#&"r|/dev/ubdb|",#' /run/lvm/lvm.conf
status=0
lvs --noheadings --separator , -o lv_name,lv_attr,vg_partial vg 2> /run/err || status=$?
echo "lvs: status $status"
cat /run/err
status=0
lvchange --addtag half vg/first || status=$?
echo "lvchange: status $status"
sed -i 's#"r|/dev/ubdb|",##' /run/lvm/lvm.conf
echo "the disk is back"
pvs --noheadings --separator , -o pv_name,pv_missing,vg_missing_pv_count 2>&1
SCRIPT
holds "lvs ends with 0" says '^lvs: status 0'
holds "vg_partial says so of each volume" says '^ *first,-wi-------,partial'
holds "lv_attr says it of those on the disk only" says '^ *second,-wi-----p-,partial'
holds "a change ends with 0" says '^lvchange: status 0'
holds "the disk that is back is missing still" says '^ */dev/ubdb,missing,1'
exit $changed
