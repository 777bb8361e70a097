#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Thins in other pools read the same origin. Their mappings are read from a metadata snapshot of each pool, and
# --keep-siblings copies up into them. The pools have blocks of the same size, larger and smaller ones.
source "$(dirname "$0")/guest_lvm.sh"

block=256 # sectors, of SNAP
keep=(merge --yes --batch-mode --keep-siblings)
fars=(same larger smaller)
# write_blocks LV GENERATION FIRST COUNT
write_blocks() { stamp range /dev/$vg/"$1" "$2" $(($3 * block)) $(($4 * block)); }
# harmed LV: prints the sibling's harmed blocks and their size, as plan counts them.
harmed() {
  "$EXTMERGE" plan --json --allow-shared-origin $vg/$snap_lv > /run/plan || fail "plan --allow-shared-origin"
  python3 - "$1" << 'FIND'
import json, sys
print(*[(s["harmed_blocks"], s["block_size"]) for s in json.load(open("/run/plan"))["siblings"] if s["name"].endswith("/" + sys.argv[1])])
FIND
}
# expect_harmed LV TEXT
expect_harmed() { [[ $(harmed "$1") == "$2" ]] || fail "plan counts $(harmed "$1") harmed blocks in $1, not $2"; }
keep_views() {
  local lv
  for lv in "${fars[@]}"; do kernel_view "$lv" /run/view_"$lv"; done
  kernel_view $snap_lv /run/view
}
fars_read_the_same() {
  local lv
  for lv in "${fars[@]}"; do
    kernel_view "$lv" /run/view_now
    cmp /run/view_"$lv" /run/view_now || fail "$lv reads differently"
  done
}
# pools_are_clean: no pool holds a metadata snapshot, is marked, or is active without an active thin.
pools_are_clean() {
  nothing_left
  [[ $(dmsetup status --noflush --target thin-pool 2> /dev/null) != *needs_check\ * ]] || fail "a pool is marked"
  local lv
  for lv in "${fars[@]}"; do
    is_active "$lv" || ! is_active pool_"$lv"-tpool || fail "pool_$lv stays active"
  done
}
# new_pools LARGER SIZE: makes a pool for each of the siblings.
new_pools() {
  new_pool 128k 30M pool_same
  new_pool "$1" "$2" pool_larger
  new_pool 64k 30M pool_smaller
}

