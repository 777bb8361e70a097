#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
#
# A file system in an LVM snapshot, merged and finished by name. There are three block
# sizes, and names with hyphens. SNAP and its pool are active or not. The origin ends
# inside a block, or lies in two pieces. After a merge all but the origin's data is as
# before. After the finish the origin is an ordinary volume with all the files.
source "$(dirname "$0")/guest_lvm.sh"

# prepare CHUNK SIZE: makes a file system in the origin, and changes files in the snapshot.
prepare() {
  new_group
  new_origin 8M
  quietly lvcreate -y -Zn -Wn -n gap -l 1 $vg
  quietly lvextend -L "$2" $vg/$origin_lv
  quietly mkfs.ext4 -q -F /dev/$vg/$origin_lv
  mount /dev/$vg/$origin_lv /run/mounted
  write_files /run/mounted old 30
  umount /run/mounted
  new_pool "$1" 80M
  new_snapshot
  mount /dev/$vg/$snap_lv /run/mounted
  rm /run/mounted/old1*
  write_files /run/mounted new 20
  for file in /run/mounted/old2*; do
    dd if=/dev/urandom of="$file" bs=1000 count=1 seek=1 conv=notrunc status=none
  done
  sums /run/mounted > /run/sums
  umount /run/mounted
  kernel_view $snap_lv /run/view
}

# files_are_right [MOUNT_OPTIONS]: the active origin has the right files.
files_are_right() {
  quietly e2fsck -fn /dev/$vg/$origin_lv
  mount -o "${1-rw}" /dev/$vg/$origin_lv /run/mounted
  diff /run/sums <(sums /run/mounted) || fail "files differ"
}

# merge_and_finish NAME: NAME is that of the source.
merge_and_finish() {
  local before
  note "plan changes nothing"
  before=$(state_of_everything)
  "$EXTMERGE" plan "$1" > /run/said 2>&1 || {
    cat /run/said
    fail "extmerge plan $1"
  }
  diff <(echo "$before") <(state_of_everything) || fail "plan changed something"

  note "merge changes the origin's data and nothing else"
  before=$(state_of_group && state_of_kernel)
  merges "$1"
  diff <(echo "$before") <(state_of_group && state_of_kernel) || fail "merge did not put everything back"
  nothing_left
  origin_is /run/view
  kernel_view $snap_lv /run/view_after
  cmp /run/view /run/view_after || fail "the merged snapshot reads differently"
  quietly lvchange -ay -K $vg/$origin_lv
  "$EXTMERGE" verify --batch-mode "$1" > /run/said 2>&1 || {
    cat /run/said
    fail "extmerge verify $1"
  }
  files_are_right ro,noload
  umount /run/mounted
  [[ $before == *"$(dm_name $origin_lv):"* ]] || quietly lvchange -an $vg/$origin_lv

  note "finish removes the snapshot, and the origin is an ordinary volume"
  merges --finish "$1"
  nothing_left
  origin_is /run/view
  ! is_there $snap_lv || fail "the snapshot is still there"
  [[ $(lvs_of lv_attr $vg/$origin_lv) == *-wi* ]] || fail "the origin is not a writable plain volume"
  quietly lvchange -ay $vg/$origin_lv
  files_are_right
  write_files /run/mounted later 3
  umount /run/mounted
  quietly e2fsck -fn /dev/$vg/$origin_lv
  no_group
  [[ $(dmsetup table) == 'No devices found' ]] || fail "devices are left"
}

note "64 KiB, the origin ends inside a block; SNAP and its pool are inactive"
prepare 64k 33284k
quietly lvchange -an $vg/$snap_lv
quietly lvchange -an $vg/$pool_lv
merge_and_finish $vg/$snap_lv

note "192 KiB, with hyphens; SNAP is inactive, its pool and the origin active"
vg=v-g origin_lv=orig-in pool_lv=po-ol snap_lv=sn--ap
prepare 192k 33284k
quietly lvchange -an $vg/$snap_lv
quietly lvchange -ay $vg/$pool_lv
quietly lvchange -ay $vg/$origin_lv
merge_and_finish $vg/$snap_lv

note "the same, all active"
prepare 192k 33284k
quietly lvchange -ay $vg/$origin_lv
merge_and_finish /dev/$vg/$snap_lv

note "1 MiB, the origin ends inside a block; SNAP is active"
vg=vg origin_lv=origin pool_lv=pool snap_lv=snap
prepare 1m 33284k
merge_and_finish /dev/mapper/$vg-$snap_lv
