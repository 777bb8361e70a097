#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
#
# SIGTERM stops a merge. Before its resume there is a second extmerge, a new snapshot, or a
# lost journal. extmerge never changes the owner's own tags and activation skip.
source "$(dirname "$0")/guest_lvm.sh"

merge=(merge --yes --batch-mode)
# start_slowly: starts a slow merge and waits until it writes the origin.
start_slowly() {
  rm -f $EXTMERGE_STATE_DIR/*
  "$EXTMERGE" "${merge[@]}" --rate-limit 60k --buffer-size 64k --checkpoint-interval 64k $vg/$snap_lv > /run/slow_said 2>&1 &
  merger=$!
  while ! is_copying; do
    kill -0 $merger 2> /dev/null || fail "the merge ended too soon: $(< /run/slow_said)"
    pause 0.05
  done
}
stop() {
  status=0
  kill -TERM $merger
  wait $merger 2> /dev/null || status=$?
  no_lvm_runs
  ((status == 143)) || fail "stopped, it ended with $status: $(< /run/slow_said)"
  grep -q resume /run/slow_said || fail "it does not say how to resume: $(< /run/slow_said)"
  ! is_held || fail "the metadata snapshot is still held"
  ! is_active $origin_lv || [[ $(state_of_kernel) == *"$(dm_name $origin_lv):L--r"* ]] || fail "the origin is still writable"
  [[ $(state_of_kernel) == *"$(dm_name $origin_lv)-real:L--r"* ]] || fail "a layer of the origin is still writable"
  has_tag || fail "the origin has no tag"
}

new_everything 64k 8196k
kernel_view $snap_lv /run/view

note "another extmerge during the merge; stopped; a snapshot made in between; resumed"
before=$(state_of_group && state_of_kernel)
start_slowly
refuses_now() {
  local status=0
  "$EXTMERGE" "$@" > /run/said 2>&1 || status=$?
  [[ $status =~ ^[56]$ ]] || fail "$* ended with $status in mid-merge: $(< /run/said)"
}
kill -STOP $merger # so that it does not end before these checks, even on a slow machine
refuses_now "${merge[@]}" $vg/$snap_lv
refuses_now resume --batch-mode $vg/$snap_lv
refuses_now abort $vg/$snap_lv
"$EXTMERGE" status $vg/$snap_lv > /run/said || fail "status in mid-merge: $(< /run/said)"
note "another one that does not know of it, with a state directory of its own, takes nothing from it"
for words in "verify" "${merge[*]} --restart"; do
  EXTMERGE_STATE_DIR=/run/other_state refuses_now $words $vg/$snap_lv
  has_tag || fail "$words took the origin's tag"
  is_writable -real || fail "$words made the layer below the origin read-only"
  no_cookie
done
note "and one with an older copy of its records"
cp -r $EXTMERGE_STATE_DIR /run/older_state
for words in plan abort; do
  EXTMERGE_STATE_DIR=/run/older_state refuses_now $words $vg/$snap_lv
  grep -q EXM-501 /run/said || fail "$words says: $(< /run/said)"
  has_tag || fail "$words took the origin's tag"
  is_writable -real || fail "$words made the layer below the origin read-only"
done
kill -CONT $merger
stop
new_snapshot other
refuses 4 other resume --batch-mode $vg/$snap_lv
quietly lvremove -y $vg/other
quietly "$EXTMERGE" resume --batch-mode $vg/$snap_lv
origin_is /run/view
nothing_left
diff <(echo "$before") <(state_of_group && state_of_kernel) || fail "not everything was put back"

note "a lost journal: nothing goes on by itself, and nobody says that nothing had begun"
stamp scatter /dev/$vg/$snap_lv 2 2 12
kernel_view $snap_lv /run/view
start_slowly
stop
mv $EXTMERGE_STATE_DIR /run/lost
mkdir -m 0700 $EXTMERGE_STATE_DIR
refuses 6 half plan $vg/$snap_lv
refuses 6 half "${merge[@]}" $vg/$snap_lv
refuses 6 . resume --batch-mode $vg/$snap_lv
refuses 6 half abort $vg/$snap_lv
note "restarted from the beginning"
merges --restart $vg/$snap_lv
origin_is /run/view
! has_tag || fail "the origin is still tagged"
for freeze in $(lvs_of lv_name | grep extmerge || true); do
  quietly lvremove -y $vg/"$freeze"
done
nothing_left
diff <(echo "$before") <(state_of_group && state_of_kernel) || fail "not everything was put back"
rm -r /run/lost

note "a journal that cannot be read: --restart replaces it"
stamp scatter /dev/$vg/$snap_lv 4 2 12
kernel_view $snap_lv /run/view
start_slowly
stop
truncate -s 100 $EXTMERGE_STATE_DIR/*.journal
for words in "${merge[*]}" "resume --batch-mode" "abort"; do
  refuses 6 EXM-603 $words $vg/$snap_lv
done
new_snapshot other
refuses 4 other "${merge[@]}" --restart $vg/$snap_lv
has_tag || fail "--restart, refused, took the origin's tag"
quietly lvremove -y $vg/other
merges --restart $vg/$snap_lv
origin_is /run/view
nothing_left
diff <(echo "$before") <(state_of_group && state_of_kernel) || fail "not everything was put back"

note "an origin that its owner has tagged, keeps from activation, and uses"
quietly lvchange -ky --addtag mine $vg/$origin_lv
quietly lvchange -ay -K $vg/$origin_lv
before=$(state_of_group && state_of_kernel)
stamp scatter /dev/$vg/$snap_lv 3 3 12
kernel_view $snap_lv /run/view
merges $vg/$snap_lv
diff <(echo "$before") <(state_of_group && state_of_kernel) || fail "not everything was put back"
kill_when is_copying "${merge[@]}" --again --rate-limit 1M $vg/$snap_lv
[[ $killed == yes ]] || fail "it was not killed"
merges $vg/$snap_lv
origin_is /run/view
diff <(echo "$before") <(state_of_group && state_of_kernel) || fail "not everything was put back"