counted() {
  new_group
  new_origin 8196k
  new_pool 128k 40M
  new_snapshot
  new_pools 1m 30M
  for lv in "${fars[@]}"; do new_snapshot "$lv" pool_"$lv"; done
  write_blocks $snap_lv 1 10 40 # bytes 1280k to 6400k

  note "each is counted in blocks of its own pool"
  expect_harmed same '(40, 131072)'
  expect_harmed larger '(6, 1048576)'
  expect_harmed smaller '(80, 65536)'
  refuses 4 'larger \(6 blocks\), vg/same \(40 blocks\), vg/smaller \(80 blocks\)' plan $vg/$snap_lv
  refuses 4 'larger' "${keep[@]:0:3}" $vg/$snap_lv

  note "one sector that a sibling wrote maps the whole block of its pool, or only half a block of the plan"
  stamp range /dev/$vg/larger 2 4096 1
  stamp range /dev/$vg/smaller 2 $((20 * block)) 1
  stamp range /dev/$vg/same 2 $((20 * block)) 1
  expect_harmed larger '(5, 1048576)'
  expect_harmed smaller '(79, 65536)'
  expect_harmed same '(39, 131072)'

  note "another program's metadata snapshot stays, is named, and counts as a reason"
  quietly dmsetup message "$(dm_name pool_larger)-tpool" 0 reserve_metadata_snap
  refuses 4 "larger \(its mappings are not known: the pool .*pool_larger-tpool holds a metadata snapshot.*" plan $vg/$snap_lv
  grep -q 'release_metadata_snap' /run/said || fail "$(< /run/said)"
  refuses 4 "larger .its mappings are not known" "${keep[@]}" $vg/$snap_lv
  quietly dmsetup message "$(dm_name pool_larger)-tpool" 0 release_metadata_snap

  note "the metadata snapshot of another extmerge, which works on that pool, is waited for"
  origin_data > /run/replica
  truncate -s "$(blockdev --getsize64 /dev/$vg/larger)" /run/replica
  "$EXTMERGE" copy --yes --batch-mode --rate-limit 16k --checkpoint-interval 64k $vg/larger /run/replica > /run/copied 2>&1 &
  copier=$!
  until "$EXTMERGE" status --json 2> /dev/null | grep -q '"state": "copying"'; do
    kill -0 $copier || fail "the copy ended: $(< /run/copied)"
  done
  quietly dmsetup message "$(dm_name pool_larger)-tpool" 0 reserve_metadata_snap
  (pause 3; dmsetup message "$(dm_name pool_larger)-tpool" 0 release_metadata_snap) &
  expect_harmed larger '(5, 1048576)'
  kill -0 $copier || fail "the copy ended: $(< /run/copied)"
  kill $copier
  wait $copier || true
  says 0 'Given up' abort "$(echo "$EXTMERGE_STATE_DIR"/*.journal)"

  note "killed while it holds the metadata snapshot of another pool: the next command releases it"
  for attempt in 1 2 3 4 5 6 7 8 9 10; do
    kill_when "has_noted 'sibling_pool\".*\"held\": \"[0-9].*waiting'" plan $vg/$snap_lv
    ! is_held || break
  done
  is_held || fail "it was never killed at that moment"
  says 4 'same \(39 blocks\)' plan $vg/$snap_lv
  pools_are_clean

  note "siblings that map all of the plan: nothing is refused"
  for lv in "${fars[@]}"; do write_blocks "$lv" 3 8 44; done
  for lv in "${fars[@]}"; do [[ $(harmed "$lv") == "(0, "* ]] || fail "$lv: $(harmed "$lv")"; done
  keep_views
  before=$(state)
  merges $vg/$snap_lv
  diff <(echo "$before") <(state) || fail "not everything was put back"
  origin_is /run/view
  fars_read_the_same

  note "the same with inactive pools, which are inactive again afterwards"
  write_blocks $snap_lv 4 12 5
  for lv in "${fars[@]}"; do quietly lvchange -an $vg/"$lv" $vg/pool_"$lv"; done
  keep_views
  before=$(state)
  merges $vg/$snap_lv
  diff <(echo "$before") <(state) || fail "not everything was put back"
  origin_is /run/view
  fars_read_the_same
  pools_are_clean

  note "a sibling discards blocks during the merge: that is no success"
  write_blocks $snap_lv 5 20 16
  quietly lvchange -ay $vg/larger
  "$EXTMERGE" merge --yes --batch-mode --rate-limit 400k $vg/$snap_lv > /run/said 2>&1 &
  merger=$!
  until is_copying; do
    kill -0 $merger || fail "the merge ended too soon: $(< /run/said)"
    sleep 0.05
  done
  quietly blkdiscard -o 3M -l 1M /dev/$vg/larger
  status=0
  wait $merger || status=$?
  ((status == 4)) && grep -q 'larger discarded 1 block during' /run/said || fail "it ended with $status: $(< /run/said)"
  merges --allow-shared-origin $vg/$snap_lv
  quietly lvchange -an $vg/larger $vg/pool_larger
  pools_are_clean
}

