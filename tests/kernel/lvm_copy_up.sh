#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
#
# How long --keep-siblings takes for nine inactive clones and a plan of 4,096 blocks, beside dd that writes as many blocks
# through the same devices. The time of extmerge is that of the whole merge.
source "$(dirname "$0")/guest_lvm.sh"

blocks=4096 clones=9
# seconds COMMAND...: prints how long the command takes, which must succeed.
seconds() {
  local begin=$EPOCHREALTIME
  quietly "$@" >&2
  awk -v begin="$begin" -v end="$EPOCHREALTIME" 'BEGIN { printf "%.2f", end - begin }'
}
write_all() {
  local i
  for ((i = 1; i <= clones; ++i)); do
    dd if=/dev/zero of=/dev/$vg/clone$i bs=64k count=$blocks oflag=direct conv=fsync status=none || return
  done
}

new_group
quietly lvcreate -y -Wn -Zn -n $origin_lv -L $((blocks * 64))k $vg "${disks[0]}"
new_pool 64k 6G
new_snapshot
quietly dd if=/dev/urandom of=/dev/$vg/$snap_lv bs=1M count=$((blocks / 16)) oflag=direct
for ((i = 1; i <= clones; ++i)); do
  new_snapshot clone$i
  quietly lvchange -an $vg/clone$i
done
ours=$(seconds "$EXTMERGE" merge --yes --batch-mode --keep-siblings $vg/$snap_lv)
for ((i = 1; i <= clones; ++i)); do
  quietly lvremove -y $vg/clone$i
  new_snapshot clone$i
done
theirs=$(seconds write_all)
note "a merge that keeps $clones clones: $ours s; dd of as many blocks into them: $theirs s"
awk -v ours="$ours" -v theirs="$theirs" 'BEGIN { printf "-- times: %.2f, at most 2.5: %s\n", ours / theirs, ours <= 2.5 * theirs ? "reached" : "MISSED" }'
no_group
