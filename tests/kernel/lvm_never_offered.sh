#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
#
# SNAP's file system and the origin's have the same UUID and label. While the origin is half merged, no search for
# these finds the origin: not by udev's links, libblkid or mount. SNAP is mounted, unmounted or deactivated; the
# merge runs, was stopped, or was killed. An active origin keeps its names. Needs udevd.
source "$(dirname "$0")/guest_lvm.sh"
[[ $udev == 1 ]] || { echo "skipped: this is about udevd"; exit 77; }

uuid=11111111-2222-4333-8444-555555555555 label=twin
# offered: prints the devices that a search for the file system finds.
offered() {
  local link
  for link in /dev/disk/by-uuid/$uuid /dev/disk/by-label/$label; do
    [[ ! -L $link ]] || readlink -f "$link"
  done
  {
    blkid -c /dev/null -U $uuid
    blkid -c /dev/null -L $label
    blkid -c /dev/null -t UUID=$uuid -o device
    lsblk -rnpo NAME,UUID | awk -v uuid=$uuid '$2 == uuid { print $1 }'
  } | while read -r link; do readlink -f "$link"; done
}
# number_of NAME: prints the volume's node, /dev/dm-3, or nothing if there is none.
number_of() { ! find_node "$(dm_name "$1")" || printf '/dev/%s\n' "${node##*/}"; }
# not_offered WHEN [may_leave_cookie]: no node of the origin is offered, and SNAP only if it is active.
not_offered() {
  local found snap
  udevadm settle
  snap=$(number_of $snap_lv)
  for found in $(offered); do
    [[ -n $snap && $found == "$snap" ]] || {
      dmsetup ls --tree
      fail "$1: $found is offered ($(< "/sys/block/${found##*/}/dm/name"))"
    }
  done
  if [[ -z $snap ]] && mount -o ro UUID=$uuid /run/mounted 2> /dev/null; then
    fail "$1: $(findmnt -no SOURCE /run/mounted) is mounted by its UUID"
  fi
  [[ ${2-} == may_leave_cookie ]] || no_cookie
}
# is_named WHEN: an active origin has its names, even during a merge.
is_named() {
  local number
  number=$(number_of $origin_lv)
  [[ -n $number && $(readlink -f /dev/$vg/$origin_lv) == "$number" && $(readlink -f "/dev/mapper/$(dm_name $origin_lv)") == "$number" ]] ||
    fail "$1: the origin has lost its names: $(ls /dev/mapper /dev/$vg)"
}

# start_merge: starts a slow merge and waits until it copies.
rate=60k
start_merge() {
  "$EXTMERGE" merge --yes --batch-mode --rate-limit "$rate" --buffer-size 64k --checkpoint-interval 64k $vg/$snap_lv > /run/slow_said 2>&1 &
  merger=$!
  until is_copying; do
    kill -0 $merger 2> /dev/null || fail "the merge ended too soon: $(< /run/slow_said)"
    pause 0.02
  done
}
# end_merge SIGNAL
end_merge() {
  kill -"$1" $merger
  wait $merger 2> /dev/null || true
  no_lvm_runs
}
# write_snap: writes new files. SNAP is then mounted or not, and active or not, as before.
write_snap() {
  local was_active=yes was_mounted=yes
  is_active $snap_lv || was_active=no
  mountpoint -q /run/mounted || was_mounted=no
  [[ $was_active == yes ]] || quietly lvchange -ay -K $vg/$snap_lv
  [[ $was_mounted == yes ]] || mount /dev/$vg/$snap_lv /run/mounted
  rm -f /run/mounted/round*
  write_files /run/mounted "round$((++generation))" 12
  sync
  [[ $was_mounted == yes ]] || umount /run/mounted
  [[ $was_active == yes ]] || quietly lvchange -an $vg/$snap_lv
}
generation=0
# merges_or_done: another round merges the writes since the killed merge's freeze, or has nothing to do.
merges_or_done() {
  local status=0
  "$EXTMERGE" merge --yes --batch-mode $vg/$snap_lv > /run/said 2>&1 || status=$?
  ((status == 0)) || [[ $status == 6 && $(< /run/said) == *EXM-604* ]] || fail "the next round ended with $status: $(< /run/said)"
}

new_group
new_origin 24M
quietly mkfs.ext4 -q -F -U $uuid -L $label /dev/$vg/$origin_lv
new_pool 64k 120M
new_snapshot

# all_ways HOW SIGNALS: checks during a merge and after each of the signals, and completes the merge.
all_ways() {
  local how=$1
  for signal in $2; do
    write_snap
    start_merge
    not_offered "$how, during the merge"
    udevadm trigger --subsystem-match=block
    not_offered "$how, during the merge, after udevadm trigger"
    links_are_right
    ! is_active $origin_lv || is_named "$how, during the merge"
    end_merge $signal
    not_offered "$how, after SIG$signal"
    links_are_right
    ! is_active $origin_lv || is_named "$how, after SIG$signal"
    udevadm trigger --subsystem-match=block
    not_offered "$how, after SIG$signal and udevadm trigger"
    if [[ $how == *mounted* ]]; then
      umount /run/mounted
      not_offered "$how, after SIG$signal, SNAP unmounted"
      quietly lvchange -an $vg/$snap_lv
      not_offered "$how, after SIG$signal, SNAP deactivated"
      quietly lvchange -ay -K $vg/$snap_lv
      mount /dev/$vg/$snap_lv /run/mounted
    fi
    merges $vg/$snap_lv
    nothing_left
    no_cookie
    mountpoint -q /run/mounted || {
      kernel_view $snap_lv /run/view
      merges_or_done
      origin_is /run/view
    }
    ! is_active $origin_lv || is_named "$how, after the merge"
  done
}

for origin_state in inactive active; do
  [[ $origin_state == inactive ]] || quietly lvchange -ay -K $vg/$origin_lv
  note "the origin is $origin_state"
  mount /dev/$vg/$snap_lv /run/mounted
  all_ways "origin $origin_state, SNAP mounted" "TERM KILL"
  umount /run/mounted
  all_ways "origin $origin_state, SNAP closed" KILL
  quietly lvchange -an $vg/$snap_lv
  all_ways "origin $origin_state, SNAP inactive" "TERM KILL"
  quietly lvchange -ay $vg/$snap_lv
done

note "given up: an active origin is there again, by its names, and can be read"
write_snap
start_merge
end_merge KILL
quietly "$EXTMERGE" abort $vg/$snap_lv
is_named "after an abort"
quietly blkid -p /dev/$vg/$origin_lv
no_cookie
nothing_left
quietly lvchange -an $vg/$origin_lv

note "an undo that is killed: the origin is a mixture again"
quietly lvchange -ay -K $vg/$origin_lv
merges $vg/$snap_lv
rate=1M
write_snap
merges --undo-log /run/state/undo $vg/$snap_lv
kill_when '[[ $(dmsetup table "$(dm_name $origin_lv)") == *error* ]]' undo --yes --batch-mode $vg/$snap_lv
[[ $killed == yes ]] || fail "the undo was not killed"
not_offered "an undo, after a kill" may_leave_cookie # the next run removes the cookie
is_named "an undo, after a kill"
links_are_right
says '0|6' . undo --yes --batch-mode $vg/$snap_lv
is_named "after an undo"
no_cookie
nothing_left
quietly lvchange -an $vg/$origin_lv

# The next merges run to their end, with all that SNAP maps by now.
rate=1M
note "activated by somebody in mid-merge, the origin is hidden, and inactive again at the end"
write_snap
start_merge
quietly lvchange -ay -K $vg/$origin_lv
until [[ $(dmsetup table "$(dm_name $origin_lv)") == *error* ]]; do
  kill -0 $merger 2> /dev/null || fail "it was never hidden: $(< /run/slow_said)"
  pause 0.05
done
not_offered "activated in mid-merge"
wait $merger || fail "the merge failed: $(< /run/slow_said)"
! is_active $origin_lv || fail "the origin stays active"
nothing_left

note "SNAP is deactivated in mid-merge: no layer of the origin stays"
write_snap
start_merge
quietly lvchange -an $vg/$snap_lv
wait $merger || fail "the merge failed: $(< /run/slow_said)"
! find_node "$(dm_name $origin_lv)-real" || fail "the layer is left: $(dmsetup ls --tree)"
nothing_left
no_cookie

[[ -v EXTMERGE_WHOLE_SYSTEM ]] || exit 0
note "a mount unit by UUID that is stopped and started in mid-merge mounts SNAP, and nothing else where SNAP is inactive"
# is_mounted WHEN: the unit has mounted SNAP.
is_mounted() {
  udevadm settle
  systemctl -q is-active run-mounted.mount || fail "$1: $(systemctl status run-mounted.mount)"
  [[ $(findmnt -no SOURCE /run/mounted) == "/dev/mapper/$(dm_name $snap_lv)" ]] ||
    fail "$1: $(findmnt -no SOURCE /run/mounted) is mounted"
}
restart() {
  systemctl stop run-mounted.mount
  systemctl start run-mounted.mount
  is_mounted "$1"
}
mkdir -p /run/systemd/system
cat > /run/systemd/system/run-mounted.mount << UNIT
[Mount]
What=/dev/disk/by-uuid/$uuid
Where=/run/mounted
UNIT
systemctl daemon-reload
quietly lvchange -ay -K $vg/$snap_lv
restart "before the merge"
rate=60k
write_snap
start_merge
is_mounted "during the merge"
restart "during the merge"
end_merge KILL
restart "after a kill"
systemctl stop run-mounted.mount
quietly lvchange -an $vg/$snap_lv
systemctl start --no-block run-mounted.mount # the unit waits for a device with that UUID
pause 3
! mountpoint -q /run/mounted || fail "$(findmnt -no SOURCE /run/mounted) is mounted, and SNAP is inactive"
quietly lvchange -ay -K $vg/$snap_lv
systemctl start run-mounted.mount
is_mounted "SNAP active again"
merges $vg/$snap_lv
is_mounted "after the merge"
systemctl stop run-mounted.mount
nothing_left
no_cookie
