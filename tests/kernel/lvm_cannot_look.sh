#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
#
# extmerge refuses if it cannot read a source of facts, for LVM's volumes and for thins of plain
# device-mapper. Each source is hidden from extmerge alone, in a mount namespace of its own. After
# each refusal the origin's data, all tables, the volumes and the pool are as before.
# (Images and loop devices: tests/cli/cannot_look_test.py.)
source "$(dirname "$0")/guest_lvm.sh"
program=$EXTMERGE

# hide COMMAND: from now on that shell command hides something before extmerge runs. Its `$$` is
# extmerge's process id.
hide() {
  printf '#!/bin/sh\nexec unshare --mount sh -c %q extmerge "$@"\n' "$1 && exec $program \"\$@\"" > /run/hidden
  chmod +x /run/hidden
  EXTMERGE=/run/hidden
}
sources=(
  '/sys=mount -t tmpfs none /sys'
  '/sys=umount -l /sys'
  '/sys/dev/block=mount -t tmpfs none /sys/dev/block'
  '/sys/block=mount -t tmpfs none /sys/block'
  '/proc=umount -l /proc'
  'mountinfo=mount --bind /dev/null /proc/$$/mountinfo'
  'mountinfo=mount --bind /proc/$$/mem /proc/$$/mountinfo'
  '/proc/swaps=mount --bind /dev/null /proc/swaps'
  '/dev/mapper/control=mount --bind /dev/null /dev/mapper/control'
)
# One source of each file system. They are enough for a command if other commands try all sources.
few=("${sources[1]}" "${sources[5]}" "${sources[8]}")
# each_refuses COMMAND ARGUMENT...: extmerge refuses with each of the sources hidden. few_refuse: with some of them.
each_refuses() { refuse_without "${#sources[@]}" "${sources[@]}" "$@"; }
few_refuse() { refuse_without "${#few[@]}" "${few[@]}" "$@"; }
refuse_without() {
  local each hidden=("${@:2:$1}")
  shift $(($1 + 1))
  for each in "${hidden[@]}"; do
    note "without ${each%%=*}: ${each#*=}"
    hide "${each#*=}"
    refuses 3 "EXM-308: cannot look at [^ ]*${each%%=*}" "$@"
    EXTMERGE=$program
  done
}

new_everything 64k
note "SNAP active, the origin not"
few_refuse plan $vg/$snap_lv
each_refuses merge --yes --batch-mode $vg/$snap_lv

note "a foreign device over the origin's layer, mounted, which only sysfs tells of"
quietly lvchange -ay $vg/$origin_lv
layer=/dev/mapper/$(dm_name $origin_lv)-real
dmsetup create foreign --readonly --table "0 $(sectors "$layer") linear $layer 0"
refuses 5 foreign merge --yes --batch-mode $vg/$snap_lv
hide 'mount -t tmpfs none /sys'
refuses 3 'EXM-308: cannot look at [^ ]*/sys' merge --yes --batch-mode $vg/$snap_lv
EXTMERGE=$program
dmsetup remove foreign
quietly lvchange -an $vg/$origin_lv

note "by the path of the volume, and all inactive"
hide 'mount --bind /dev/null /dev/mapper/control'
refuses 3 'EXM-308: cannot look at /dev/mapper/control' merge --yes /dev/$vg/$snap_lv
EXTMERGE=$program
quietly lvchange -an $vg/$snap_lv $vg/$pool_lv
few_refuse merge --yes --batch-mode $vg/$snap_lv
hide 'mount --bind /dev/null /proc/sys/kernel/random/boot_id'
refuses 3 'EXM-308: cannot look at [^ ]*boot_id' merge --yes --batch-mode $vg/$snap_lv
EXTMERGE=$program

note "as a user"
EXTMERGE="setpriv --reuid 1000 --clear-groups $program"
status=0
$EXTMERGE plan --state-dir /run/tmp/state $vg/$snap_lv > /run/said 2>&1 || status=$?
((status == 2)) && grep -q EXM-201 /run/said || fail "a user's plan ended with $status: $(< /run/said)"
EXTMERGE=$program

note "without LVM itself"
hide 'mount --bind /dev/null /usr/sbin/lvm'
refuses 3 EXM-306 merge --yes --batch-mode $vg/$snap_lv
EXTMERGE=$program

note "a merge that was killed is neither resumed nor given up, and is resumed afterwards"
kernel_view $snap_lv /run/view
kill_when is_copying merge --yes --batch-mode --rate-limit 1M --checkpoint-interval 64k $vg/$snap_lv
[[ $killed == yes ]] || fail "it was not killed: $(< /run/said)"
few_refuse resume $vg/$snap_lv
few_refuse abort $vg/$snap_lv
says 0 . resume $vg/$snap_lv
origin_is /run/view
nothing_left

note "a merge is not undone"
quietly lvchange -ay $vg/$snap_lv
stamp scatter /dev/$vg/$snap_lv 2 5 20
origin_data > /run/before
merges --undo-log /run/state/undo $vg/$snap_lv
few_refuse verify $vg/$snap_lv
few_refuse undo --yes $vg/$snap_lv
says 0 . undo --yes $vg/$snap_lv
origin_is /run/before
no_group

note "a thin of plain device-mapper, read-only"
wipefs -qaf /dev/ubda
dmsetup create meta --table "0 8192 linear /dev/ubda 0"
dmsetup create bytes --table "0 65536 linear /dev/ubda 8192"
dmsetup create base --table "0 32768 linear /dev/ubda 131072"
stamp range /dev/mapper/base 0 0 32768
dd if=/dev/zero of=/dev/mapper/meta bs=4096 count=1 oflag=direct status=none
dmsetup create pool --table "0 65536 thin-pool /dev/mapper/meta /dev/mapper/bytes 128 0 1 skip_block_zeroing"
dmsetup message pool 0 "create_thin 1"
dmsetup create snap --table "0 32768 thin /dev/mapper/pool 1 /dev/mapper/base"
stamp scatter /dev/mapper/snap 1 3 20
dd if=/dev/mapper/snap of=/run/view bs=64k iflag=direct status=none
dmsetup suspend snap
state_of_everything() {
  dmsetup table | sort
  dmsetup info -c --noheadings -o name,attr,open | sort
  dmsetup status --noflush pool
  dd if=/dev/mapper/base bs=64k iflag=direct status=none | sha256sum
}
find_origin() { :; }
few_refuse plan /dev/mapper/snap
each_refuses merge --yes --batch-mode /dev/mapper/snap
note "the same pool by its devices"
source=(--metadata /dev/mapper/meta --data /dev/mapper/bytes --thin-id 1 --origin /dev/mapper/base --thin-size 32768s)
dmsetup message pool 0 reserve_metadata_snap
few_refuse merge --yes --batch-mode "${source[@]}"
dmsetup message pool 0 release_metadata_snap
merges /dev/mapper/snap
cmp /run/view <(dd if=/dev/mapper/base bs=64k iflag=direct status=none) || fail "the origin is not what it should be"
