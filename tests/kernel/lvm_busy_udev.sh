#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
#
# lvm_busy_udev.sh [ROUNDS]: merges while udev and LVM look at every device again and again, as monitoring does on a
# server. Every third merge is killed and resumed. No merge is refused, no cookie is left, and no link is missing or
# leads to a wrong device. Needs udevd.
source "$(dirname "$0")/guest_lvm.sh"
[[ $udev == 1 ]] || { echo "skipped: this is about udevd"; exit 77; }

look_at_everything() {
  while [[ ! -e /run/stop ]]; do
    udevadm trigger --subsystem-match=block
    blkid -c /dev/null
    lsblk -f
    lvs -a
    pvscan
  done &> /dev/null
}

new_everything 64k 4100k
look_at_everything &
looker=$!
kills=0
for ((round = 1; round <= ${1-30}; ++round)); do
  stamp scatter /dev/$vg/$snap_lv $((round % 250 + 1)) $round 6
  kernel_view $snap_lv /run/view
  [[ $((round % 2)) == 0 ]] || quietly lvchange -ay -K $vg/$origin_lv
  if ((round % 3 == 0)); then
    kill_when is_copying merge --yes --batch-mode --rate-limit 300k $vg/$snap_lv
    note "round $round, killed: $killed"
    if [[ $killed == yes ]]; then
      kills=$((kills + 1))
      quietly "$EXTMERGE" resume --batch-mode $vg/$snap_lv
    fi
  else
    merges $vg/$snap_lv
  fi
  origin_is /run/view
  [[ $((round % 2)) == 0 ]] || quietly lvchange -an $vg/$origin_lv
done
((kills > 0 || ${1-30} < 3)) || fail "none of the merges was killed"
stamp scatter /dev/$vg/$snap_lv 255 255 6
kernel_view $snap_lv /run/view
touch /run/stop
wait $looker
no_cookie
nothing_left
links_are_right
note "and finished, with all of that going on"
rm /run/stop
look_at_everything &
looker=$!
quietly lvchange -an $vg/$snap_lv
merges --finish $vg/$snap_lv
touch /run/stop
wait $looker
origin_is /run/view
no_cookie
no_group
