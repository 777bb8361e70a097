#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
#
# A merge or finish was killed, and something else happened before the next run: a volume was
# removed or made shorter, a command worked in another pool, or the pool turned read-only.
source "$(dirname "$0")/guest_lvm.sh"

slowly=(--yes --batch-mode --rate-limit 1M --checkpoint-interval 256k)
# kill_surely CONDITION ARGUMENT...
kill_surely() {
  kill_when "$@"
  [[ $killed == yes ]] || fail "it ended before it was killed: $(< /run/said)"
}
# fresh SEED: writes something new to merge.
fresh() {
  stamp scatter /dev/$vg/$snap_lv "$1" "$1" 12
  kernel_view $snap_lv /run/view
}
pool_is_active() { find_node "$(dm_name $pool_lv)-tpool"; }
is_plain() { [[ $(lvs_of lv_attr $vg/$origin_lv) == *-wi* ]]; }

note "frozen, no journal yet, and SNAP is removed: a command that is named merges the freeze"
new_everything 64k 8196k
kernel_view $snap_lv /run/view
kill_surely 'has_noted "\"freeze_id\": [0-9]"' merge "${slowly[@]}" $vg/$snap_lv
! has_file '*.journal' || fail "it was killed too late"
quietly lvremove -f $vg/$snap_lv
# `resume` succeeds, or a refusal names commands. The last command is the most specific one.
status=0
"$EXTMERGE" resume --batch-mode $vg/$snap_lv > /run/said 2>&1 || status=$?
if ((status != 0)); then
  has_freeze || fail "the only copy was removed"
  advice=$(grep -Eo "extmerge (merge|resume) $vg/[[:alnum:]_]+" /run/said | tail -n 1) || fail "no advice in: $(< /run/said)"
  note "the advice: $advice"
  read -r _ command name <<< "$advice"
  says 0 . "$command" --yes --batch-mode "$name"
fi
origin_is /run/view
! has_tag || fail "the origin is still tagged"
no_group

note "--finish killed while it copied, then given up: SNAP is active again, as it was"
new_everything 64k 8196k
before=$(state)
kernel_view $snap_lv /run/view
kill_surely is_copying merge --finish "${slowly[@]}" $vg/$snap_lv
! is_active $snap_lv || fail "SNAP was active while it was finished"
says 0 . abort $vg/$snap_lv
diff <(echo "$before") <(state) || fail "not everything was put back"

note "killed, then SNAP was made shorter: what was frozen is merged all the same"
kill_surely is_copying merge "${slowly[@]}" $vg/$snap_lv
shorten $vg/$snap_lv 4M
says 0 . resume --batch-mode $vg/$snap_lv
origin_is /run/view
nothing_left

turn_pool_read_only() {
  local table pool
  pool=$(dm_name $pool_lv)-tpool
  read -ra table < <(dmsetup table "$pool")
  dmsetup load "$pool" --table "${table[*]:0:7} 1 read_only"
  dmsetup suspend "$pool"
  dmsetup resume "$pool"
}
# origin_is_kept: no layer of the origin is writable.
origin_is_kept() { ! is_writable "" && ! is_writable -real && ! is_writable -extmerge; }

note "the pool turned read-only: resume refuses, and the origin's layers are read-only; then it goes on"
fresh 2
origin_data | tail -c +$((4 * 1024 * 1024 + 1)) >> /run/view
kill_surely is_copying merge "${slowly[@]}" $vg/$snap_lv
is_writable -real || fail "a kill put something back"
! is_writable -extmerge || fail "the kernel has not removed the node of the killed merge"
turn_pool_read_only
says '3|4' 'EXM-425' resume --batch-mode $vg/$snap_lv
origin_is_kept || fail "the origin was left writable"
quietly lvchange --refresh $vg/$pool_lv
says 0 . resume --batch-mode $vg/$snap_lv
origin_is /run/view
nothing_left

note "the pool turns read-only while it is copied from: the freeze stays in both, and the same command removes it"
fresh 6
origin_data | tail -c +$((4 * 1024 * 1024 + 1)) >> /run/view
"$EXTMERGE" merge "${slowly[@]}" $vg/$snap_lv > /run/slow_said 2>&1 &
merger=$!
until is_copying; do
  kill -0 $merger 2> /dev/null || fail "the merge ended too soon: $(< /run/slow_said)"
  pause 0.02
