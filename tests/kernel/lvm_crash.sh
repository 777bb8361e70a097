#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
#
# lvm_crash.sh merge|finish|abort: SIGKILL at everything a merge of an active SNAP, or
# a finish, does that can be seen from outside, and at many moments in between. Then
# `status` has something to say, the same command again completes it, the origin is
# right and nothing is left behind; after `abort` all is as before but the origin's data.
source "$(dirname "$0")/guest_lvm.sh"

round=1
# fresh: something new to merge.
fresh() {
  round=$((round + 1))
  stamp scatter /dev/$vg/$snap_lv $round $round 12
  kernel_view $snap_lv /run/view
}
# status_says: something, and changes nothing.
status_says() {
  local status=0 before
  before=$(state_of_group && state_of_kernel)
  "$EXTMERGE" status $vg/$snap_lv > /run/said 2>&1 || status=$?
  [[ $status =~ ^(0|6)$ && -s /run/said ]] || {
    cat /run/said
    fail "status ended with $status"
  }
  diff <(echo "$before") <(state_of_group && state_of_kernel) || fail "status changed something"
}
slowly=(--batch-mode --yes --rate-limit 6M)

# seen_and_gone COMMAND...: it was true, and is no more.
seen_and_gone() {
  if "$@"; then
    seen=yes
    return 1
  fi
  [[ $seen == yes ]]
}
is_plain() { [[ $(lvs_of lv_attr $vg/$origin_lv) == *-wi* ]]; }

# killed_merge KILL...: a way of killing it, and then the rest. What is written to
# SNAP after the kill may be in the origin afterwards, all of it, or not.
killed_merge() {
  local step=$1
  shift
  fresh
  seen=no
  "$@" merge "${slowly[@]}" $vg/$snap_lv
  note "$step: killed: $killed"
  status_says
  stamp range /dev/$vg/$snap_lv $((1000 + round)) 0 64
  kernel_view $snap_lv /run/view_later
  command=(merge --yes --batch-mode $vg/$snap_lv)
  case $((round % 3)) in
    1)
      if grep -q 'state *copying' /run/said; then
        command=(resume --batch-mode $vg/$snap_lv)
      fi
      ;;
    2) # As after a reboot.
      quietly vgchange -an $vg
      quietly vgchange -ay $vg
      if has_tag; then
        ! is_active $origin_lv || fail "the half-merged origin was activated"
      else
        quietly lvchange -an $vg/$origin_lv
      fi
      ;;
  esac
  again "${command[@]}" || fail "again: ${command[*]}: $(< /run/said)"
  origin_data > /run/origin
  cmp -s /run/origin /run/view || cmp /run/origin /run/view_later || fail "the origin is not what it should be"
  nothing_left
  diff <(echo "$before") <(state_of_group && state_of_kernel) || fail "not everything was put back"
}

killed_finish() {
  local step=$1 status=0
  shift
  is_there $snap_lv || new_snapshot
  fresh
  seen=no
  "$@" merge --finish "${slowly[@]}" $vg/$snap_lv
  note "$step: killed: $killed"
  status_says
  again merge --finish --yes --batch-mode $vg/$snap_lv || status=$?
  # Where all had been done already there is no such volume any more.
  if ((status != 0)) && ! [[ $status == 4 && $(< /run/said) == *'no volume'* ]]; then
    cat /run/said
    fail "finishing again ended with $status"
  fi
  ! is_there $snap_lv || fail "SNAP is still there"
  is_plain || fail "the origin is not a writable plain volume"
  nothing_left
  origin_is /run/view
}

new_everything 64k 8196k
quietly lvchange -an $vg/$snap_lv
quietly lvchange -ay $vg/$snap_lv
before=$(state_of_group && state_of_kernel)

case $1 in
  merge)
    killed_merge "first file" kill_when 'has_file "*"'
    killed_merge "freeze" kill_when has_freeze
    killed_merge "metadata snapshot" kill_when is_held
    killed_merge "metadata snapshot released" kill_when 'seen_and_gone is_held'
    killed_merge "file for LVM" kill_when 'has_file "*.lvm"'
    killed_merge "tag" kill_when has_tag
    killed_merge "-real writable" kill_when 'is_writable -real'
    killed_merge "top writable" kill_when 'is_writable ""'
    killed_merge "copying" kill_when 'is_writable "" && sleep 0.8'
    killed_merge "top read-only" kill_when 'seen_and_gone is_writable ""'
    killed_merge "freeze gone" kill_when 'seen_and_gone has_freeze'
    killed_merge "tag gone" kill_when 'seen_and_gone has_tag'
    for tenths in 2 4 7 10 16; do
      killed_merge "all after $tenths tenths" kill_all_after $((tenths / 10)).$((tenths % 10))
    done
    ;;
  finish)
    killed_finish "first file" kill_when 'has_file "*"'
    killed_finish "SNAP inactive" kill_when "! is_active $snap_lv"
    killed_finish "tag" kill_when has_tag
    killed_finish "top writable" kill_when 'is_writable ""'
    killed_finish "copying" kill_when 'is_writable "" && sleep 0.8'
    killed_finish "top read-only" kill_when 'seen_and_gone is_writable ""'
    killed_finish "tag gone" kill_when 'seen_and_gone has_tag'
    killed_finish "SNAP gone" kill_when "! is_there $snap_lv"
    killed_finish "origin plain" kill_when is_plain
    for tenths in 3 7 12 20; do
      killed_finish "all after $tenths tenths" kill_all_after $((tenths / 10)).$((tenths % 10))
    done
    ;;
  abort)
    for condition in 'has_file "*"' has_freeze is_held has_tag 'is_writable "" && sleep 0.8'; do
      fresh
      kill_when "$condition" merge "${slowly[@]}" $vg/$snap_lv
      note "$condition: killed: $killed"
      [[ $killed == yes ]] || continue
      # Killed before anything was begun, there is nothing to give up.
      again abort $vg/$snap_lv || { [[ $? == 6 ]] && grep -q EXM-601 /run/said && ! has_tag; } || {
        cat /run/said
        fail "abort ended with an error"
      }
      [[ $condition != *sleep* ]] || grep -qi half /run/said || {
        cat /run/said
        fail "abort does not say that the origin is half merged"
      }
      nothing_left
      diff <(echo "$before") <(state_of_group && state_of_kernel) || fail "not everything was put back"
      kernel_view $snap_lv /run/view_later
      cmp /run/view /run/view_later || fail "SNAP reads differently"
      status_says
      again merge --yes --batch-mode $vg/$snap_lv || fail "merging after abort: $(< /run/said)"
      origin_is /run/view
      nothing_left
    done
    ;;
esac
