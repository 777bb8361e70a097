#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
#
# pvmove of an inactive external origin leaves it active, and so offers its file system for a mount.
#
# Packages: lvm2 2.03.31-2, dmsetup 2:1.02.205-2, thin-provisioning-tools 1.1.0-4+b1, user-mode-linux 6.12um1+b22 (Debian 13).
# Command:  pvmove -n origin DISK1 DISK2, while a thin over the origin is active and the origin itself is not
# Seen:     exit status 0. Before pvmove, LVM has only the layer vg-origin-real. Afterwards vg/origin is active and read-only, as
#           vg-origin. The origin's activation skip (lvchange -ky) makes no difference.
#
# So an origin that was inactive at a merge's beginning may be active at its end, although nobody has activated it.
source "$(dirname "$0")/lab.sh"
packages trixie bash coreutils mount util-linux kmod grep sed lvm2=2.03.31-2 dmsetup=2:1.02.205-2 thin-provisioning-tools=1.1.0-4+b1 \
  user-mode-linux=6.12um1+b22
guest -d 200M -d 100M << 'SCRIPT'
module dm-mod dm-thin-pool dm-snapshot dm-mirror
export DM_DISABLE_UDEV=1
quietly vgcreate vg /dev/ubda /dev/ubdb
quietly lvcreate -y -an -Wn -Zn -L 20M -n origin vg /dev/ubda
quietly lvchange -pr -ky vg/origin
quietly lvcreate -y --type thin-pool -L 80M -n pool --poolmetadatasize 4M vg /dev/ubda
quietly lvcreate -y -s --thinpool vg/pool -n snap vg/origin
state() {
  echo "$1: lv_active is '$(lvs --noheadings -o lv_active vg/origin | sed 's/ //g')', nodes: $(dmsetup ls | sed -n 's/^\(vg-origin[^ \t]*\).*/\1/p' | sort | tr '\n' ' ')"
}
state before
status=0
pvmove -n origin /dev/ubda /dev/ubdb > /run/out 2>&1 || status=$?
echo "pvmove: status $status"
state after
SCRIPT
holds "before, only the layer is there" says "^before: lv_active is '', nodes: vg-origin-real $"
holds "pvmove ends well" says '^pvmove: status 0'
holds "afterwards the origin is active" says "^after: lv_active is 'active', nodes: vg-origin vg-origin-real $"
exit $changed
