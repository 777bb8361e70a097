#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
#
# LVM silently reloads the layer under an external origin read-only when it works on a thin over the origin.
#
# Package: lvm2 2.03.31-2 (Debian 13), Linux 6.12 of user-mode-linux 6.12um1+b22
# Command: vg-origin-real is loaded read-write; then lvcreate -s, lvrename, or lvchange --refresh of the thin vg/snap
# Seen:    each command ends with 0 and prints nothing of this, and the layer is read-only afterwards. lvs,
#          lvchange --addtag and lvchange -ay of the active thin do not change the layer.
#
# So a program that has made the layer writable must check it again during its writes. A failed write may have this cause.
source "$(dirname "$0")/lab.sh"
packages trixie bash coreutils mount util-linux kmod grep sed lvm2=2.03.31-2 dmsetup=2:1.02.205-2 thin-provisioning-tools=1.1.0-4+b1 user-mode-linux=6.12um1+b22
guest -d 200M << 'SCRIPT'
module dm-mod dm-thin-pool dm-snapshot
lvm version | head -n 1
quietly vgcreate vg /dev/ubda
quietly lvcreate -y -an -Wn -Zn -L 20M -n origin vg
quietly lvchange -pr vg/origin
quietly lvcreate -y --type thin-pool -L 80M -n pool --poolmetadatasize 4M vg
quietly lvcreate -y -s --thinpool vg/pool -n snap vg/origin
layer=vg-origin-real
read_only() {
  local node
  for node in /sys/block/dm-*; do [[ $(< "$node/dm/name") != "$layer" ]] || cat "$node/ro"; done
}
table=$(dmsetup table $layer)
after() {
  dmsetup load $layer --table "$table"
  dmsetup resume $layer
  local before=$(read_only) status=0
  "${@:2}" > /run/out 2>&1 || status=$?
  echo "$1: status $status, read-only was $before, is $(read_only), said: $(grep -ci "real\|origin\|read" /run/out || true) lines of it"
}
echo "at first: read-only is $(read_only)"
after "lvcreate -s" lvcreate -an -s -n other vg/snap
after lvrename lvrename vg/snap vg/snap2
after refresh lvchange --refresh vg/snap2
after lvs lvs -a vg
after addtag lvchange --addtag seen vg/snap2
after activate lvchange -ay vg/snap2
SCRIPT
for command in 'lvcreate -s' lvrename refresh; do
  holds "$command turns it read-only, silently" says "^$command: status 0, read-only was 0, is 1, said: 0 lines"
done
for command in lvs addtag activate; do
  holds "$command leaves it" says "^$command: status 0, read-only was 0, is 0"
done
exit $changed
