#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Other people change the volumes during a merge or after a kill. extmerge never loses
# data, never calls an unfinished merge done, and never removes or releases what belongs
# to somebody else.
source "$(dirname "$0")/guest_lvm.sh"

# slowly ARGUMENT...: extmerge merges in the background for some ten seconds. Even a slow machine
# can run several LVM commands in that time.
slowly() {
  setsid "$EXTMERGE" merge --yes --batch-mode --rate-limit 250k --checkpoint-interval 64k "$@" > /run/said 2>&1 &
  merger=$!
}
until_copying() {
  until is_copying; do
    kill -0 $merger 2> /dev/null || { cat /run/said; fail "it ended before it copied"; }
    pause 0.05
  done
}
# ended STATUS PATTERN
ended() {
  local status=0
  wait $merger || status=$?
  [[ $status =~ ^($1)$ ]] && grep -Eq -- "$2" /run/said || {
    cat /run/said
    fail "ended with $status, not $1, or did not say '$2'"
  }
}
note "--finish, and SNAP is written to while it runs: it is not removed, and the same command merges the rest"
new_everything 64k 8196k
slowly --finish $vg/$snap_lv
until_copying
! lvchange -ay $vg/$snap_lv &> /dev/null || ! is_active $snap_lv || fail "SNAP could be activated by accident"
quietly lvchange -ay -K $vg/$snap_lv
stamp range /dev/$vg/$snap_lv 5 0 300
kernel_view $snap_lv /run/view
quietly lvchange -an $vg/$snap_lv
ended 4 "EXM-409.*not removed"
is_there $snap_lv || fail "SNAP was removed with what had been written to it"
says 0 removed merge --finish --yes --batch-mode $vg/$snap_lv
origin_is /run/view
nothing_left
no_group

note "what depends on SNAP is not removed with it"
new_everything 64k 4100k
quietly lvcreate -y -s -L 1M -n cow $vg/$snap_lv
says 5 "EXM-508.*cow" merge --finish --yes --batch-mode $vg/$snap_lv
is_there cow && is_there $snap_lv || fail "removed all the same"
quietly lvremove -y $vg/cow
nothing_left

note "killed after the end, SNAP written: the same command merges that too"
is_done() { [[ $("$EXTMERGE" status $vg/$snap_lv 2> /dev/null) =~ state\ +done ]]; }
kill_when is_done merge --yes --batch-mode $vg/$snap_lv
stamp scatter /dev/$vg/$snap_lv 9 9 20
kernel_view $snap_lv /run/view
merges $vg/$snap_lv
origin_is /run/view
nothing_left
no_group

note "SNAP removed in mid-merge: its freeze is the only copy, and is kept until that is merged"
new_everything 64k 8196k
kernel_view $snap_lv /run/view
slowly $vg/$snap_lv
until_copying
quietly lvremove -f $vg/$snap_lv
kill -9 $merger
wait $merger 2> /dev/null || true
no_lvm_runs
says 6 "EXM-610.*only copy" abort $vg/$snap_lv
has_freeze || fail "the only copy was removed"
says 4 "extmerge resume $vg/$snap_lv" merge --yes --batch-mode $vg/$snap_lv
says 0 "lvchange -prw" resume --batch-mode $vg/$snap_lv
origin_is /run/view
nothing_left
no_group

note "SNAP removed, and another snapshot of the origin made, in mid-merge: that one would change"
new_everything 64k 8196k
slowly $vg/$snap_lv
until_copying
quietly lvremove -f $vg/$snap_lv
quietly lvcreate -y -s -an --thinpool $vg/$pool_lv -n late $vg/$origin_lv
ended 4 "EXM-417.*late"
has_freeze || fail "the only copy was removed"
quietly lvremove -y $vg/late
says 0 . resume --batch-mode $vg/$snap_lv
nothing_left
no_group

note "somebody activates the origin and holds it open at the end: it is read-only all the same"
new_everything 64k 4100k
slowly $vg/$snap_lv
until_copying
quietly lvchange -ay -K $vg/$origin_lv
exec 7< /dev/mapper/"$(dm_name $origin_lv)"
ended 0 "lvchange -an $vg/$origin_lv"
! is_writable "" && ! is_writable -real && ! is_writable -extmerge || fail "the origin was left writable"
exec 7<&-
quietly lvchange -an $vg/$origin_lv
nothing_left

note "the metadata snapshot was released and another one reserved during the merge: that one stays"
stamp scatter /dev/$vg/$snap_lv 11 11 20
setsid "$EXTMERGE" verify --batch-mode --rate-limit 300k $vg/$snap_lv > /run/said 2>&1 &
merger=$!
until is_held; do pause 0.01; done
pause 0.5 # until the mappings are read
pool=$(dm_name $pool_lv)-tpool
dmsetup message "$pool" 0 release_metadata_snap
stamp range /dev/$vg/$snap_lv 12 0 16
dmsetup message "$pool" 0 reserve_metadata_snap
ended '4|8' 'EXM-(416|801)'
is_held || fail "the other one's metadata snapshot was released"
says 5 EXM-507 merge --yes --batch-mode $vg/$snap_lv
is_held || fail "the other one's metadata snapshot was released"
dmsetup message "$pool" 0 release_metadata_snap

note "half merged, and the journal is elsewhere"
slowly $vg/$snap_lv
until_copying
kill -9 $merger
wait $merger 2> /dev/null || true
no_lvm_runs
says 6 "EXM-610.*not known" merge --yes --batch-mode --state-dir /run/other $vg/$snap_lv
merges $vg/$snap_lv
nothing_left

note "names that LVM would take for something else"
for name in "@tag/$snap_lv" "-v/$snap_lv" "$vg/-f" "$vg/a b" "a/b/c"; do
  says 1 EXM-101 plan -- "$name"
done

note "the origin is used as swap, which the kernel allows although it is read-only"
no_group
new_group
new_origin 8196k
quietly mkswap /dev/$vg/$origin_lv
new_pool 64k 40M
new_snapshot
stamp scatter /dev/$vg/$snap_lv 1 7 5
quietly lvchange -ay -K $vg/$origin_lv
quietly swapon /dev/$vg/$origin_lv
refuses 5 "EXM-501.*swap" merge --yes --batch-mode $vg/$snap_lv
quietly swapoff /dev/$vg/$origin_lv
