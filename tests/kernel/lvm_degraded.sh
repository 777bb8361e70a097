#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
#
# lvm_degraded.sh TYPE: the origin is a raid of that type, and a leg fails before a merge or during one. The merge
# completes, says so, and the origin is right. After a repair all legs have the merged data. If more legs fail than the raid
# survives, the merge ends when the kernel answers, and can be resumed when they are back.
source "$(dirname "$0")/guest_lvm.sh"

type=$1
case $type in
  raid1) count=2 spare=1 modules=(raid1) arguments=(-m1) ;;
  raid10) count=4 spare=1 modules=(raid10) arguments=(-i2 -m1 -I4k) ;;
  raid5) count=3 spare=1 modules=(raid456) arguments=(-i2 -I4k) ;;
  raid6) count=5 spare=2 modules=(raid456) arguments=(-i3 -I4k) ;;
  *) fail "no such type: $type" ;;
esac
modprobe -q -d /run -a dm-raid "${modules[@]}" || {
  echo "skipped: this kernel lacks dm-raid or ${modules[*]}"
  exit 77
}
lvm_config '"a|/dev/mapper/leg.*|","r|/dev/ubdb|",'

# The legs are pieces of the second disk. A broken leg keeps its label and the group's metadata, so that no disk of the
# group is missing.
leg_size=$((($(sectors /dev/ubdb) / 8) & ~7)) head=2048
leg_table() { printf '0 %s linear /dev/ubdb %s\n' $leg_size $(($1 * leg_size)); }
broken_table() { printf '0 %s linear /dev/ubdb %s\n%s %s error\n' $head $(($1 * leg_size)) $head $((leg_size - head)); }
load() {
  dmsetup load "leg$1"
  dmsetup resume "leg$1"
}
breaks() { broken_table "$1" | load "$1"; }
mends() { leg_table "$1" | load "$1"; }
for ((i = 0; i < count; ++i)); do leg_table $i | dmsetup create leg$i; done
legs=()
for ((i = 0; i < count; ++i)); do legs+=(/dev/mapper/leg$i); done
disks=(/dev/ubda "${legs[@]}")

health() { dmsetup status "$(dm_name $origin_lv)${1--real}" | cut -d' ' -f6; }
wait_for_sync() {
  local i
  for ((i = 0; i < 300; ++i)); do
    [[ $(lvs_of raid_sync_action,copy_percent $vg/$origin_lv) != *idle*100.00* ]] || return 0
    pause 0.1
  done
  fail "the raid does not get in sync: $(lvs_of lv_name,raid_sync_action,copy_percent)"
}
find_origin() { :; }
origin_data() { dd if=/dev/mapper/"$(dm_name $origin_lv)"-real bs=1M iflag=direct status=none; }
# repaired: the legs are back, and in sync after a refresh
repaired() {
  local i
  for ((i = 0; i < count; ++i)); do mends $i; done
  quietly lvchange -an $vg/$snap_lv
  quietly lvchange -ay $vg/$snap_lv
  pause 0.5
  for ((i = 0; i < 200; ++i)); do
    [[ $(health) == *[Da]* ]] || return 0
    pause 0.1
  done
  fail "the raid is not whole again: $(dmsetup status)"
}

new_group
new_pool 64k 24M
quietly lvcreate -y -Wn -Zn -n $origin_lv -L 8M --type "$type" "${arguments[@]}" $vg "${legs[@]}"
stamp range /dev/$vg/$origin_lv 0 0 "$(sectors /dev/$vg/$origin_lv)"
wait_for_sync
new_snapshot

note "a leg fails before the merge"
change_snap
breaks 1
merges $vg/$snap_lv
origin_is /run/view
[[ $(health) == *D* ]] || fail "the leg has not failed: $(health)"

note "a merge into a degraded raid says so"
change_snap
says 0 'note .*is degraded \([AD]*\)' plan $vg/$snap_lv
merges $vg/$snap_lv
grep -q 'is degraded' /run/said || fail "not a word: $(< /run/said)"
origin_is /run/view
repaired
origin_is /run/view

