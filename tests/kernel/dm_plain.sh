#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Thins without LVM, by their names in /dev/mapper. extmerge merges a thin that is suspended, or
# that is read-only and has no other open node of its id. It reserves the pool's metadata snapshot for the
# merge and releases it.
source "$(dirname "$0")/guest.sh"

thin_sectors=$(sectors $origin)
state_of_everything() {
  dmsetup table | sort
  dmsetup info -c --noheadings -o name,attr,open | sort
  dmsetup status --noflush pool
  sha256sum < <(dd if=$origin bs=64k iflag=direct status=none)
}
# refuses STATUS PATTERN ARGUMENT...: extmerge ends so, and everything stays as before.
refuses() {
  local expected=$1 pattern=$2 status=0
  shift 2
  state_of_everything > /run/state_before
  "$EXTMERGE" "$@" > /run/said 2>&1 || status=$?
  diff /run/state_before <(state_of_everything) || {
    cat /run/said
    fail "extmerge $* ended with $status and left things changed"
  }
  if [[ ! $status =~ ^($expected)$ ]] || ! grep -q "EXM-$status" /run/said || ! grep -Eq -- "$pattern" /run/said; then
    cat /run/said
    fail "extmerge $* ended with $status, not $expected, or did not say '$pattern'"
  fi
  note "refused as it should be: $(grep -o 'EXM-[0-9]*' /run/said | head -1) $*"
}
# merges ARGUMENT...: extmerge merges, and all but the origin's data stays as before.
merges() {
  local status=0
  state_of_everything | grep -v -- ' -$' > /run/state_before
  "$EXTMERGE" merge --yes --batch-mode "$@" > /run/said 2>&1 || status=$?
  ((status == 0)) || {
    cat /run/said
    fail "extmerge merge $* ended with $status"
  }
  diff /run/state_before <(state_of_everything | grep -v -- ' -$') || fail "extmerge merge $* left things changed"
  same "the origin is not what it should be" /run/view $origin
}
held() { dmsetup status --noflush pool | cut -d' ' -f7; }
readonly_thin() { dmsetup create "$1" --readonly --table "0 $thin_sectors thin /dev/mapper/pool $2 $origin"; }
# change GENERATION: writes to the thin while it is open as snap.
change() {
  stamp scatter /dev/mapper/snap "$1" "$1" 20
  sync
  dd if=/dev/mapper/snap of=/run/view bs=64k iflag=direct status=none
}
snap=/dev/mapper/snap
stamp range $origin 0 0 "$thin_sectors"
make_pool
message "create_thin 1"
thin snap 1 "$thin_sectors" $origin
change 1

note "active and writable"
refuses 5 . plan $snap
refuses 5 . merge --yes $snap
refuses '1|4' . merge --yes --finish $snap
refuses 1 'EXM-101.*for volumes of LVM' copy --yes --whole --when-closed $snap /dev/ubdb

note "suspended"
dmsetup suspend snap
"$EXTMERGE" plan $snap > /dev/null || fail "plan"
merges $snap
! grep -q "is active and writable" /run/said || fail "it is suspended: $(< /run/said)"
"$EXTMERGE" verify --batch-mode $snap > /dev/null || fail "verify"
dmsetup resume snap

note "by a name that device-mapper escapes"
dmsetup rename snap "the snap"
escaped='/dev/mapper/the\x20snap'
[[ -b $escaped ]] || fail "there is no $escaped: $(ls /dev/mapper)"
dmsetup suspend "the snap"
merges --again "$escaped"
grep -qF "Merged $escaped (thin 1)" /run/said || fail "the report has another name: $(< /run/said)"
dmsetup resume "the snap"
dmsetup rename "the snap" snap

note "read-only, by a minor above 255"
change 2
dmsetup rename snap "the snap"
refuses 5 "dmsetup suspend the.x20snap" merge --yes "$escaped"
dmsetup remove "the snap"
dmsetup create snap --readonly --major "$(dmsetup info -c --noheadings -o major pool)" --minor 300 \
  --table "0 $thin_sectors thin /dev/mapper/pool 1 $origin"
merges $snap

note "read-only, but its id is open a second time"
dmsetup remove snap
thin snap 1 "$thin_sectors" $origin
change 3
dmsetup remove snap
readonly_thin snap 1
thin again 1 "$thin_sectors" $origin
refuses 5 again merge --yes $snap
dmsetup remove again
thin again 1 "$thin_sectors"
refuses 5 again merge --yes $snap
dmsetup remove again

note "suspended, but its id is open a second time, and there it is not"
dmsetup remove snap
thin snap 1 "$thin_sectors" $origin
thin again 1 "$thin_sectors" $origin
dmsetup suspend snap
refuses 5 'EXM-506.*again' plan $snap
refuses 5 'EXM-506.*again' merge --yes $snap
dmsetup remove again
dmsetup resume snap

