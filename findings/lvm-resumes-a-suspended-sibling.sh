#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
#
# LVM silently resumes a thin that dmsetup has suspended, when it works on another thin over the same external origin.
#
# Package: lvm2 2.03.31-2 (Debian 13), Linux 6.12 of user-mode-linux 6.12um1+b22
# Command: dmsetup suspend vg-other; then lvcreate -s of vg/snap, lvchange -ay of a thin, lvremove of a thin
# Seen:    after lvcreate -s of an active vg/snap, and after lvchange -ay of any thin over the origin, vg-other is active
#          again, and LVM ends with 0. (2.03.16 of Debian 12 does the same.)
#          lvchange --addtag, and lvchange -an of the last other thin, leave it suspended.
#
# So a suspended volume is no volume that stays still: a program that relies on it must look at it again after each
# command of LVM.
source "$(dirname "$0")/lab.sh"
packages trixie bash coreutils mount util-linux kmod grep sed lvm2=2.03.31-2 dmsetup=2:1.02.205-2 thin-provisioning-tools=1.1.0-4+b1 user-mode-linux=6.12um1+b22
guest -d 200M << 'SCRIPT'
module dm-mod dm-thin-pool dm-snapshot
lvm version | head -n 1
quietly vgcreate vg /dev/ubda
quietly lvcreate -y -an -Wn -Zn -L 20M -n origin vg
quietly lvchange -pr vg/origin
quietly lvcreate -y --type thin-pool -L 80M -n pool --poolmetadatasize 4M vg
for thin in snap other third; do quietly lvcreate -y -s --thinpool vg/pool -n $thin vg/origin; done
quietly lvchange -an vg/third
after() {
  local status=0
  dmsetup suspend vg-other
  "${@:2}" > /run/out 2>&1 || status=$?
  echo "$1: status $status, vg-other is $(dmsetup info -c --noheadings -o suspended vg-other)"
  dmsetup resume vg-other
}
after addtag lvchange --addtag seen vg/snap
after "lvcreate -s" lvcreate -ky -s -n freeze vg/snap
after activate lvchange -ay vg/third
after deactivate lvchange -an vg/snap
SCRIPT
for command in 'lvcreate -s' activate; do
  holds "$command resumes it" says "^$command: status 0, vg-other is Active"
done
for command in addtag deactivate; do
  holds "$command leaves it" says "^$command: status 0, vg-other is Suspended"
done
exit $changed