note "a leg fails during the merge"
change_snap
"$EXTMERGE" merge --yes --batch-mode --rate-limit 1M --checkpoint-interval 64k $vg/$snap_lv > /run/said 2>&1 &
merger=$!
until is_copying || ! kill -0 $merger 2> /dev/null; do pause 0.02; done
breaks 0
wait $merger || fail "the merge failed: $(< /run/said)"
[[ $(health) == *D* ]] || fail "the leg has not failed: $(health)"
origin_is /run/view
repaired
origin_is /run/view

if [[ $type == raid1 ]]; then
  note "too many legs fail during the merge"
  change_snap
  "$EXTMERGE" merge --yes --batch-mode --rate-limit 1M --checkpoint-interval 64k $vg/$snap_lv > /run/said 2>&1 &
  merger=$!
  until is_copying || ! kill -0 $merger 2> /dev/null; do pause 0.02; done
  for ((i = 0; i <= spare; ++i)); do breaks $i; done
  status=0
  wait $merger || status=$?
  note "the merge ended with $status: $(tail -n 2 /run/said | tr '\n' ' ')"
  ((status != 0)) || fail "the merge succeeded"
  dmsetup status "$(dm_name $origin_lv)-real"
  refused=0
  "$EXTMERGE" merge --yes --batch-mode $vg/$snap_lv > /run/said 2>&1 || refused=$?
  note "a merge then ends with $refused: $(tail -n 2 /run/said | tr '\n' ' ')"
  ((refused != 0)) || fail "the merge succeeded"
  for ((i = 0; i < count; ++i)); do mends $i; done
  quietly lvchange -an $vg/$snap_lv
  quietly lvchange -ay $vg/$snap_lv
  pause 1
  dmsetup status "$(dm_name $origin_lv)-real"
  merges $vg/$snap_lv
  origin_is /run/view
  repaired
  origin_is /run/view
  nothing_left
fi

note "finished and scrubbed"
merges --finish $vg/$snap_lv
quietly lvchange -ay $vg/$origin_lv
wait_for_sync
quietly lvchange --syncaction check $vg/$origin_lv
wait_for_sync
[[ $(lvs_of raid_mismatch_count $vg/$origin_lv | tr -d ' ') == 0 ]] || fail "the legs differ"
kernel_view $origin_lv /run/origin_now
cmp /run/view /run/origin_now || fail "the origin is not what it should be"
[[ $type != raid1 ]] || exit 0

# ends_within SECONDS: the merge has ended
ends_within() {
  local i
  for ((i = 0; i < $1 * 10; ++i)); do
    kill -0 $merger 2> /dev/null || return 0
    pause 0.1
  done
  return 1
}
note "more legs fail during the merge than a $type survives"
new_snapshot
change_snap
"$EXTMERGE" merge --yes --batch-mode --rate-limit 250k --checkpoint-interval 64k $vg/$snap_lv > /run/said 2>&1 &
merger=$!
until is_copying || ! kill -0 $merger 2> /dev/null; do pause 0.02; done
for ((i = 0; i <= spare; ++i)); do breaks $i; done
if ! ends_within 20; then
  # md keeps the requests to such a raid456. Nothing can end a program that waits for them, not even SIGKILL.
  find_node "$(dm_name $origin_lv)-extmerge" && read -r reads writes < "$node/inflight"
  ((reads + writes > 0)) || fail "extmerge waits, and the kernel has no request of it: $(cat /proc/$merger/task/*/stack)"
  note "$reads reads and $writes writes are not answered: $(dmsetup status --noflush "$(dm_name $origin_lv)-real")"
fi
for ((i = 0; i < count; ++i)); do mends $i; done
ends_within 60 || fail "the merge does not end when the legs are back: $(cat /proc/$merger/task/*/stack)"
status=0
wait $merger || status=$?
note "the merge ended with $status: $(tail -n 2 /run/said | tr '\n' ' ')"
[[ $status =~ ^(0|4|7)$ ]] || fail "the merge ended with $status: $(< /run/said)"
quietly lvchange -an $vg/$snap_lv
if lvchange -ay $vg/$snap_lv &> /run/refused; then
  merges $vg/$snap_lv
  origin_is /run/view
  repaired
  origin_is /run/view
  nothing_left
else
  # md has recorded that too many legs failed.
  note "LVM does not activate the raid any more: $(< /run/refused)"
  says 4 EXM-426 merge --yes --batch-mode $vg/$snap_lv
  says 0 'state +copying' status $vg/$snap_lv
fi