note "a metadata snapshot of somebody else's: refused, used on request, never released"
dmsetup remove snap
thin snap 1 "$thin_sectors" $origin
change 9
dmsetup suspend snap
message reserve_metadata_snap
refuses 5 'metadata snapshot' plan $snap
refuses 5 'metadata snapshot' merge --yes $snap
merges -m $snap
[[ $(held) != - ]] || fail "the metadata snapshot was released"
dmsetup resume snap
change 4
dmsetup suspend snap
refuses 4 . merge -m --yes $snap
message release_metadata_snap
merges $snap
[[ $(held) == - ]] || fail "the metadata snapshot is still held"

note "siblings: harmed, and not"
message "create_thin 2"
thin sibling 2 "$thin_sectors" $origin
refuses 4 sibling merge --yes $snap
dd if=/dev/zero of=/dev/mapper/sibling bs=64k oflag=direct status=none 2> /dev/null || true
dmsetup resume snap
change 5
dmsetup suspend snap
merges $snap
dmsetup remove sibling

note "no thin, or a thin without an external origin"
message "create_thin 3"
thin lonely 3 2048
dmsetup suspend lonely
dmsetup create line --table "0 2048 linear $data 0" 2> /dev/null || dmsetup create line --table "0 2048 zero"
for name in lonely line pool; do
  refuses 4 . merge --yes /dev/mapper/$name
done
dmsetup remove line
dmsetup resume lonely
dmsetup remove lonely
refuses '1|4' . merge --yes /dev/mapper/none

