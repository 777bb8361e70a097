#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
#
# lvm_grown.sh [kills]: a snapshot that is longer than its origin, and has data there. --finish
# extends the origin and brings that data there. With `kills` it is stopped and killed while it
# copies; lvm_kill_points.sh grown kills it between its commands.
source "$(dirname "$0")/guest_lvm.sh"

length=$((24 << 20))
# grown: a snapshot of 24 MiB over an origin of 12 MiB, with data on both sides of the origin's end.
grown() {
  rm -f "$EXTMERGE_STATE_DIR"/* /run/sums
  new_group
  new_origin 12M
  new_pool 64k 80M
  new_snapshot
  quietly lvextend -y -L ${length}b $vg/$snap_lv
  stamp scatter /dev/$vg/$snap_lv 1 7 60
  kernel_view $snap_lv /run/view
}
# grown_with_files: the same with a file system that has grown.
grown_with_files() {
  rm -f "$EXTMERGE_STATE_DIR"/*
  new_group
  new_origin 12M
  quietly mkfs.ext4 -q -F /dev/$vg/$origin_lv
  new_pool 64k 80M
  new_snapshot
  quietly lvextend -y -L ${length}b $vg/$snap_lv
  quietly e2fsck -fy /dev/$vg/$snap_lv
  quietly resize2fs /dev/$vg/$snap_lv
  mount /dev/$vg/$snap_lv /run/mounted
  write_files /run/mounted new 40
  head -c 9M /dev/urandom > /run/mounted/large
  sums /run/mounted > /run/sums
  umount /run/mounted
  kernel_view $snap_lv /run/view
}
# is_whole: the origin is an ordinary volume with all that the snapshot had, and nothing is left.
is_whole() {
  nothing_left
  ! is_there $snap_lv || fail "the snapshot is still there"
  [[ $(lvs_of lv_name,lv_tags) != *extmerge* ]] || fail "left behind: $(lvs_of lv_name,lv_tags)"
  [[ $(lvs_of lv_attr $vg/$origin_lv) == *-wi* ]] || fail "the origin is not a writable plain volume"
  [[ $(lvs_of lv_size $vg/$origin_lv) == *"${length}B"* ]] || fail "the origin has $(lvs_of lv_size $vg/$origin_lv)"
  kernel_view $origin_lv /run/view_now
  cmp /run/view /run/view_now || fail "the origin is not as the snapshot was"
  [[ ! -e /run/sums ]] || origin_has_files /run/sums
  no_cookie
}
used_blocks() { dmsetup status --noflush "$(dm_name $pool_lv)-tpool" | awk '{ print $6 }'; }

if [[ ${1-} == kills ]]; then
note "stopped while it puts aside: all is as before"
grown
quietly lvchange -an $vg/$snap_lv
before=$(state)
# until_said PATTERN: waits until the finish says it.
until_said() {
  local i
  for ((i = 0; i < 3000; ++i)); do
    ! grep -q "$1" /run/finish || return 0
    pause 0.01
  done
  cat /run/finish
  fail "it does not say: $1"
}
# at_step PATTERN SIGNAL: runs a finish, and sends the signal once it says PATTERN.
at_step() {
  "$EXTMERGE" merge --yes --batch-mode --finish $vg/$snap_lv > /run/finish 2>&1 &
  finish=$!
  until_said "$1"
  kill "-$2" $finish
  status=0
  wait $finish 2> /dev/null || status=$?
  no_lvm_runs
}
at_step 'copied to' TERM
if ((status != 0)); then
  ((status == 143)) || { cat /run/finish; fail "it ended with $status"; }
  diff <(echo "$before") <(state) || fail "the stop did not put everything back"
fi
no_group

for step in 'copied to' 'copied back'; do
  note "killed at: $step"
  grown
  at_step "$step" KILL
  ((status == 137)) || fail "it ended with $status before it was killed"
  [[ $step != 'copied back' ]] || {
    ! is_active $origin_lv || fail "the origin is shown with a part missing"
    # The rest is in two places: the new volume, and the pool, which keeps the snapshot's blocks.
    is_held || fail "no metadata snapshot keeps the snapshot's blocks"
    [[ $(used_blocks) != 0/* ]] || fail "the pool has dropped the snapshot's blocks"
    says 6 'extmerge merge --finish' abort $vg/$snap_lv
  }
  "$EXTMERGE" status $vg/$snap_lv > /run/said 2>&1 || true
  cat /run/said
  merges --finish $vg/$snap_lv
  is_whole
  no_group
done

note "--when-closed: opened again and written to while the data is copied"
grown
exec 9<> /dev/mapper/"$(dm_name $snap_lv)"
"$EXTMERGE" merge --yes --batch-mode --finish --when-closed $vg/$snap_lv > /run/finish 2>&1 9>&- &
finish=$!
until_said 'may be closed now'
exec 9>&-
until_said 'copied to'
kill -STOP $finish
pause 0.5
quietly lvchange -ay -K $vg/$snap_lv
exec 9<> /dev/mapper/"$(dm_name $snap_lv)"
kill -CONT $finish
until_said 'activated just now'
stamp scatter /dev/$vg/$snap_lv 7 11 40
kernel_view $snap_lv /run/view
exec 9>&-
wait $finish || {
  cat /run/finish
  fail "it ended with $?"
}
(($(grep -c 'copied to' /run/finish) == 2)) || fail "the data is not copied again"
is_whole
no_group

note "after a reboot in the middle: nothing is active"
grown
at_step 'copied back' KILL
quietly vgchange -an $vg
sed -i 's/"boot": "[^"]*"/"boot": "another"/' "$EXTMERGE_STATE_DIR"/*.lvm
merges --finish $vg/$snap_lv
is_whole
no_group

note "somebody makes a snapshot of the origin meanwhile: the origin is extended, and stays read-only"
grown
at_step 'copied back' KILL
quietly lvcreate -y -s --thinpool $vg/$pool_lv -n reader $vg/$origin_lv
says 0 "$vg/$origin_lv stays read-only: reader reads it" merge --yes --finish $vg/$snap_lv
nothing_left
[[ $(lvs_of lv_size $vg/$origin_lv) == *"${length}B"* ]] || fail "the origin has $(lvs_of lv_size $vg/$origin_lv)"
kernel_view reader /run/view_now
cmp /run/view /run/view_now || fail "the reader is not as the snapshot was"
no_group
exit
fi

note "a snapshot in use is planned, refused by a merge, and finished"
grown_with_files
says 4 'EXM-411.*are not all zero' plan $vg/$snap_lv
grep -q "extmerge merge --finish $vg/$snap_lv extends the origin" /run/said || fail "the plan does not name the way"
refuses 4 'EXM-411' merge --yes $vg/$snap_lv
merges --finish $vg/$snap_lv
grep -q "lie past the end of $vg/$origin_lv: copied to" /run/said || fail "it does not say what happens"
is_whole
[[ $(used_blocks) == 0/* ]] || fail "the pool keeps blocks of the snapshot: $(used_blocks)"
no_group

note "all inactive, and an active origin"
grown
quietly lvchange -an $vg/$snap_lv $vg/$pool_lv
merges --finish $vg/$snap_lv
is_whole
no_group
grown
quietly lvchange -ay $vg/$origin_lv
merges --finish $vg/$snap_lv
is_active $origin_lv || fail "the origin is inactive now"
is_whole
no_group

note "--when-closed: extended while it waits"
grown
exec 9<> /dev/mapper/"$(dm_name $snap_lv)"
"$EXTMERGE" merge --yes --batch-mode --finish --when-closed $vg/$snap_lv > /run/finish 2>&1 9>&- &
finish=$!
for ((i = 0; i < 600; ++i)); do
  [[ ! $("$EXTMERGE" status $vg/$snap_lv 2> /dev/null) =~ state\ +waiting ]] || break
  pause 0.1
done
length=$((28 << 20))
quietly lvextend -y -L ${length}b $vg/$snap_lv
quietly dd if=/dev/urandom of=/dev/$vg/$snap_lv bs=1M seek=25 count=2 oflag=direct conv=fsync
kernel_view $snap_lv /run/view
exec 9>&-
wait $finish || { cat /run/finish; fail "it ended with $?"; }
cat /run/finish
is_whole
length=$((24 << 20))
no_group

note "zeros past the end are no data: the origin stays as it is"
grown
quietly dd if=/dev/zero of=/dev/$vg/$snap_lv bs=1M seek=12 count=12 oflag=direct conv=fsync
merges --finish $vg/$snap_lv
[[ $(lvs_of lv_size $vg/$origin_lv) == *"$((12 << 20))B"* ]] || fail "the origin was extended"
nothing_left
no_group

note "--beyond-origin=drop gives it up"
grown
merges --finish --beyond-origin=drop $vg/$snap_lv
[[ $(lvs_of lv_size $vg/$origin_lv) == *"$((12 << 20))B"* ]] || fail "the origin was extended"
nothing_left
no_group

note "refused: no room, and another reader"
grown
quietly lvcreate -y -Wn -Zn -an -n filler -l 95%FREE $vg
refuses 3 'EXM-301.*free' merge --yes --finish $vg/$snap_lv
says 4 'lvcreate -L' plan $vg/$snap_lv
quietly lvremove -y $vg/filler
new_snapshot reader
refuses 4 'EXM-412.*reader' merge --yes --finish --allow-shared-origin $vg/$snap_lv
quietly lvremove -y $vg/reader
no_group
