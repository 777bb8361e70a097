#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Other thins read the same origin. A sibling is harmed if the merge writes a block
# that the sibling does not map: extmerge refuses, names it, and changes nothing. A
# sibling that maps all these blocks reads as before.
source "$(dirname "$0")/guest_lvm.sh"

block=128 # sectors
# write_blocks LV GENERATION FIRST COUNT
write_blocks() { stamp range /dev/$vg/"$1" "$2" $(($3 * block)) $(($4 * block)); }
# harmed NAME: prints the sibling's number of harmed blocks, as plan counts them.
harmed() {
  "$EXTMERGE" plan --json --allow-shared-origin $vg/$snap_lv > /run/plan || fail "plan --allow-shared-origin"
  python3 - "$1" << 'FIND'
import json, sys
print([s["harmed_blocks"] for s in json.load(open("/run/plan"))["siblings"] if s["name"].endswith(sys.argv[1])])
FIND
}
# unharmed LV...: a merge succeeds and does not change what these volumes read.
unharmed() {
  local lv
  for lv in "$@"; do kernel_view "$lv" /run/view_"$lv"; done
  kernel_view $snap_lv /run/view
  merges $vg/$snap_lv
  nothing_left
  origin_is /run/view
  for lv in "$@"; do
    kernel_view "$lv" /run/view_after
    cmp /run/view_"$lv" /run/view_after || fail "$lv reads differently"
  done
}

new_group
new_origin 16388k
new_pool 64k 80M
new_snapshot
write_blocks $snap_lv 1 10 40

note "another snapshot of the origin, harmed: it maps 10 of 40 blocks"
new_snapshot other
write_blocks other 2 40 20
refuses 4 other plan $vg/$snap_lv
refuses 4 other merge --yes --batch-mode $vg/$snap_lv
[[ $(harmed other) == '[30]' ]] || fail "plan counts $(harmed other) harmed blocks"

note "the same, inactive"
quietly lvchange -an $vg/other
refuses 4 other merge --yes --batch-mode $vg/$snap_lv

note "harmed on request"
kernel_view $snap_lv /run/view
before=$(state_of_group)
merges --allow-shared-origin $vg/$snap_lv
diff <(echo "$before") <(state_of_group) || fail "merge did not put everything back"
nothing_left
origin_is /run/view

note "it maps all of them now, so it is unharmed; active or not"
quietly lvchange -ay $vg/other
write_blocks other 3 0 60
write_blocks $snap_lv 4 12 5
[[ $(harmed other) == '[0]' ]] || fail "plan counts $(harmed other) harmed blocks"
unharmed other
quietly lvchange -an $vg/other
write_blocks $snap_lv 5 20 3
unharmed other

note "an internal snapshot, newer than the last new block of SNAP: unharmed"
quietly lvcreate -y -s -n inner $vg/$snap_lv
write_blocks $snap_lv 6 30 10
unharmed inner other

note "SNAP has a new block: its internal snapshot is harmed"
write_blocks $snap_lv 7 55 1
refuses 4 inner merge --yes --batch-mode $vg/$snap_lv
[[ $(harmed inner) == '[1]' ]] || fail "plan counts $(harmed inner) harmed blocks"
note "and active as well"
quietly lvchange -ay -K $vg/inner
refuses 4 inner merge --yes --batch-mode $vg/$snap_lv
quietly lvremove -y $vg/inner

note "a snapshot of the origin in another pool, active and with its pool inactive"
new_pool 128k 40M pool2
new_snapshot far pool2
refuses 4 far merge --yes --batch-mode $vg/$snap_lv
quietly lvchange -an $vg/far $vg/pool2
refuses 4 far merge --yes --batch-mode $vg/$snap_lv
quietly lvremove -y $vg/far

note "one that is made while the merge runs"
kernel_view $snap_lv /run/view
status=0
"$EXTMERGE" merge --yes --batch-mode --rate-limit 512k $vg/$snap_lv > /run/said 2>&1 &
merger=$!
while ! has_tag; do
  kill -0 $merger || fail "the merge ended too soon: $(< /run/said)"
  sleep 0.05
done
new_snapshot late
wait $merger || status=$?
((status == 4 || status == 7)) || {
  cat /run/said
  fail "the merge ended with $status"
}
grep -q late /run/said || {
  cat /run/said
  fail "the merge does not name the snapshot that came late"
}
status=0
"$EXTMERGE" merge --yes --batch-mode $vg/$snap_lv > /run/said 2>&1 || status=$?
((status == 4)) || {
  cat /run/said
  fail "merging again ended with $status"
}
quietly lvremove -y $vg/late
unharmed other

note "finish with another snapshot left: the origin stays read-only"
write_blocks $snap_lv 8 5 2
kernel_view $snap_lv /run/view
kernel_view other /run/view_other
merges --finish $vg/$snap_lv
grep -q other /run/said || {
  cat /run/said
  fail "finish does not name what still needs the origin"
}
! is_there $snap_lv || fail "SNAP is still there"
nothing_left
origin_is /run/view
[[ $(lvs_of lv_attr $vg/$origin_lv) == *ori* ]] || fail "the origin is not as external origins are"
kernel_view other /run/view_after
cmp /run/view_other /run/view_after || fail "other reads differently"
no_group

note "a freeze without its record, and SNAP is gone: the only copy of that data is no freeze to ignore"
new_group
new_origin 16388k
new_pool 64k 80M
new_snapshot
write_blocks $snap_lv 1 10 40
kill_when is_copying merge --yes --batch-mode --rate-limit 250k --checkpoint-interval 64k $vg/$snap_lv
[[ $killed == yes ]] || fail "it ended before it was killed: $(< /run/said)"
[[ $(lvs_of lv_name) =~ extmerge_[0-9a-f]+ ]] || fail "there is no freeze"
freeze=${BASH_REMATCH[0]}
rm "$EXTMERGE_STATE_DIR"/*
quietly lvremove -f $vg/$snap_lv
new_snapshot heir
write_blocks heir 2 45 20
kernel_view $freeze /run/view
says 4 "EXM-417.*$freeze" merge --yes --batch-mode --restart $vg/heir
says 4 "only copy" plan --restart $vg/heir
kernel_view $freeze /run/view_after
cmp /run/view /run/view_after || fail "the freeze reads differently"
