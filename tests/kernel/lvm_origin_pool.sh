#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
#
# The origin is a thin of another pool. A merge that may not fit there is refused before the origin is written. A pool
# that fills up during the merge stops it, and the merge is resumed when the pool has room again.
source "$(dirname "$0")/guest_lvm.sh"

find_origin() { :; }
origin_data() { dd if=/dev/mapper/"$(dm_name $origin_lv)"-real bs=1M iflag=direct status=none; }
# fill BLOCKS: leaves that many free blocks of 64 KiB in pool2
fill() {
  local used
  read -r _ _ _ _ _ used _ < <(dmsetup status "$(dm_name pool2)-tpool")
  dd if=/dev/zero of=/dev/$vg/filler bs=64k count=$((${used#*/} - ${used%/*} - $1)) seek="$filled" oflag=direct status=none
  filled=$((filled + ${used#*/} - ${used%/*} - $1))
}
filled=0
new_group
new_pool 64k 24M
new_pool 64k 16M pool2
quietly lvcreate -y -V 8M -n $origin_lv --thinpool pool2 $vg
stamp range /dev/$vg/$origin_lv 0 0 2048 # 16 of its 128 blocks
quietly lvcreate -y -V 64M -n filler --thinpool pool2 $vg
new_snapshot
stamp range /dev/$vg/$snap_lv 1 0 12288 # 96 blocks, 80 of them not mapped by the origin
kernel_view $snap_lv /run/view
merge=(merge --yes --batch-mode)

note "too little room"
fill 90
refuses 3 "EXM-307.*pool $vg/pool2, and the merge may need 97 blocks there; 90 are free" plan $vg/$snap_lv
refuses 3 "EXM-307.*pool2" "${merge[@]}" $vg/$snap_lv

note "somebody fills the pool during the merge: it stops, resumable"
quietly lvextend -L +8M $vg/pool2
"$EXTMERGE" "${merge[@]}" --rate-limit 1M --checkpoint-interval 64k $vg/$snap_lv > /run/said 2>&1 &
merger=$!
until is_copying || ! kill -0 $merger 2> /dev/null; do pause 0.02; done
kill -0 $merger || fail "it ended too soon: $(< /run/said)"
fill 5
status=0
wait $merger || status=$?
note "the merge ended with $status: $(tail -n 2 /run/said | tr '\n' ' ')"
((status == 7)) && grep -q 'EXM-706.*pool2' /run/said || fail "not stopped: $(< /run/said)"
kernel_view $snap_lv /run/view_now
cmp /run/view /run/view_now || fail "SNAP reads differently"
has_freeze || fail "the freeze is gone"

note "and stays stopped, until the pool has room"
says 7 'EXM-706' resume $vg/$snap_lv
quietly lvextend -L +16M $vg/pool2
says 0 Merged resume $vg/$snap_lv
origin_is /run/view
nothing_left

note "the pool is full at once: writes fail, and nothing is called done"
quietly lvremove -y $vg/filler
quietly lvcreate -y -V 64M -n filler --thinpool pool2 $vg
filled=0
quietly lvchange --errorwhenfull y $vg/pool2
stamp range /dev/$vg/$snap_lv 2 12288 4096 # 32 more blocks
kernel_view $snap_lv /run/view
"$EXTMERGE" "${merge[@]}" --rate-limit 300k --checkpoint-interval 64k $vg/$snap_lv > /run/said 2>&1 &
merger=$!
until is_copying || ! kill -0 $merger 2> /dev/null; do pause 0.02; done
fill 0 2> /dev/null || true # the merge takes some of these blocks
status=0
wait $merger || status=$?
note "the merge ended with $status: $(tail -n 2 /run/said | tr '\n' ' ')"
((status == 7)) || fail "not stopped: $(< /run/said)"
dmsetup status "$(dm_name pool2)-tpool"
quietly lvextend -L +16M $vg/pool2
merges $vg/$snap_lv
origin_is /run/view
nothing_left

note "a full pool is no reason, if the origin maps everything itself"
quietly lvremove -y $vg/filler
quietly lvcreate -y -V 96M -n filler --thinpool pool2 $vg
filled=0
stamp range /dev/$vg/$snap_lv 3 0 16384
merges $vg/$snap_lv # the origin maps all of it now
fill 0
change_snap
merges $vg/$snap_lv
origin_is /run/view

note "a snapshot of the origin shares its blocks: every write needs a new one"
quietly lvcreate -y -s -n frozen $vg/$origin_lv
change_snap
refuses 3 'EXM-307.*pool2' "${merge[@]}" $vg/$snap_lv
quietly lvremove -y $vg/frozen
quietly lvextend -L +8M $vg/pool2 # the kernel still takes its blocks for shared
merges --finish $vg/$snap_lv
quietly lvchange -ay $vg/$origin_lv
kernel_view $origin_lv /run/origin_now
cmp /run/view /run/origin_now || fail "the origin is not what it should be"

note "a finish that extends the origin needs room for what it copies back"
new_snapshot
quietly lvextend -y -L +4M $vg/$snap_lv
stamp range /dev/$vg/$snap_lv 5 16384 4096 # 32 blocks past the origin's end
rm -f "$EXTMERGE_STATE_DIR"/*
kernel_view $snap_lv /run/view
quietly lvremove -y $vg/filler
quietly lvcreate -y -V 96M -n filler --thinpool pool2 $vg
filled=0
fill 30
refuses 3 "EXM-307.*pool $vg/pool2, and the merge may need [0-9]+ blocks there; 30 are free" "${merge[@]}" --finish $vg/$snap_lv
quietly lvextend -L +8M $vg/pool2
merges --finish $vg/$snap_lv
quietly lvchange -ay $vg/$origin_lv
kernel_view $origin_lv /run/origin_now
cmp /run/view /run/origin_now || fail "the origin is not what it should be"