done
turn_pool_read_only
status=0
wait $merger || status=$?
((status == 4)) && grep -q 'EXM-425.*keeps' /run/slow_said || fail "it ended with $status: $(< /run/slow_said)"
has_freeze || fail "the freeze is gone from LVM's metadata, and not from the pool"
! has_tag || fail "the origin is still tagged"
origin_is_kept || fail "the origin was left writable"
quietly lvchange --refresh $vg/$pool_lv
merges $vg/$snap_lv
origin_is /run/view
nothing_left

# but_the_pool: drops the pool's lines, and those of what extmerge still has in it.
but_the_pool() { grep -Ev "extmerge|^$vg-$pool_lv-tpool| $pool_lv " | tr -s ' '; }
note "the same, and abort: all but the freeze is put back, which the next abort removes"
rm -f "$EXTMERGE_STATE_DIR"/*  # journals of earlier groups
fresh 3
before=$(state)
kill_surely is_copying merge "${slowly[@]}" $vg/$snap_lv
turn_pool_read_only
for try in 1 2; do
  says 4 "EXM-425.*keeps the freeze $vg/extmerge_[0-9a-f]*\. The marks" abort $vg/$snap_lv
  origin_is_kept || fail "the origin was left writable"
  ! has_tag || fail "the origin is still tagged: $(< /run/said)"
  has_freeze || fail "the freeze is gone from LVM's metadata, and not from the pool"
done
diff <(echo "$before" | but_the_pool) <(state | but_the_pool) || fail "not everything was put back"
says 0 'frozen in' status $vg/$snap_lv
quietly lvchange --refresh $vg/$pool_lv
says 0 'Given up.*' abort $vg/$snap_lv
diff <(echo "$before") <(state) || fail "not everything was put back"
! has_file '*.lvm' || fail "the record is still there"

note "the same, with the metadata snapshot held: it stays until the pool is writable"
fresh 13
kill_holding merge "${slowly[@]}" $vg/$snap_lv
turn_pool_read_only
says 4 'EXM-425.*keeps .*a metadata snapshot of extmerge' abort $vg/$snap_lv
is_held || fail "a read-only pool has released it"
origin_is_kept || fail "the origin was left writable"
quietly lvchange --refresh $vg/$pool_lv
is_held || fail "the pool has released it by itself"
says 0 'Given up.*' abort $vg/$snap_lv
nothing_left
no_group

note "killed with the metadata snapshot held, and then another snapshot's pool is looked at"
new_everything 64k 4100k
new_pool 128k 20M pool2
new_snapshot far pool2
fresh 4
kill_holding merge "${slowly[@]}" --allow-shared-origin $vg/$snap_lv
says '0|4' . plan $vg/far
says 0 . merge --yes --batch-mode --allow-shared-origin $vg/$snap_lv
! is_held || fail "the metadata snapshot is still held"
origin_is /run/view
quietly lvremove -y $vg/far $vg/pool2

note "the same, and then SNAP and the freeze are removed: abort releases it"
fresh 5
kill_holding merge "${slowly[@]}" $vg/$snap_lv
for lv in $(lvs_of lv_name | grep extmerge || true) $snap_lv; do
  quietly lvremove -f -y $vg/"$lv"
done
says 0 . abort $vg/$snap_lv
! is_held || fail "the metadata snapshot is still held"
nothing_left
no_group

note "--finish killed when it had removed SNAP, and the pool had been inactive"
new_everything 64k 4100k
for name in $vg/$snap_lv /dev/mapper/"$(dm_name $snap_lv)"; do
  is_there $snap_lv || new_snapshot
  fresh 6
  quietly lvchange -an $vg/$snap_lv $vg/$pool_lv
  kill_surely "has_noted '\"removing\": true' && ! is_there $snap_lv" merge --finish --yes --batch-mode $vg/$snap_lv
  says 6 "merge --finish $vg/$snap_lv" abort $vg/$snap_lv
  has_noted '"removing": true' || fail "abort forgot what was going on"
  says 0 'ordinary' merge --finish --yes --batch-mode "$name"
  is_plain || fail "the origin is no ordinary volume"
  ! pool_is_active || fail "the pool was left active"
  origin_is /run/view
  nothing_left
done
