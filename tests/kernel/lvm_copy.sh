#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
#
# extmerge copy of volumes: to a volume, to a file and to a thin of another pool. The target must show the bytes that the
# kernel reads from the snapshot. The origin and the group stay as they are.
source "$(dirname "$0")/guest_lvm.sh"

new_everything 64k 4100k 24M
target=/dev/$vg/target
quietly lvcreate -y -Wn -Zn -n target -L 5M $vg
find_origin
origin_before=$(origin_data | sha256sum)

# copies ARGUMENT...: extmerge copies without a question; its report in /run/said. Nothing is left, the origin is as it was.
copies() {
  local before status=0
  before=$(state)
  "$EXTMERGE" copy --yes --batch-mode "$@" > /run/said 2>&1 || status=$?
  ((status == 0)) || {
    cat /run/said
    fail "extmerge copy $* ended with $status"
  }
  diff <(echo "$before") <(state) || fail "not everything was put back: $(< /run/said)"
  [[ $(origin_data | sha256sum) == "$origin_before" ]] || fail "the origin has changed"
}
# shows FILE: it holds /run/view, up to that one's end.
shows() { cmp -n "$(stat -c %s /run/view)" "$1" /run/view || fail "$1 is not what the snapshot showed: $(< /run/said)"; }
# round_of: how many bytes the last copy had to copy
planned() { "$EXTMERGE" status --json "$1" | grep -o '"total_bytes": [0-9]*' | grep -o '[0-9]*'; }
journal_of() { grep -o '/run/state/[^ ]*\.journal' /run/said | tail -1; }

note "whole, of a volume in use: the target is all that the snapshot shows"
kernel_view $snap_lv /run/view
copies --whole $vg/$snap_lv $target
shows $target
journal=$(journal_of)
(($(planned "$journal") == $(stat -c %s /run/view))) || fail "not all was copied: $(< /run/said)"

note "a round copies what changed, also a discarded block"
# On 64 KiB blocks: one that is written again, and one that shows the origin again.
blkdiscard -o $((64 * 1024)) -l $((64 * 1024)) /dev/$vg/$snap_lv
dd if=/dev/urandom of=/dev/$vg/$snap_lv bs=4k seek=200 count=1 oflag=direct status=none
kernel_view $snap_lv /run/view
copies --whole $vg/$snap_lv $target
shows $target
grep -q 'only what changed since the last copy' /run/said || fail "no round: $(< /run/said)"
(($(planned "$journal") <= 2 * 65536)) || fail "a round of $(planned "$journal") bytes"

note "nothing new: nothing is frozen"
before=$(state_of_everything)
says 0 'Nothing to copy' copy --yes --batch-mode --whole $vg/$snap_lv $target
diff <(echo "$before") <(state_of_everything) || fail "something was done"

note "of an inactive volume and pool"
change_snap
quietly lvchange -an $vg/$snap_lv $vg/$pool_lv
copies --whole $vg/$snap_lv $target
shows $target
quietly lvchange -ay -K $vg/$snap_lv

note "two snapshots over one origin, both inactive, are copied at the same time"
quietly lvcreate -y -s --thinpool $vg/$pool_lv -n second $vg/$origin_lv
stamp scatter /dev/$vg/second 1 5 10
kernel_view second /run/second_view
kernel_view $snap_lv /run/view
for pool in active inactive; do
  quietly lvchange -an $vg/second $vg/$snap_lv
  [[ $pool == inactive ]] || quietly lvchange -ay $vg/$pool_lv
  before=$(state)
  for name in one two; do
    rm -f /run/$name
    truncate -s "$(stat -c %s /run/view)" /run/$name
  done
  "$EXTMERGE" copy --yes --batch-mode --whole --again --rate-limit 2M $vg/second /run/one > /run/said_one 2>&1 &
  first=$!
  "$EXTMERGE" copy --yes --batch-mode --whole --again --rate-limit 1M $vg/$snap_lv /run/two > /run/said 2>&1 ||
    fail "with an $pool pool, the second copy: $(< /run/said)"
  wait $first || fail "with an $pool pool, the first copy: $(< /run/said_one)"
  shows /run/two
  cmp /run/second_view /run/one || fail "/run/one is not what the second snapshot showed"
  grep -q 'stays active: another extmerge works on it' /run/said /run/said_one && quietly lvchange -an $vg/$pool_lv
  diff <(echo "$before") <(state) || fail "with an $pool pool, not everything was put back"
  quietly lvchange -an $vg/$pool_lv
