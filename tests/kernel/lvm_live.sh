#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
#
# A merge while SNAP is mounted and written all the time. The test reads SNAP's freeze
# during the merge, and the origin becomes equal to it. SNAP itself loses nothing.
# Another round merges later writes, and --finish merges the rest when SNAP is closed.
source "$(dirname "$0")/guest_lvm.sh"

# write_forever: makes, overwrites and removes files until /run/stop exists.
# /run/written has the checksum of each new file once the file is complete.
write_forever() {
  local i
  for ((i = 0; ; ++i)); do
    [[ ! -e /run/stop ]] || return 0
    head -c 30000 /dev/urandom > /run/mounted/live$i
    dd if=/dev/urandom of=/run/mounted/scratch bs=4k count=3 seek=$((RANDOM % 100)) conv=notrunc,fsync status=none
    ((i < 40)) || rm /run/mounted/live$((i - 40))
    sync /run/mounted/live$i
    (cd /run/mounted && sha256sum live$i >> /run/written)
    sleep 0.02
  done
}
start_writing() {
  rm -f /run/stop
  : > /run/written
  write_forever &
  writer=$!
  while (($(wc -l < /run/written) < 5)); do sleep 0.05; done
}
# stop_writing: stops the writer and checks that SNAP has the old and the latest new files.
stop_writing() {
  touch /run/stop
  wait $writer || fail "writing to SNAP failed"
  (cd /run/mounted && grep 'old' /run/sums | sha256sum --quiet -c) || fail "SNAP lost an old file"
  (cd /run/mounted && tail -n 40 /run/written | sha256sum --quiet -c) || fail "SNAP lost a new file"
}

# merge_while_written: merges during writes. The origin is then equal to /run/freeze.
merge_while_written() {
  local merger written status=0
  start_writing
  "$EXTMERGE" merge --yes --batch-mode --rate-limit 3M $vg/$snap_lv > /run/said 2>&1 &
  merger=$!
  # The test must not activate the freeze before the merge has claimed the origin. The merge
  # would refuse it like any other device over the origin.
  while ! is_copying; do
    kill -0 $merger || {
      cat /run/said
      fail "the merge ended without having copied"
    }
    sleep 0.05
  done
  kill -STOP $merger # so that the merge does not end before this check, even on a slow machine
  is_copying || fail "the merge was over too soon to tell anything"
  local freeze
  freeze=$(lvs_of lv_name | grep extmerge | tr -d ' ')
  [[ $(lvs_of lv_tags $vg/"$freeze") == *extmerge.freeze* ]] || fail "the freeze has no tag"
  note "the freeze is $freeze"
  kernel_view "$freeze" /run/freeze
  written=$(wc -l < /run/written)
  kill -CONT $merger
  wait $merger || status=$?
  ((status == 0)) || {
    cat /run/said
    fail "the merge ended with $status"
  }
  (($(wc -l < /run/written) > written)) || fail "SNAP was not written during the merge"
  stop_writing
  origin_is /run/freeze
  nothing_left
}

new_group
new_origin 48M
quietly mkfs.ext4 -q -F /dev/$vg/$origin_lv
mount /dev/$vg/$origin_lv /run/mounted
write_files /run/mounted old 20
umount /run/mounted
new_pool 64k 160M
new_snapshot
mount /dev/$vg/$snap_lv /run/mounted
write_files /run/mounted older 20
head -c 500000 /dev/zero > /run/mounted/scratch
sync
sums /run/mounted > /run/sums

note "merging while SNAP is mounted and written"
before=$(state_of_group && state_of_kernel)
merge_while_written
diff <(echo "$before") <(state_of_group && state_of_kernel) || fail "merge did not put everything back"
grep -Eqi 'freeze|frozen' /run/said || {
  cat /run/said
  fail "merge does not say that it is the freeze that was merged"
}

note "and once more: what has been written since"
merge_while_written
diff <(echo "$before") <(state_of_group && state_of_kernel) || fail "merge did not put everything back"

note "SNAP is in use"
refuses 5 "$snap_lv" merge --finish --yes $vg/$snap_lv

note "closed, it can be finished: the rest is merged, and SNAP goes"
sums /run/mounted > /run/sums
umount /run/mounted
kernel_view $snap_lv /run/view
! cmp -s /run/view /run/freeze || fail "there is nothing left to merge"
merges --finish $vg/$snap_lv
! is_there $snap_lv || fail "SNAP is still there"
nothing_left
origin_is /run/view
[[ $(lvs_of lv_attr $vg/$origin_lv) == *-wi* ]] || fail "the origin is not a writable plain volume"
origin_has_files /run/sums
no_group
[[ $(dmsetup table) == 'No devices found' ]] || fail "devices are left"
