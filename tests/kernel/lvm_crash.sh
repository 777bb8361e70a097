#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
#
# lvm_crash.sh merge|finish|abort: kills a merge of an active SNAP, or a finish, between its LVM
# commands. The moments are visible from outside: files, the metadata snapshot, the origin's layers,
# the copy. One or two kills come at any moment, even during an LVM command. (lvm_kill_points.sh
# kills right before and after each LVM command.) Then `status` has something to say, and the same
# command completes the work. The origin is right, and nothing is left behind. After `abort` all but
# the origin's data is as before.
source "$(dirname "$0")/guest_lvm.sh"

round=1
# fresh: writes something new to merge.
fresh() {
  round=$((round + 1))
  stamp scatter /dev/$vg/$snap_lv $round $round 12
  kernel_view $snap_lv /run/view
}
# status_says: `status` succeeds or ends with 6, and prints something.
status_says() {
  local status=0
  "$EXTMERGE" status $vg/$snap_lv > /run/said 2>&1 || status=$?
  [[ $status =~ ^(0|6)$ && -s /run/said ]] || {
    cat /run/said
    fail "status ended with $status"
  }
}
as_before() { diff <(echo "$before") <(state) || fail "not everything was put back"; }
# killed_at STEP: fails if the kill missed a step that always happens. The name of such a step has a capital letter.
killed_at() {
  note "$1: killed: $killed"
  [[ $killed == yes || $1 != [A-Z]* ]] || fail "it ended before it was killed at '$1': $(< /run/said)"
}
slowly=(--batch-mode --yes --rate-limit 1500k --checkpoint-interval 256k)

# seen_and_gone COMMAND...: the command was true, and is now false.
seen_and_gone() {
  if "$@"; then
    seen=yes
    return 1
  fi
  [[ $seen == yes ]]
}

# killed_merge STEP KILL...: kills a merge by the command KILL, and completes the merge. The origin then
# has all writes to SNAP that came after the kill, or none of them.
killed_merge() {
  local step=$1 there
  shift
  fresh
  seen=no
  "$@" merge "${slowly[@]}" $vg/$snap_lv
  killed_at "$step"
  there=$(state)
  status_says
  diff <(echo "$there") <(state) || fail "status changed something"
  stamp range /dev/$vg/$snap_lv $((1000 + round)) 0 64
  kernel_view $snap_lv /run/view_later
  command=(merge --yes --batch-mode $vg/$snap_lv)
  if [[ $(< /run/said) =~ state\ *copying ]] && ((round % 2)); then
    command=(resume --batch-mode $vg/$snap_lv)
  elif ((round % 3 == 2)); then # As after a reboot.
    quietly vgchange -an $vg
    quietly vgchange -ay $vg
    if [[ $there == *half-merged* ]]; then
      ! is_active $origin_lv || fail "the half-merged origin was activated"
    else
      quietly lvchange -an $vg/$origin_lv
    fi
  fi
  again "${command[@]}" || fail "again: ${command[*]}: $(< /run/said)"
  [[ $1 == kill_all_after ]] || no_cookie # a killed LVM leaves its own cookie
  find_origin
  origin_data > /run/origin
  cmp -s /run/origin /run/view || cmp /run/origin /run/view_later || fail "the origin is not what it should be"
  as_before
}

killed_finish() {
  local step=$1 status=0
  shift
  is_there $snap_lv || new_snapshot
  fresh
  seen=no
  "$@" merge --finish "${slowly[@]}" $vg/$snap_lv
  killed_at "$step"
  status_says
  again merge --finish --yes --batch-mode $vg/$snap_lv || status=$?
  # If the killed run had done everything, the volume is gone.
  if ((status != 0)) && ! [[ $status == 4 && $(< /run/said) == *'no volume'* ]]; then
    cat /run/said
    fail "finishing again ended with $status"
  fi
  ! is_there $snap_lv || fail "SNAP is still there"
  [[ $(lvs_of lv_attr $vg/$origin_lv) == *-wi* ]] || fail "the origin is not a writable plain volume"
  nothing_left
  origin_is /run/view
}

new_everything 64k 8196k
quietly lvchange -an $vg/$snap_lv
quietly lvchange -ay $vg/$snap_lv
before=$(state)

case $1 in
  merge)
    killed_merge "First file" kill_when 'has_file "*"'
    killed_merge "metadata snapshot" kill_when is_held
    killed_merge "metadata snapshot released" kill_when 'seen_and_gone is_held'
    killed_merge "Layer -real writable" kill_when 'is_writable -real'
    killed_merge "Node writable" kill_when 'is_writable -extmerge'
    killed_merge "Copying" kill_when is_copying
    killed_merge "Node gone" kill_when 'seen_and_gone is_writable -extmerge'
    for tenths in 5 12; do
      killed_merge "all after $tenths tenths" kill_all_after $((tenths / 10)).$((tenths % 10))
    done
    ;;
  finish)
    killed_finish "First file" kill_when 'has_file "*"'
    killed_finish "Node writable" kill_when 'is_writable -extmerge'
    killed_finish "Copying" kill_when is_copying
    killed_finish "Node gone" kill_when 'seen_and_gone is_writable -extmerge'
    for tenths in 7 20; do
      killed_finish "all after $tenths tenths" kill_all_after $((tenths / 10)).$((tenths % 10))
    done
    ;;
  abort)
    for condition in 'has_file "*"' has_freeze is_held has_tag is_copying; do
      fresh
      kill_when "$condition" merge "${slowly[@]}" $vg/$snap_lv
      note "$condition: killed: $killed"
      [[ $killed == yes ]] || { [[ $condition == is_held ]] && continue; } || fail "it ended before it was killed"
      # After a kill before the merge began there is nothing to give up.
      again abort $vg/$snap_lv || { [[ $? == 6 ]] && grep -q EXM-601 /run/said && ! has_tag; } || {
        cat /run/said
        fail "abort ended with an error"
      }
      [[ $condition != is_copying ]] || [[ $(< /run/said) == *[Hh]alf* ]] || {
        cat /run/said
        fail "abort does not say that the origin is half merged"
      }
      as_before
      kernel_view $snap_lv /run/view_later
      cmp /run/view /run/view_later || fail "SNAP reads differently"
      status_says
    done
    again merge --yes --batch-mode $vg/$snap_lv || fail "merging after abort: $(< /run/said)"
    origin_is /run/view
    as_before
    ;;
esac
