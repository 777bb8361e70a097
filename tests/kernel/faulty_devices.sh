#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Merges and undos over devices that fail as real ones do. Writes fail or are lost silently
# (dm-flakey). A table of errors replaces the origin's table during the merge. Sectors of the pool are
# unreadable (dm-dust). SIGKILL comes while writes are in flight (dm-delay). Each run fails with the
# right status. Once the device works again, the same command ends with the right bytes.
source "$(dirname "$0")/guest.sh"
modprobe -d /run -a dm-flakey dm-dust dm-delay

# The pool's data lies on a device that can have bad sectors. The origin's device gets other tables.
dmsetup create dusty --table "0 $(sectors $data) dust $data 0 512"
disk=$origin size=$(sectors $origin)
stamp range $disk 0 0 "$size"
dmsetup create origin --table "0 $size linear $disk 0"
origin=/dev/mapper/origin
make_pool /dev/mapper/dusty
data=/dev/mapper/dusty
message "create_thin 0"
thin parent 0 "$size" $origin
stamp scatter /dev/mapper/parent 1 7 60
snapshot 1 0 parent
dmsetup remove parent
kernel_reads 1 "$size" $origin /run/view
dd if=$disk of=/run/before bs=1M iflag=direct status=none
message reserve_metadata_snap
source_of 1 "$size"
mkdir -m 700 /run/saved
log=/run/saved/undo
options=(--yes --batch-mode --verify full --buffer-size 64k --checkpoint-interval 256k)

# origin_becomes TABLE: replaces the origin's table while the origin stays open.
origin_becomes() {
  dmsetup suspend --nolockfs --noflush origin
  dmsetup load origin --table "$1"
  dmsetup resume origin
}
well() { origin_becomes "0 $size linear $disk 0"; }
start_over() {
  well
  rm -rf "$EXTMERGE_STATE_DIR" /run/saved
  mkdir -m 700 "$EXTMERGE_STATE_DIR" /run/saved
  dd if=/run/before of=$disk bs=1M oflag=direct conv=notrunc status=none
}
# fails STATUS ID ARGUMENT...: extmerge ends so, and the snapshot's view does not change.
fails() {
  local status=0 expected=$1 id=$2
  shift 2
  "$EXTMERGE" "$@" > /run/said 2>&1 || status=$?
  [[ $status == "$expected" ]] && grep -q "$id" /run/said || {
    cat /run/said
    fail "extmerge $* ended with $status, not with $expected and $id"
  }
  well
  dmsetup message dusty 0 disable 2> /dev/null || true
  view_is_kept
}
view_is_kept() {
  kernel_reads 1 "$size" $origin /run/now
  cmp /run/view /run/now || fail "the snapshot's view has changed"
}
merges() {
  "$EXTMERGE" merge "${options[@]}" "$@" "${source[@]}" > /run/said 2>&1 || {
    cat /run/said
    fail "the merge failed"
  }
  same "the origin is not what the snapshot was" /run/view $disk
}
undoes() {
  "$EXTMERGE" undo --yes --batch-mode "$EXTMERGE_STATE_DIR"/*.journal > /run/said 2>&1 || {
    cat /run/said
    fail "the undo failed"
  }
  same "the origin is not what it was before" /run/before $disk
}
slowly() {
  "$EXTMERGE" merge "${options[@]}" --rate-limit 1M "$@" "${source[@]}" > /run/said 2>&1 &
  merger=$!
  until [[ $("$EXTMERGE" status --json 2> /dev/null) =~ \"durable_bytes\":\ [1-9] ]]; do
    kill -0 $merger 2> /dev/null || fail "it ended too soon: $(< /run/said)"
    pause 0.05
  done
}
ends_with() {
  local status=0
  wait $merger || status=$?
  [[ $status == "$1" ]] || fail "it ended with $status: $(< /run/said)"
}

note "a device that loses all writes without a word is never called done"
origin_becomes "0 $size flakey $disk 0 0 60 1 drop_writes"
fails 8 EXM-801 merge "${options[@]}" "${source[@]}"
merges

note "a device that fails all writes"
start_over
origin_becomes "0 $size flakey $disk 0 0 60 1 error_writes"
fails 7 EXM-70[23] merge "${options[@]}" --undo-log $log "${source[@]}"
merges
origin_becomes "0 $size flakey $disk 0 0 60 1 error_writes"
fails 7 EXM-70[23] undo --yes --batch-mode "$EXTMERGE_STATE_DIR"/*.journal
undoes

note "a device that fails writes now and then"
start_over
origin_becomes "0 $size flakey $disk 0 1 1 1 error_writes"
# Each attempt first compares all that the attempt before recorded, since a name is no certain identity.
for attempt in $(seq 100); do
  status=0
  "$EXTMERGE" merge "${options[@]}" --rate-limit 4M "${source[@]}" > /run/said 2>&1 || status=$?
  ((status != 0)) || break
  grep -q EXM-70 /run/said || fail "it failed otherwise: $(< /run/said)"
done
((status == 0)) || fail "it is not done after $attempt attempts"
well
same "the origin is not what the snapshot was" /run/view $disk
note "done at attempt $attempt"

note "errors where the rest would go, swapped in in the middle; undone instead of resumed"
start_over
slowly --undo-log $log
origin_becomes "0 $((size / 4)) linear $disk 0
$((size / 4)) $((size - size / 4)) error"
ends_with 7
well
view_is_kept
undoes
merges

note "sectors of the pool that cannot be read"
start_over
dmsetup message dusty 0 addbadblock 64
dmsetup message dusty 0 addbadblock 3001
dmsetup message dusty 0 enable
fails 7 EXM-701 merge "${options[@]}" "${source[@]}"
merges

note "SIGKILL with writes in flight: nobody else gets at the origin before they have landed"
start_over
origin_becomes "0 $size delay $disk 0 0 $disk 0 700 $disk 0 0"
"$EXTMERGE" merge "${options[@]}" "${source[@]}" > /run/said 2>&1 &
merger=$!
while [[ ! $(dmsetup status origin) =~ delay\ [0-9]+\ [1-9] ]]; do
  kill -0 $merger 2> /dev/null || fail "it ended too soon: $(< /run/said)"
done
kill -9 $merger
wait $merger 2> /dev/null || true
status=0
"$EXTMERGE" merge "${options[@]}" "${source[@]}" > /run/said 2>&1 || status=$?
[[ $status =~ ^[056]$ ]] || fail "a second merge ended with $status: $(< /run/said)"
pause 1.5
well
view_is_kept
((status == 0)) || merges
same "the origin is not what the snapshot was" /run/view $disk