done
says 0 'equal' verify --whole $vg/$snap_lv /run/two
diff <(echo "$before") <(state) || fail "not everything was put back after verify"
quietly lvremove -y $vg/second
rm -f /run/one /run/two
quietly lvchange -ay -K $vg/$snap_lv

note "verify compares the target with the snapshot"
says 0 'equal' verify --whole $vg/$snap_lv $target
stamp scatter $target 3 90 1
says 8 EXM-801 verify --whole $vg/$snap_lv $target
change_snap
says 4 EXM-414 copy --yes --batch-mode --whole $vg/$snap_lv $target
copies --whole --again $vg/$snap_lv $target
shows $target

note "what is mapped makes a replica of the origin the snapshot, in a file and in a thin of another pool"
origin_data > /run/replica
truncate -s "$(stat -c %s /run/view)" /run/replica
copies $vg/$snap_lv /run/replica
shows /run/replica
new_pool 64k 24M pool2
new_snapshot moved pool2
change_snap
copies $vg/$snap_lv /dev/$vg/moved
kernel_view moved /run/moved
shows /run/moved
# thin_dump's word for the blocks of a volume of this pool.
blocks() {
  dmsetup message $vg-"$2"-tpool 0 reserve_metadata_snap
  thin_dump -m --dev-id $(($(lvs_of thin_id $vg/"$1"))) /dev/mapper/$vg-"$2"_tmeta > /run/dump || fail "thin_dump of $1"
  dmsetup message $vg-"$2"-tpool 0 release_metadata_snap
  awk -F '"' '/<single_mapping/ { print $2 } /<range_mapping/ { for (i = 0; i < $6; i++) print $2 + i }' /run/dump
}
blocks $snap_lv $pool_lv > /run/snap_blocks
(($(wc -l < /run/snap_blocks) > 10)) || fail "SNAP maps hardly anything"
diff /run/snap_blocks <(blocks moved pool2) || fail "the migrated thin has other blocks than SNAP"
quietly lvremove -y $vg/moved $vg/pool2

