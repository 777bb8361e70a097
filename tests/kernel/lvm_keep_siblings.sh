#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
#
# --keep-siblings: a golden image with clones. One of them is merged; before the first write to the origin the others
# get their own copies of the blocks that would change. Each reads the same before, during and after: also after a
# kill at any time, and whether it is inactive or active read-only.
source "$(dirname "$0")/guest_lvm.sh"

block=128 # sectors
keep=(merge --yes --batch-mode --keep-siblings)
clones=()
# write_blocks LV GENERATION FIRST COUNT
write_blocks() { stamp range /dev/$vg/"$1" "$2" $(($3 * block)) $(($4 * block)); }
# new_clones NAME...: makes inactive clones of the origin.
new_clones() {
  local clone
  for clone; do
    new_snapshot "$clone"
    quietly lvchange -an $vg/"$clone"
    clones+=("$clone")
  done
}
keep_views() {
  local clone
  for clone in "${clones[@]}"; do kernel_view "$clone" /run/view_"$clone"; done
  kernel_view $snap_lv /run/view
}
clones_read_the_same() {
  local clone
  for clone in "${clones[@]}"; do
    kernel_view "$clone" /run/view_now
    cmp /run/view_"$clone" /run/view_now || fail "$clone reads differently"
  done
}
# harmed PATTERN: the plan says so of the siblings.
harmed() {
  "$EXTMERGE" plan --keep-siblings $vg/$snap_lv > /run/said 2>&1 || fail "$(< /run/said)"
  grep -Eq -- "$1" /run/said || fail "it does not say '$1': $(< /run/said)"
}

new_group
new_origin 8196k
new_pool 64k 80M
new_snapshot
new_clones clone1 clone2 clone3
write_blocks $snap_lv 1 10 40
stamp range /dev/$vg/$snap_lv 1 $((126 * block)) $((2 * block + 8)) # the origin ends in the midst of the last block
quietly lvchange -ay $vg/clone2
write_blocks clone2 2 20 15
quietly lvchange -an $vg/clone2

note "without the option it is refused, and says which option helps"
refuses 4 'copies first with --keep-siblings' "${keep[@]:0:3}" $vg/$snap_lv

note "an active writable clone is refused by name, with the command"
quietly lvchange -ay $vg/clone3
refuses 4 "EXM-417.*clone3.*active" "${keep[@]}" $vg/$snap_lv
grep -q "lvchange -an $vg/clone3" /run/said || fail "$(< /run/said)"
quietly lvchange -an $vg/clone3

note "inactive clones: the merge leaves all of them as they were"
keep_views
harmed 'clone1.*43 blocks'
before=$(state_of_group)
merges --keep-siblings $vg/$snap_lv
diff <(echo "$before") <(state_of_group) || fail "not everything was put back"
nothing_left
origin_is /run/view
clones_read_the_same
merges $vg/$snap_lv # nothing is harmed any more

note "a clone that is active and suspended: LVM would resume it with the freeze"
write_blocks $snap_lv 3 60 10
quietly lvchange -ay $vg/clone2
quietly dmsetup suspend "$(dm_name clone2)"
refuses 4 "EXM-417.*clone2.*active" "${keep[@]}" $vg/$snap_lv
quietly dmsetup resume "$(dm_name clone2)"
quietly lvchange -an $vg/clone2

note "a clone that is active read-only, and one that is inactive and read-only"
quietly lvchange -pr $vg/clone1
quietly lvchange -ay $vg/clone1
quietly lvchange -pr $vg/clone3
keep_views
before=$(state)
merges --keep-siblings $vg/$snap_lv
diff <(echo "$before") <(state) || fail "not everything was put back"
origin_is /run/view
clones_read_the_same
quietly lvchange -an $vg/clone1
quietly lvchange -prw $vg/clone1
quietly lvchange -prw $vg/clone3

note "an internal snapshot of SNAP with an older state"
quietly lvcreate -y -s -n inner $vg/$snap_lv
clones+=(inner)
write_blocks $snap_lv 4 80 5
keep_views
merges --keep-siblings $vg/$snap_lv
origin_is /run/view
clones_read_the_same
quietly lvremove -y $vg/inner
clones=(clone1 clone2 clone3)

note "killed while a clone gets its copies, and while the origin is written"
generation=10
for moment in 'is_active clone1' 'has_noted siblings.*[A-Za-z0-9]{6}-' is_copying; do
  write_blocks $snap_lv $((++generation)) $((generation * 3 + 60)) 3
  keep_views
  kill_when "$moment" "${keep[@]}" --rate-limit 100k $vg/$snap_lv
  note "killed: $killed, $moment"
  clones_read_the_same
  merges --keep-siblings $vg/$snap_lv
  origin_is /run/view
  clones_read_the_same
  nothing_left
  for clone in "${clones[@]}"; do ! is_active "$clone" || fail "$clone stays active"; done
done

note "the pool has no room for the copies"
write_blocks $snap_lv 20 0 9
free=$(dmsetup status --noflush "$(dm_name $pool_lv)-tpool" | awk '{ split($6, used, "/"); print used[2] - used[1] }')
quietly lvcreate -y -V $((free * 64))k --thinpool $vg/$pool_lv -n filler
dd if=/dev/zero of=/dev/$vg/filler bs=64k count=$((free - 40)) oflag=direct status=none
refuses 3 "EXM-307.*own copies of 27 blocks of the pool $vg/$pool_lv" "${keep[@]}" $vg/$snap_lv
quietly lvremove -y $vg/filler
keep_views

note "a finish removes SNAP; the clones stay, and read the origin where they always did"
quietly lvchange -an $vg/$snap_lv
merges --keep-siblings --finish $vg/$snap_lv
! is_there $snap_lv || fail "SNAP is still there"
origin_is /run/view
clones_read_the_same
no_group
