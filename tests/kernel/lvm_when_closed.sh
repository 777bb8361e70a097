#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
#
# merge --finish --when-closed: SNAP is merged in rounds while it is open and written to. It is
# removed soon after it is closed. The wait runs no LVM, can be stopped, ends in time, and begins
# again where SNAP is opened again. SIGKILL at any moment loses nothing.
source "$(dirname "$0")/guest_lvm.sh"
source "$(dirname "$0")/guest_waiting.sh"

begin() {
  rm -f "$EXTMERGE_STATE_DIR"/*
  new_everything 64k
  open_snap
}
# finish_in_background ARGUMENT...: starts a finish of SNAP.
finish_in_background() {
  in_background merge --yes --batch-mode --finish --when-closed --until 1M "$@" $vg/$snap_lv
}
is_finished() {
  ends 0 "$vg/$snap_lv is removed; .*out of use for [0-9.]+ seconds"
  nothing_left
  ! is_there $snap_lv || fail "the snapshot is still there"
  [[ $(lvs_of lv_attr $vg/$origin_lv) == *-wi* ]] || fail "the origin is not a writable plain volume"
  origin_is /run/view
  no_cookie
}

note "written to, then closed"
begin
finish_in_background
stamp scatter /dev/$vg/$snap_lv 2 5 20
until_it_waits $vg/$snap_lv
grep -q 'may be closed now' /run/finish || fail "it does not say that SNAP may be closed"
"$EXTMERGE" status --json $vg/$snap_lv | grep -q '"waiting": true' || fail "status has no waiting"
[[ $(lvs_of lv_skip_activation $vg/$snap_lv) != *skip* ]] || fail "the wait keeps SNAP from being activated"
! dd if=/dev/mapper/"$(dm_name $origin_lv)" of=/dev/null bs=4k count=1 status=none 2> /dev/null ||
  fail "the origin can be read while it is kept"
says 6 'EXM-605' merge --yes --batch-mode --finish --when-closed $vg/$snap_lv
before=$(stat -c %Y /usr/sbin/lvm; state_of_group ,transaction_id)
pause 2
[[ $before == "$(stat -c %Y /usr/sbin/lvm; state_of_group ,transaction_id)" ]] || fail "the wait changes the group"
stamp scatter /dev/$vg/$snap_lv 3 11 40
kernel_view $snap_lv /run/view
close_snap
is_finished
note "$(grep -o 'out of use for.*' /run/finish)"
no_group

note "stopped while it waits"
begin
before=$(state)
finish_in_background
until_it_waits $vg/$snap_lv
kill -TERM $finish
ends 143 'EXM-704'
nothing_left
diff <(echo "$before") <(state) || fail "the stop did not put everything back"
"$EXTMERGE" status --json $vg/$snap_lv | grep -q '"waiting": false' || fail "the record says that it waits"
kernel_view $snap_lv /run/view
origin_is /run/view

note "the time to wait is over"
finish_in_background --timeout 1s
ends 5 'EXM-508.*still open'
nothing_left
diff <(echo "$before") <(state) || fail "the end of the wait did not put everything back"

note "killed while it waits"
stamp scatter /dev/$vg/$snap_lv 4 9 50
finish_in_background
until_it_waits $vg/$snap_lv
kill -9 $finish
wait $finish 2> /dev/null || true
no_lvm_runs
kernel_view $snap_lv /run/view
merges $vg/$snap_lv
nothing_left
origin_is /run/view

note "nobody has it open: no wait"
close_snap
stamp scatter /dev/$vg/$snap_lv 5 9 10
kernel_view $snap_lv /run/view
merges --finish --when-closed $vg/$snap_lv
nothing_left
origin_is /run/view
! is_there $snap_lv || fail "the snapshot is still there"
no_group

note "a snapshot of SNAP is made while it waits: the last round knows it"
begin
finish_in_background
until_it_waits $vg/$snap_lv
stamp scatter /dev/$vg/$snap_lv 3 11 40
quietly lvcreate -y -s -n inner $vg/$snap_lv
kernel_view $snap_lv /run/view
close_snap
ends 0 "$vg/$snap_lv is removed; $vg/$origin_lv stays read-only: inner reads it"
nothing_left
origin_is /run/view
no_group

note "open for a moment: --finish without --when-closed waits as long"
new_everything 64k
kernel_view $snap_lv /run/view
open_snap
sleep 1 &
close_snap
merges --finish $vg/$snap_lv
nothing_left
origin_is /run/view
no_group

note "opened again by somebody at the last moment"
begin
finish_in_background --rate-limit 2M
until_it_waits $vg/$snap_lv
stamp scatter /dev/$vg/$snap_lv 6 3 40
close_snap
if opened_again; then
  until_it_waits $vg/$snap_lv
  stamp scatter /dev/$vg/$snap_lv 7 5 60
  kernel_view $snap_lv /run/view
  close_snap
  is_finished
  note "it waited again"
else
  ends 0 'is removed'
  note "it was faster"
fi
no_group

note "--until is smaller than a block of the pool"
rm -f "$EXTMERGE_STATE_DIR"/*
new_everything 128k
open_snap
before=$(state_of_everything)
says 1 'EXM-101: --until is smaller than a block' merge --yes --batch-mode --finish --when-closed --until 64k $vg/$snap_lv
nothing_left
diff <(echo "$before") <(state_of_everything) || fail "the refusal changed something"
close_snap
no_group

note "a file system in use"
rm -f "$EXTMERGE_STATE_DIR"/*
new_group
new_origin 16M
quietly mkfs.ext4 -q -F /dev/$vg/$origin_lv
new_pool 64k 80M
new_snapshot
mount /dev/$vg/$snap_lv /run/mounted
finish_in_background
write_files /run/mounted new 30
until_it_waits $vg/$snap_lv
write_files /run/mounted newer 30
sums /run/mounted > /run/sums
umount /run/mounted
ends 0 "is removed; .*out of use for [0-9.]+ seconds"
nothing_left
origin_has_files /run/sums
no_group
