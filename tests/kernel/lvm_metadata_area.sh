#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
#
# The metadata area of the group has no room for the freeze and the marks of a merge. A plan says so, and a merge changes
# nothing. The room that a plan asks for is enough for the merge.
source "$(dirname "$0")/guest_lvm.sh"

merge=(merge --yes --batch-mode)
quietly pvcreate -ff -y --metadatasize 40k --dataalignment 64k "${disks[@]}"
quietly vgcreate -s 4k $vg "${disks[@]}"
new_origin 4100k
new_pool 64k 24M
new_snapshot
stamp scatter /dev/$vg/$snap_lv 1 7 30
quietly lvcreate -y -an -Wn -Zn -n filler -l 1 $vg
room() {
  local free
  free=$(vgs --noheadings --units b --nosuffix -o vg_mda_free $vg)
  echo "${free// /}"
}
# fill BYTES: tags of the volume filler take room until less than that is free. LVM tells the room in steps of 512 bytes.
tag_number=1000
fill() {
  local more length
  while more=$(($(room) - $1)) && ((more >= 0)); do
    length=$((more > 2000 ? 1000 : more > 700 ? 200 : 30))
    tag_number=$((tag_number + 1))
    tag=$(printf "t%0$((length - 1))d" $tag_number)
    quietly lvchange --addtag "$tag" $vg/filler
  done
}
note "no room for a freeze: a plan refuses, and nothing is changed"
fill 800
for command in plan "${merge[*]}"; do refuses 4 'EXM-426.*metadata area of the volume group vg has' $command $vg/$snap_lv; done
needed=$(grep -o 'needs [0-9]*' /run/said | cut -d' ' -f2)
note "an inactive SNAP needs room for the mark only"
quietly lvchange -an $vg/$snap_lv
says 0 'a merge would start' plan $vg/$snap_lv
fill 90
for command in plan "${merge[*]}"; do refuses 4 'EXM-426.*metadata area of the volume group vg has' $command $vg/$snap_lv; done
note "just enough room"
quietly lvremove -y $vg/filler
quietly lvcreate -y -an -Wn -Zn -n filler -l 1 $vg
quietly lvchange -ay $vg/$snap_lv
fill "$needed"
quietly lvchange --deltag "$tag" $vg/filler
(($(room) >= needed))
kernel_view $snap_lv /run/view
merges $vg/$snap_lv
origin_is /run/view
nothing_left
note "a disk with a larger metadata area, and the small one is not used any more"
change_snap
fill 600
refuses 4 'EXM-426.*metadata area' "${merge[@]}" $vg/$snap_lv
quietly pvcreate /dev/ubdb
quietly vgextend $vg /dev/ubdb
quietly pvchange --metadataignore y /dev/ubda
merges $vg/$snap_lv
origin_is /run/view
nothing_left