note "killed in the middle: the metadata snapshot goes with the next run"
for condition in 'compgen -G "/run/state/*" > /dev/null' '[[ $(held) != - ]]' 'sleep 0.3' 'sleep 0.6'; do
  dmsetup resume snap
  change $((RANDOM + 10))
  dmsetup suspend snap
  rm -f /run/state/*
  "$EXTMERGE" merge --yes --batch-mode --rate-limit 8M $snap > /run/said 2>&1 &
  merger=$!
  while kill -0 $merger 2> /dev/null && ! eval "$condition"; do sleep 0.01; done
  status=0
  kill -9 $merger 2> /dev/null || true
  wait $merger 2> /dev/null || status=$?
  note "$condition: the merge ended with $status"
  ((status == 0)) || again merge --yes --batch-mode $snap || fail "merging again: $(< /run/said)"
  [[ $(held) == - ]] || fail "the metadata snapshot is still held"
  same "the origin is not what it should be" /run/view $origin
done

note "killed with the metadata snapshot held: abort releases it, also after a merge that is done"
for journal in none done; do
  dmsetup resume snap
  change $((RANDOM + 10))
  dmsetup suspend snap
  [[ $journal == done ]] || rm -f /run/state/*
  "$EXTMERGE" merge --yes --batch-mode --rate-limit 8M $snap > /run/said 2>&1 &
  merger=$!
  while kill -0 $merger 2> /dev/null && [[ $(held) == - ]]; do sleep 0.01; done
  kill -9 $merger 2> /dev/null || true
  wait $merger 2> /dev/null || true
  if [[ $(held) == - ]]; then
    note "$journal: it was released before the kill"
  else
    record=$(echo /run/state/*.lvm)
    again abort "${record%.lvm}" || fail "abort: $(< /run/said)"
    note "$journal: $(head -1 /run/said)"
  fi
  [[ $(held) == - ]] || fail "the metadata snapshot is still held"
  again merge --yes --batch-mode $snap || fail "merging again: $(< /run/said)"
  same "the origin is not what it should be" /run/view $origin
done

note "resumed while it is merged, and written: new blocks, or one in place"
for write in "scatter $snap 8 8 40" "range $snap 8 7000 8"; do
  dmsetup resume snap
  change 7
  stamp range $snap 7 5000 16000
  dmsetup suspend snap
  rm -f /run/state/*
  status=0
  "$EXTMERGE" merge --yes --batch-mode --rate-limit 4M $snap > /run/said 2>&1 &
  merger=$!
  sleep 1.5
  dmsetup resume snap
  read -ra arguments <<< "$write"
  stamp "${arguments[@]}"
  wait $merger || status=$?
  note "the merge ended with $status: $(grep EXM /run/said)"
  [[ $status =~ ^(4|5|7|8)$ ]] || fail "although it was written: $(< /run/said)"
  [[ $(held) == - ]] || fail "the metadata snapshot is still held"
done

# kill_in_the_middle ARGUMENT...: kills extmerge when a part of the plan is durable, but not all of it.
kill_in_the_middle() {
  "$EXTMERGE" "$@" > /run/said 2>&1 &
  merger=$!
  until [[ $("$EXTMERGE" status --json 2> /dev/null) =~ \"durable_bytes\":\ [1-9] ]]; do
    kill -0 $merger 2> /dev/null || fail "it ended before it was killed: $(< /run/said)"
    pause 0.02
  done
  kill -9 $merger
  ! wait $merger 2> /dev/null || fail "it was not killed"
}
# undone: after an undo the origin has its earlier data, and the thin shows the same as before.
undone() {
  again undo --yes --batch-mode /run/state/*.journal || fail "undo: $(< /run/said)"
  same "the origin is not what it was before" /run/origin_before $origin
  same "the thin shows something else" /run/view $snap
  [[ $(held) == - ]] || fail "the metadata snapshot is still held"
}
# something_to_undo GENERATION
something_to_undo() {
  rm -f /run/state/* /run/saved/undo
  dmsetup resume snap
  change "$1"
  dd if=$origin of=/run/origin_before bs=64k iflag=direct status=none
  dmsetup remove snap
  readonly_thin snap 1
}
mkdir -m 0700 /run/saved
slowly=(--yes --batch-mode --rate-limit 2M --checkpoint-interval 256k --undo-log /run/saved/undo)
change_again() {
  dmsetup remove snap
  thin snap 1 "$thin_sectors" $origin
}

note "a merge with an undo log is undone"
something_to_undo 21
merges --undo-log /run/saved/undo $snap
! cmp -s /run/origin_before <(dd if=$origin bs=64k iflag=direct status=none) || fail "nothing was merged"
undone
change_again

note "a merge that was killed in the middle is undone"
something_to_undo 22
kill_in_the_middle merge "${slowly[@]}" $snap
undone
change_again

note "an undo that was killed in the middle is completed by the same command"
for attempt in 1 2 3 4 5; do
  something_to_undo $((22 + attempt))
  merges --undo-log /run/saved/undo $snap
  journal=$(echo /run/state/*.journal)
  touch /run/marker
  pause 0.05
  "$EXTMERGE" undo --yes --batch-mode "$journal" > /run/said 2>&1 &
  merger=$!
  # The undo's first record in the journal shows that it has begun.
  until [[ $journal -nt /run/marker ]]; do kill -0 $merger 2> /dev/null || break; done
  kill -9 $merger 2> /dev/null || true
  wait $merger 2> /dev/null || true
  state=$("$EXTMERGE" status --noheadings)
  note "attempt $attempt: $state"
  undone
  [[ $state != *undoing* ]] || break
  change_again
done
[[ $state == *undoing* ]] || fail "it was never killed in the middle: $state"
change_again

note "a merge that was killed in the middle is of one thin, and no merge of another one replaces it"
rm -f /run/state/*
change 41
dmsetup remove snap
readonly_thin snap 1
kill_in_the_middle merge --yes --batch-mode --rate-limit 2M --checkpoint-interval 256k $snap
message "create_thin 4"
thin other 4 "$thin_sectors" $origin
stamp scatter /dev/mapper/other 42 42 20
dmsetup suspend other
refuses '4|6' EXM-610 plan /dev/mapper/other
refuses '4|6' EXM-610 merge --yes /dev/mapper/other
dmsetup resume other
dmsetup remove other
message "delete 4"
merges $snap

note "a journal that cannot be read: --restart replaces it"
rm -f /run/state/*
change_again
change 42
dmsetup remove snap
readonly_thin snap 1
kill_in_the_middle merge --yes --batch-mode --rate-limit 2M --checkpoint-interval 256k $snap
truncate -s 100 /run/state/*.journal
refuses 6 EXM-603 merge --yes $snap
merges --restart $snap

note "killed with the metadata snapshot held, and the pool is not there any more: abort gives the record up"
for attempt in 1 2 3 4 5 6 7 8 9 10; do
  change_again
  change $((42 + attempt))
  dmsetup remove snap
  readonly_thin snap 1
  rm -f /run/state/*
  "$EXTMERGE" merge --yes --batch-mode --rate-limit 8M $snap > /run/said 2>&1 &
  merger=$!
  while kill -0 $merger 2> /dev/null && [[ $(held) == - ]]; do pause 0.001; done
  kill -9 $merger 2> /dev/null || true
  wait $merger 2> /dev/null || true
  [[ $(held) == - ]] || break
done
[[ $(held) != - ]] || fail "it was never killed with the metadata snapshot held"
dmsetup remove snap
dmsetup rename pool renamed
thin_table="0 $thin_sectors thin /dev/mapper/renamed 1 $origin"
dmsetup create snap --readonly --table "$thin_table"
status=0
"$EXTMERGE" merge --yes --batch-mode $snap > /run/said 2>&1 || status=$?
((status != 0)) && grep -q "extmerge abort" /run/said || fail "it ended with $status: $(< /run/said)"
journal=$(echo /run/state/*.lvm)
"$EXTMERGE" abort "${journal%.lvm}" > /run/said 2>&1 || fail "abort: $(< /run/said)"
grep -q "release_metadata_snap" /run/said || fail "abort does not say that the metadata snapshot stays: $(< /run/said)"
[[ ! -e $(echo /run/state/*.lvm) ]] || fail "the record is still there"
dmsetup message renamed 0 release_metadata_snap
