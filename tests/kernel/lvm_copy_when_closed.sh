#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
#
# copy --when-closed: SNAP is copied to a thin of another pool in rounds while it is open and written to. Soon after it is
# closed, the target shows its last state, and SNAP stays inactive. The wait can be stopped, and a kill loses nothing.
source "$(dirname "$0")/guest_lvm.sh"
source "$(dirname "$0")/guest_waiting.sh"

target=/dev/$vg/moved
copying=(copy --yes --batch-mode --when-closed --until 1M)
begin() {
  rm -f "$EXTMERGE_STATE_DIR"/*
  new_everything 64k 8200k 32M
  new_pool 64k 32M pool2
  new_snapshot moved pool2
  open_snap
  find_origin
  origin_before=$(origin_data | sha256sum)
}
journal() { echo "$EXTMERGE_STATE_DIR"/*.journal; }
until_copy_waits() { # its journal appears first
  until has_file '*.journal'; do
    kill -0 $finish 2> /dev/null || fail "it ended: $(< /run/finish)"
    pause 0.1
  done
  until_it_waits "$(journal)"
}
is_moved() {
  ends 0 "$vg/$snap_lv stays inactive .*$target has its last state"
  ! is_active $snap_lv || fail "SNAP is active"
  [[ $(lvs_of lv_skip_activation $vg/$snap_lv) == *skip* ]] || fail "the next boot would activate SNAP"
  kernel_view moved /run/moved
  cmp /run/view /run/moved || fail "the target is not what SNAP showed"
  [[ $(origin_data | sha256sum) == "$origin_before" ]] || fail "the origin has changed"
  # As extmerge says.
  quietly lvchange -kn -ay $vg/$snap_lv
  kernel_view $snap_lv /run/again
  cmp /run/view /run/again || fail "SNAP has changed"
  nothing_left
  no_cookie
}

note "written to, then closed"
begin
in_background "${copying[@]}" $vg/$snap_lv $target
stamp scatter /dev/$vg/$snap_lv 2 5 20
until_copy_waits
grep -q 'may be closed now: everything is copied' /run/finish || fail "it does not say that SNAP may be closed"
note "nobody else gets the target while it waits"
mkfs.ext4 -q -F $target 2> /dev/null && fail "the target can be claimed"
says 6 EXM-605 "${copying[@]}" $vg/$snap_lv $target
before=$(stat -c %Y /usr/sbin/lvm; state_of_group ,transaction_id)
pause 2
[[ $before == "$(stat -c %Y /usr/sbin/lvm; state_of_group ,transaction_id)" ]] || fail "the wait changes the group"
stamp scatter /dev/$vg/$snap_lv 3 11 40
blkdiscard -o $((2 * 65536)) -l 65536 /dev/mapper/"$(dm_name $snap_lv)"
kernel_view $snap_lv /run/view
close_snap
is_moved
note "$(grep -o 'out of use for [0-9.]* seconds' /run/finish)"

note "again, of a volume that nobody has open: no wait, and nothing to copy"
kernel_view $snap_lv /run/view
in_background "${copying[@]}" $vg/$snap_lv $target
is_moved

note "inactive before"
change_snap
quietly lvchange -an $vg/$snap_lv
in_background "${copying[@]}" $vg/$snap_lv $target
is_moved

note "stopped while it waits: SNAP is used as before"
open_snap
change_snap
before=$(state)
in_background "${copying[@]}" $vg/$snap_lv $target
until_copy_waits
kill -TERM $finish
ends 143 'EXM-704.*stays as it was'
nothing_left
diff <(echo "$before") <(state) || fail "the stop did not put everything back"

note "the time to wait is over"
in_background "${copying[@]}" --timeout 1s $vg/$snap_lv $target
ends 5 'EXM-508.*still open'
nothing_left
diff <(echo "$before") <(state) || fail "the end of the wait did not put everything back"

note "killed while it waits, and in the last round: the same command goes on"
stamp scatter /dev/$vg/$snap_lv 21 9 50
in_background "${copying[@]}" $vg/$snap_lv $target
until_copy_waits
kill -9 $finish
wait $finish 2> /dev/null || true
stamp scatter /dev/$vg/$snap_lv 22 9 50
kernel_view $snap_lv /run/view
close_snap
kill_when "! is_active $snap_lv && has_freeze" "${copying[@]}" --rate-limit 200k $vg/$snap_lv $target
[[ $killed == yes ]] || fail "it ended before it was killed: $(< /run/said)"
in_background "${copying[@]}" $vg/$snap_lv $target
is_moved

note "killed in the last round, and given up: SNAP is as before"
change_snap
before=$(state_of_group)
kill_when "! is_active $snap_lv && has_freeze" "${copying[@]}" --rate-limit 200k $vg/$snap_lv $target
[[ $killed == yes ]] || fail "it ended before it was killed: $(< /run/said)"
says 0 'Given up' abort "$(journal)"
nothing_left
diff <(echo "$before") <(state_of_group) || fail "not everything was put back"
no_group

note "opened again by somebody at the last moment"
begin
in_background "${copying[@]}" --rate-limit 2M $vg/$snap_lv $target
until_copy_waits
stamp scatter /dev/$vg/$snap_lv 6 3 40
kernel_view $snap_lv /run/view
close_snap
if opened_again; then
  until_copy_waits
  stamp scatter /dev/$vg/$snap_lv 7 5 60
  kernel_view $snap_lv /run/view
  close_snap
  note "it waited again"
else
  note "it was faster"
fi
is_moved
no_group