note "killed: the same command goes on, and so does resume"
for again in same resume; do
  change_snap
  blkdiscard -o $((20 * 65536)) -l 65536 /dev/$vg/$snap_lv
  kernel_view $snap_lv /run/view
  rm -f "$EXTMERGE_STATE_DIR"/*
  "$EXTMERGE" copy --yes --batch-mode --whole --rate-limit 500k --checkpoint-interval 128k $vg/$snap_lv $target > /run/said 2>&1 &
  copier=$!
  until [[ -n $(echo "$EXTMERGE_STATE_DIR"/*.journal) ]] &&
    [[ $("$EXTMERGE" status "$EXTMERGE_STATE_DIR"/*.journal 2> /dev/null) =~ durable\ +[1-9] ]]; do
    kill -0 $copier 2> /dev/null || fail "it ended before it was killed: $(< /run/said)"
    pause 0.1
  done
  kill -9 $copier
  wait $copier 2> /dev/null || true
  journal=$(echo "$EXTMERGE_STATE_DIR"/*.journal)
  # This write to SNAP belongs to the next round. The freeze shows the origin there.
  dd if=/dev/urandom of=/dev/$vg/$snap_lv bs=4k seek=320 count=1 oflag=direct status=none
  note "a merge would change what the unfinished copy shows: refused, and the freeze is named"
  says 4 "EXM-417.*extmerge_[0-9a-f]*" merge --yes --batch-mode $vg/$snap_lv
  if [[ $again == resume ]]; then
    says 6 "EXM-611.*" resume $vg/$snap_lv
    grep -q "its copy to $target is unfinished: extmerge resume $journal" /run/said || fail "the copy is not named: $(< /run/said)"
    says 0 Copied resume --batch-mode "$journal"
  else
    says 0 Copied copy --yes --whole --batch-mode $vg/$snap_lv $target
  fi
  nothing_left
  shows $target
done

note "given up: the freeze goes, the target stays as it is"
change_snap
"$EXTMERGE" copy --yes --batch-mode --whole --rate-limit 500k --checkpoint-interval 128k --full $vg/$snap_lv $target > /run/said 2>&1 &
copier=$!
until [[ $("$EXTMERGE" status "$journal" 2> /dev/null) =~ copying ]]; do
  kill -0 $copier 2> /dev/null || fail "it ended before it was killed: $(< /run/said)"
  pause 0.1
done
kill -9 $copier
wait $copier 2> /dev/null || true
says 0 'Given up' abort "$journal"
nothing_left
# Nothing else tells which blocks of the target are not the origin's.
[[ -e $journal ]] || fail "the journal is gone"
kernel_view $snap_lv /run/view
copies --whole $vg/$snap_lv $target
shows $target

note "the origin is merged into between two copies: everything is copied, or only a whole copy is allowed"
change_snap
copies $vg/$snap_lv /run/replica
merges $vg/$snap_lv
origin_before=$(origin_data | sha256sum)
dd if=/dev/urandom of=/dev/$vg/$snap_lv bs=4k seek=320 count=1 oflag=direct status=none
kernel_view $snap_lv /run/view
copies --whole $vg/$snap_lv $target
shows $target
grep -q 'everything: the external origin was merged into' /run/said || fail "it is a round: $(< /run/said)"
says 6 'EXM-618.*external origin was merged into' copy --yes --batch-mode $vg/$snap_lv /run/replica
quietly lvcreate -y -s -kn -n sibling $vg/$snap_lv
kill_when is_copying merge --yes --batch-mode --full --rate-limit 300k $vg/$snap_lv
[[ $killed == yes ]] || fail "it ended before it was killed: $(< /run/said)"
says 6 'EXM-610.*half merged from another snapshot' copy --yes --batch-mode --whole $vg/sibling $target
says 0 Merged resume --batch-mode $vg/$snap_lv
quietly lvremove -y $vg/sibling
origin_before=$(origin_data | sha256sum)

note "refused: the pool, the origin, the snapshot and its layers, a target that is too short or mounted, no target"
quietly lvcreate -y -Wn -Zn -n short -L 4M $vg
quietly lvchange -ay -K $vg/$origin_lv
for wrong in /dev/$vg/$origin_lv /dev/$vg/$snap_lv /dev/mapper/"$(dm_name $pool_lv)"_tdata /dev/mapper/"$(dm_name $origin_lv)"-real; do
  refuses '[45]' 'target' copy --yes --batch-mode --whole $vg/$snap_lv "$wrong"
done
refuses 4 'EXM-419' copy --yes --batch-mode --whole $vg/$snap_lv /dev/$vg/short
refuses 4 'EXM-401' copy --yes --batch-mode --whole $vg/$snap_lv /dev/$vg/nothing
quietly mkfs.ext4 -q -F $target
mount $target /run/mounted
refuses 5 'EXM-50' copy --yes --batch-mode --whole $vg/$snap_lv $target
umount /run/mounted
quietly lvchange -an $vg/$origin_lv

note "a merge afterwards is not disturbed by the copies"
kernel_view $snap_lv /run/view
merges $vg/$snap_lv
origin_is /run/view
nothing_left
no_group
