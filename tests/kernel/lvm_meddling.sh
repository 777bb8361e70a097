#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
#
# What an administrator can do to the volumes in mid-merge. Whatever it is, a merge
# never ends well with a wrong origin; where it had to stop, it can be resumed.
source "$(dirname "$0")/guest_lvm.sh"

round=1
# during EXPECTED COMMAND...: while a slow merge writes the origin. Sets `status`, one of EXPECTED.
during() {
  local expected=$1 merger
  shift
  round=$((round + 1))
  status=0
  note "$*"
  if is_active $snap_lv; then
    stamp scatter /dev/$vg/$snap_lv $round $round 12
    kernel_view $snap_lv /run/view
  fi
  "$EXTMERGE" merge --yes --batch-mode --rate-limit 3M --checkpoint-interval 256k $vg/$snap_lv > /run/said 2>&1 &
  merger=$!
  while ! is_copying; do
    kill -0 $merger 2> /dev/null || fail "the merge ended too soon: $(< /run/said)"
    pause 0.02
  done
  "$@" > /run/meddler 2>&1 || note "which fails: $(tail -n 1 /run/meddler)"
  kill -0 $merger 2> /dev/null || note "the merge has stopped at once"
  wait $merger || status=$?
  no_lvm_runs
  [[ $status =~ ^($expected)$ ]] || {
    cat /run/meddler /run/said
    fail "the merge ended with $status"
  }
  note "the merge ended with $status: $(tail -n 1 /run/said)"
  ((status != 0)) || origin_is /run/view
}
# then_completes: by the same command, whatever state it was left in.
then_completes() {
  ((status == 0)) || merges $vg/$snap_lv
  origin_is /run/view
  nothing_left
}

new_everything 64k 8196k
quietly lvchange --errorwhenfull y $vg/$pool_lv

during 0 lvchange --refresh $vg/$snap_lv
then_completes
during '0|4' lvcreate -y -s -n extra $vg/$snap_lv
then_completes
quietly lvremove -y $vg/extra
during 0 vgchange -ay $vg
then_completes
during 0 lvchange -an $vg/$origin_lv
then_completes
during 0 lvchange --addtag meddled $vg/$origin_lv
then_completes
during '0|7' lvextend -L +4M $vg/$pool_lv
then_completes

during '0|7' lvchange --refresh $vg/$origin_lv
((status == 0)) || grep -q EXM-7 /run/said || fail "no id for being stopped"
then_completes

during '0|7' lvrename $vg $origin_lv other
((status == 0)) || grep -q EXM-7 /run/said || fail "no id for being stopped"
quietly lvrename $vg other $origin_lv
then_completes

during '0|4|6|7' lvrename $vg $snap_lv other
quietly lvrename $vg other $snap_lv
then_completes

note "a pool that fills up"
quietly lvcreate -y -V 100M -n filler --thinpool $vg/$pool_lv $vg
during '0|3|7' dd if=/dev/zero of=/dev/$vg/filler bs=64k oflag=direct
quietly lvremove -y $vg/filler
then_completes

note "the freeze is removed: SNAP is still there, and is merged anew"
remove_freeze() { lvremove -y $vg/"$(lvs_of lv_name | grep extmerge | tr -d ' ')"; }
during '0|4|6|7' remove_freeze
then_completes

note "an inactive SNAP: activated and written, then removed"
write_snap() {
  lvchange -ay -K $vg/$snap_lv
  stamp range /dev/$vg/$snap_lv 99 0 64
  lvchange -an $vg/$snap_lv
}
stamp scatter /dev/$vg/$snap_lv 77 77 12
kernel_view $snap_lv /run/view
quietly lvchange -an $vg/$snap_lv
during '0|4|7' write_snap
kernel_view $snap_lv /run/view
merges $vg/$snap_lv
origin_is /run/view
nothing_left
quietly lvchange -ay $vg/$snap_lv
stamp scatter /dev/$vg/$snap_lv 78 78 12
kernel_view $snap_lv /run/view
quietly lvchange -an $vg/$snap_lv
during '0|[3-7]' lvremove -f $vg/$snap_lv
note "then $(lvs_of lv_name | tr -s ' \n' ' ')"
((status != 0)) || nothing_left
