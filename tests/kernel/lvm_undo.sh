#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Undoes LVM merges with an undo log, by name. The merge is done, or was killed. SNAP is in use, or was
# removed. The undo itself is killed. The origin then has its earlier bytes, SNAP reads as before,
# and the group is as before.
source "$(dirname "$0")/guest_lvm.sh"

log=/run/saved/undo
mkdir -m 700 /run/saved
undo=(undo --yes --batch-mode)
undoes() {
  local status=0
  "$EXTMERGE" "${undo[@]}" "$@" > /run/said 2>&1 || status=$?
  ((status == 0)) || {
    cat /run/said
    fail "extmerge undo $* ended with $status"
  }
}
snap_is() {
  kernel_view $snap_lv /run/view_now
  cmp "$1" /run/view_now || fail "the snapshot reads differently"
}
everything_is_back() {
  origin_is /run/origin_before
  snap_is /run/view
  nothing_left
  diff <(echo "$before") <(state_of_group && state_of_kernel) || fail "not everything was put back"
}

new_everything 64k 8196k
kernel_view $snap_lv /run/view
find_origin
origin_data > /run/origin_before
before=$(state_of_group && state_of_kernel)

note "a finished merge is undone, and merged again"
merges --undo-log $log $vg/$snap_lv
origin_is /run/view
undoes $vg/$snap_lv
everything_is_back
undoes $vg/$snap_lv
grep -q "undone before" /run/said || fail "it does not say that nothing was to do: $(< /run/said)"
everything_is_back

note "SNAP is active and open, and written to since: what it maps it does not read from the origin"
rm -f $log
merges --undo-log $log $vg/$snap_lv
quietly lvchange -ay -K $vg/$snap_lv
exec 5< /dev/$vg/$snap_lv
stamp scatter /dev/$vg/$snap_lv 3 2 9
undoes $vg/$snap_lv
exec 5<&-
origin_is /run/origin_before
nothing_left
kernel_view $snap_lv /run/view
before=$(state_of_group && state_of_kernel)

note "a merge killed in its middle, undone instead of resumed"
rm -f $log
kill_when is_copying merge --yes --batch-mode --rate-limit 300k --undo-log $log $vg/$snap_lv
[[ $killed == yes ]] || fail "the merge ended too soon"
has_tag || fail "the origin has no tag"
says 6 EXM-617 abort $vg/$snap_lv
undoes $vg/$snap_lv
everything_is_back

note "an undo that is killed at any time, and continued"
rm -f $log
merges --undo-log $log $vg/$snap_lv
for delay in 0.1 0.3 0.6; do
  kill_all_after $delay "${undo[@]}" $vg/$snap_lv
done
# A kill between a reservation and its record: nobody can tell whose metadata snapshot it is, and undo says so.
status=0
"$EXTMERGE" "${undo[@]}" $vg/$snap_lv > /run/said 2>&1 || status=$?
if grep -q EXM-507 /run/said; then
  note "killed just after the reservation"
  release=$(grep -o 'dmsetup message .* release_metadata_snap' /run/said) || fail "no cure: $(< /run/said)"
  $release
  undoes $vg/$snap_lv
else
  ((status == 0)) || fail "undo ended with $status: $(< /run/said)"
fi
everything_is_back

note "another thin reads what would change"
rm -f $log
merges --undo-log $log $vg/$snap_lv
new_snapshot other
refuses 4 other "${undo[@]}" $vg/$snap_lv
quietly lvremove -y $vg/other

undoes $vg/$snap_lv
everything_is_back

note "--finish removed the snapshot: what it showed is nowhere else"
rm -f $log
merges --finish --undo-log $log $vg/$snap_lv
origin_is /run/view
quietly lvchange -ay $vg/$origin_lv
refuses 4 allow-removed-snapshot "${undo[@]}" $vg/$snap_lv
journal=$(echo "$EXTMERGE_STATE_DIR"/*.journal)
quietly lvrename $vg $origin_lv renamed
quietly vgrename $vg $vg-2
says 0 "Undone.*$vg--2-renamed|Undone.*$vg-2/renamed" undo --yes --batch-mode --allow-removed-snapshot "$journal"
vg=$vg-2 origin_lv=renamed
origin_is /run/origin_before
vg=vg origin_lv=origin
quietly vgrename $vg-2 $vg
quietly lvrename $vg renamed $origin_lv

note "SNAP and its freeze are removed in mid-merge: abort puts back the marks and keeps the only way back"
no_group
rm -f $log
new_everything 64k 8196k
find_origin
origin_data > /run/origin_before
kill_when is_copying merge --yes --batch-mode --rate-limit 300k --undo-log $log $vg/$snap_lv
[[ $killed == yes ]] || fail "the merge ended too soon"
quietly lvremove -y -ff $vg/$pool_lv
says 6 "EXM-617.*" abort $vg/$snap_lv
! has_tag || fail "the origin is still tagged"
says 6 "lvchange -prw $vg/$origin_lv" abort $vg/$snap_lv
quietly lvchange -prw $vg/$origin_lv
quietly lvchange -ay -K $vg/$origin_lv
undoes --allow-removed-snapshot $vg/$snap_lv
origin_is /run/origin_before
nothing_left

note "abort leaves alone an origin that is an ordinary volume by now, active and in use"
no_group
rm -f $log "$EXTMERGE_STATE_DIR"/*
new_everything 64k 8196k
kill_when is_copying merge --yes --batch-mode --rate-limit 300k $vg/$snap_lv
[[ $killed == yes ]] || fail "the merge ended too soon"
cp -a "$EXTMERGE_STATE_DIR" /run/state_copy
quietly lvremove -y -ff $vg/$pool_lv
quietly lvchange -prw $vg/$origin_lv
quietly lvchange -ay -K $vg/$origin_lv
for use in "in use" closed; do
  [[ $use == closed ]] || exec 8<> /dev/$vg/$origin_lv
  [[ $use != closed ]] || exec 8>&-
  quietly "$EXTMERGE" abort $vg/$snap_lv
  is_active $origin_lv || fail "$use: the origin was deactivated"
  is_writable "" || fail "$use: the origin was made read-only"
  ! has_tag || fail "$use: the origin is still tagged"
  [[ $use == closed ]] && break
  cp -a /run/state_copy/. "$EXTMERGE_STATE_DIR"
  quietly lvchange --addtag extmerge.half-merged $vg/$origin_lv
done
nothing_left
