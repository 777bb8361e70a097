#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
#
# power_cuts.sh CUTS: power cuts as a real kernel's block layer has them. dm-log-writes logs a merge's origin and the
# file system of its journal and undo log, in one log. The test restores both as they were after each write, or
# after CUTS of the writes. Then it compares the snapshot's view. The same command must then end with the right
# bytes. At every eighth cut an undo must end with the bytes from before the merge.
#
# The file system has a journal: in a trial ext4 without a journal had lost synced bytes after e2fsck.
source "$(dirname "$0")/guest.sh"
modprobe -d /run -a dm-log-writes
base=/dev/ubdc writes_log=/dev/ubdd replayed=/dev/ubde
size=8192 state_at=8192 state_size=24576  # sectors

dmsetup create base --table "0 $size linear $base 0"
stamp range /dev/mapper/base 0 0 $size
dmsetup remove base
dmsetup create base --table "0 $state_size linear $base $state_at"
mkfs.ext4 -q -F -b 1024 -J size=1 -E lazy_itable_init=0,nodiscard /dev/mapper/base
mkdir /run/mounted
mount /dev/mapper/base /run/mounted
mkdir -m 700 /run/mounted/state
umount /run/mounted
dmsetup remove base

# over DEVICE: makes the origin and the state over that device, always by the same names.
over() {
  dmsetup create origin --table "0 $size linear $1 0"
  dmsetup create state --table "0 $state_size linear $1 $state_at"
}
origin=/dev/mapper/origin
export EXTMERGE_STATE_DIR=/run/mounted/state
log=/run/mounted/state/undo

note "a snapshot of the origin"
over $base
make_pool
message "create_thin 0"
thin parent 0 $size $origin
stamp scatter /dev/mapper/parent 1 3 40
snapshot 1 0 parent
dmsetup remove parent
kernel_reads 1 $size $origin /run/view
dd if=$origin of=/run/before bs=1M iflag=direct status=none
message reserve_metadata_snap
source_of 1 $size
dmsetup remove origin
dmsetup remove state
dd if=$base of=/run/first bs=1M iflag=direct status=none

note "the merge, logged"
merge=(merge --yes --batch-mode --undo-log $log --buffer-size 64k --io-size 32k
  --checkpoint-interval 128k --verify none)
dmsetup create logged --table "0 $(sectors $base) log-writes $base $writes_log"
over /dev/mapper/logged
mount /dev/mapper/state /run/mounted
"$EXTMERGE" "${merge[@]}" "${source[@]}" > /run/said 2>&1 || fail "the merge: $(< /run/said)"
umount /run/mounted
same "the origin is not what the snapshot was" /run/view $origin
dmsetup remove origin
dmsetup remove state
dmsetup remove logged

coproc REPLAY { python3 -B "$here/log_writes.py" $writes_log /run/first $replayed; }
read -r -u "${REPLAY[0]}" writes
note "$writes writes"
((writes >= 150)) || fail "a merge writes more often than that"
over $replayed

cuts=0 done_before=0 undone=0
step=$((writes > $1 ? writes / $1 : 1))
for ((cut = 0; cut <= writes; cut += step)); do
  echo $cut >&"${REPLAY[1]}"
  read -r -u "${REPLAY[0]}" _
  kernel_reads 1 $size $origin /run/now
  cmp /run/view /run/now || fail "after $cut writes the snapshot's view has changed"
  mount /dev/mapper/state /run/mounted
  status=0
  "$EXTMERGE" "${merge[@]}" "${source[@]}" > /run/said 2>&1 || status=$?
  if ((status == 6)) && grep -q EXM-604 /run/said; then
    status=0
    done_before=$((done_before + 1))
  fi
  ((status == 0)) || fail "after $cut writes, run again: $(< /run/said)"
  same "after $cut writes, run again, the origin is not what the snapshot was" /run/view $origin
  if ((cuts % 8 == 0)); then
    "$EXTMERGE" undo --yes --batch-mode "$EXTMERGE_STATE_DIR"/*.journal > /run/said 2>&1 ||
      fail "after $cut writes, undone: $(< /run/said)"
    same "after $cut writes, undone, the origin is not what it was" /run/before $origin
    undone=$((undone + 1))
  fi
  umount /run/mounted
  cuts=$((cuts + 1))
done
((done_before > 0 && done_before < cuts)) || fail "$done_before of $cuts were done before"
note "$cuts cuts, $done_before of them after the end, $undone undone"