kept() {
  note "--keep-siblings copies up into each of them, whole blocks of its pool"
  new_group
  new_origin 8196k
  new_pool 128k 40M
  new_snapshot
  new_pools 2m 40M
  for lv in "${fars[@]}"; do new_snapshot "$lv" pool_"$lv"; done
  write_blocks $snap_lv 1 10 40
  stamp range /dev/$vg/$snap_lv 1 16384 8 # the last block, which the origin ends in
  write_blocks same 2 0 20
  stamp range /dev/$vg/larger 2 8192 1
  write_blocks smaller 2 30 7
  note "an active writable one is refused by name"
  refuses 4 'EXM-417.*larger.*active' "${keep[@]}" $vg/$snap_lv
  for lv in "${fars[@]}"; do quietly lvchange -an $vg/"$lv" $vg/pool_"$lv"; done
  keep_views
  "$EXTMERGE" plan --keep-siblings $vg/$snap_lv > /run/said 2>&1 || fail "$(< /run/said)"
  for pattern in 'same.: 31 blocks would be copied' 'larger.: 4 blocks of 2.0 MiB would be copied' \
    'smaller.: 67 blocks of 64.0 KiB would be copied' "copies of 4 blocks of the pool $vg/pool_larger; 19 are free"; do
    grep -Eq "$pattern" /run/said || fail "it does not say '$pattern': $(< /run/said)"
  done
  before=$(state)
  find_origin
  origin_data > /run/origin_before
  mkdir -m 700 /run/saved
  merges --keep-siblings --undo-log /run/saved/undo $vg/$snap_lv
  diff <(echo "$before") <(state) || fail "not everything was put back"
  origin_is /run/view
  fars_read_the_same
  pools_are_clean

  note "undone: refused for a sibling of another pool that is younger than the merge; the others have their own copies"
  new_snapshot later pool_smaller
  quietly lvchange -an $vg/later
  refuses 4 'EXM-417.*later' undo --yes --batch-mode $vg/$snap_lv
  origin_is /run/view
  quietly lvremove -y $vg/later
  quietly lvchange -an $vg/pool_smaller
  says 0 Undone undo --yes --batch-mode $vg/$snap_lv
  origin_is /run/origin_before
  fars_read_the_same
  pools_are_clean
  rm /run/saved/undo
  merges --keep-siblings $vg/$snap_lv
  origin_is /run/view
  fars_read_the_same

  note "read-only siblings, active and inactive: through hidden nodes"
  write_blocks $snap_lv 3 1 5
  quietly lvchange -pr $vg/larger
  quietly lvchange -pr $vg/smaller
  quietly lvchange -ay $vg/smaller
  keep_views
  before=$(state)
  merges --keep-siblings $vg/$snap_lv
  diff <(echo "$before") <(state) || fail "not everything was put back"
  origin_is /run/view
  fars_read_the_same
  quietly lvchange -an $vg/smaller $vg/pool_smaller

  note "the pool of a sibling has no room"
  quietly lvremove -y $vg/larger
  new_snapshot larger pool_larger
  quietly lvchange -an $vg/larger
  quietly lvchange -ay $vg/pool_larger
  free=$(dmsetup status --noflush "$(dm_name pool_larger)-tpool" | awk '{ split($6, used, "/"); print used[2] - used[1] }')
  quietly lvcreate -y -V $((free * 2))M --thinpool $vg/pool_larger -n filler
  dd if=/dev/zero of=/dev/$vg/filler bs=2M count=$free oflag=direct status=none
  write_blocks $snap_lv 4 62 2
  refuses 3 "EXM-307.*own copies of 1 block.* of the pool $vg/pool_larger" "${keep[@]}" $vg/$snap_lv
  quietly lvremove -y $vg/filler
  quietly lvchange -an $vg/pool_larger
}

# kill_while_copying_up LV ARGUMENT...: kills extmerge when the volume, or a hidden node of it, has got its first block.
# A shell would notice too late.
kill_while_copying_up() {
  python3 - "$vg-$1" "$EXTMERGE" "${@:2}" > /run/said 2>&1 << 'KILL'
import glob, subprocess, sys, time
node, command = sys.argv[1], sys.argv[2:]
merge = subprocess.Popen(command, start_new_session=True)
def is_there():
    for name in glob.glob("/sys/block/dm-*/dm/name"):
        try:
            with open(name) as file:
                if file.read().strip() in (node, node + "-extmerge"):
                    return name[:name.index("/dm/")] + "/stat"
        except OSError:
            pass
while merge.poll() is None:
    stat = is_there()
    while stat and merge.poll() is None:
        try:
            with open(stat) as file:
                written = int(file.read().split()[6])
        except OSError:
            break
        if written:
            merge.kill()
            merge.wait()
            print("killed after", written, "sectors")
            sys.exit()
    time.sleep(0.001)
KILL
  killed=no
  [[ ! $(< /run/said) =~ killed\ after\ [0-9]+\ sectors ]] || killed=${BASH_REMATCH[0]}
  no_lvm_runs
}

# killed_and_continued KIND: with writable (-prw) or read-only (-pr) siblings.
killed_and_continued() {
  local moment lv generation=10
  new_group
  new_origin 32772k
  new_pool 64k 60M
  new_snapshot
  new_pools 16m 80M
  block=128
  for lv in "${fars[@]}"; do new_snapshot "$lv" pool_"$lv"; done
  for moment in same larger smaller; do
    # The siblings of an earlier merge need no copies any more.
    for lv in "${fars[@]}"; do
      quietly lvremove -y $vg/"$lv"
      new_snapshot "$lv" pool_"$lv"
      [[ $1 == -prw ]] || quietly lvchange "$1" $vg/"$lv"
      quietly lvchange -an $vg/"$lv" $vg/pool_"$lv"
    done
    write_blocks $snap_lv $((++generation)) 3 200
    write_blocks $snap_lv $generation 300 100
    keep_views
    kill_while_copying_up "$moment" "${keep[@]}" $vg/$snap_lv
    note "$moment ($1): killed: $killed"
    [[ $killed != no ]] || fail "it ended before it was killed: $(< /run/said)"
    fars_read_the_same
    merges --keep-siblings $vg/$snap_lv
    origin_is /run/view
    fars_read_the_same
    pools_are_clean
    for lv in "${fars[@]}"; do ! is_active "$lv" || fail "$lv stays active"; done
  done
}

killed_writable() { killed_and_continued -prw; }
killed_readonly() { killed_and_continued -pr; }

"$1"
no_group
