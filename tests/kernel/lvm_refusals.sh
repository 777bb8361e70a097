#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
#
# extmerge refuses to merge such volumes by an LVM name. After each refusal the origin's
# data, all tables, the volumes with their tags, the pool's transaction id and its metadata
# snapshot are as before.
source "$(dirname "$0")/guest_lvm.sh"
disks=(/dev/ubda /dev/ubdb)
modprobe -q -d /run loop || true

new_group
new_origin 16388k
quietly mkfs.ext4 -q -F /dev/$vg/$origin_lv
new_pool 64k 40M
new_snapshot
stamp scatter /dev/$vg/$snap_lv 1 7 30
pool=$(dm_name $pool_lv)-tpool
merge=(merge --yes --batch-mode)

note "nobody to ask; nothing to resume"
refuses 1 yes merge $vg/$snap_lv < /dev/null
refuses 6 . resume $vg/$snap_lv

note "a metadata snapshot that somebody else holds is refused and not released"
dmsetup message "$pool" 0 reserve_metadata_snap
refuses 5 'metadata snapshot' plan $vg/$snap_lv
refuses 5 'metadata snapshot' "${merge[@]}" $vg/$snap_lv
refuses 5 'metadata snapshot' "${merge[@]}" --finish $vg/$snap_lv
quietly lvchange -an $vg/$snap_lv
refuses 5 'metadata snapshot' "${merge[@]}" $vg/$snap_lv
quietly lvchange -an $vg/$pool_lv
refuses 5 'metadata snapshot' "${merge[@]}" $vg/$snap_lv
quietly lvchange -ay $vg/$pool_lv $vg/$snap_lv
dmsetup message "$pool" 0 release_metadata_snap

note "a kernel without dm-snapshot: LVM makes no freeze of an active SNAP"
rmmod dm_snapshot # LVM looks for the module in /lib/modules, where this kernel has none
for command in plan "${merge[*]}"; do
  refuses 4 'EXM-426.*cannot be frozen: the kernel lacks dm-snapshot' $command $vg/$snap_lv
  [[ $(< /run/said) == *"modprobe dm-snapshot"* ]] || fail "no way out: $(< /run/said)"
done
modprobe -d /run dm-snapshot

note "a log in the file that the group lies on, or under the name of a journal's record"
truncate -s 32M /run/disk
loop=$(losetup --find --show /run/disk)
lvm_config '"a|/dev/loop.*|",'
quietly vgextend $vg "$loop"
before=$(sha256sum /run/disk)
for command in plan "${merge[*]}" verify; do
  refuses 1 'loop device' $command $vg/$snap_lv --log-file /run/disk --log-level trace
  refuses 1 'journal' $command $vg/$snap_lv --log-file "$EXTMERGE_STATE_DIR/x.journal.lvm"
done
for command in status undo resume abort; do
  refuses 1 'loop device' $command $vg/$snap_lv --log-file /run/disk --log-level trace
done
[[ $(sha256sum /run/disk) == "$before" ]] || fail "there is text on a disk of the group"
quietly vgreduce $vg "$loop"
lvm_config
losetup -d "$loop"
rm /run/disk

note "the origin's own node, read-only as it is, in use"
quietly lvchange -ay $vg/$origin_lv
mount -o ro,noload /dev/$vg/$origin_lv /run/mounted
refuses 5 mounted "${merge[@]}" $vg/$snap_lv
umount /run/mounted
for under in "$(dm_name $origin_lv)" "$(dm_name $origin_lv)-real"; do
  dmsetup create holder --readonly --table "0 $(sectors /dev/mapper/"$under") linear /dev/mapper/$under 0"
  refuses 5 holder "${merge[@]}" $vg/$snap_lv
  dmsetup remove holder
done
python3 - /dev/$vg/$origin_lv << 'CLAIM' &
import os, sys, time
fd = os.open(sys.argv[1], os.O_RDONLY | os.O_EXCL)
open("/run/claimed", "w").close()
time.sleep(600)
CLAIM
claimer=$!
while [[ ! -e /run/claimed ]]; do sleep 0.05; done
refuses 5 . "${merge[@]}" $vg/$snap_lv
kill $claimer
wait $claimer || true
quietly lvchange -an $vg/$origin_lv

note "SNAP is open: it can be merged, not finished"
exec 9< /dev/$vg/$snap_lv
refuses 5 "$snap_lv" "${merge[@]}" --finish $vg/$snap_lv
exec 9<&-

note "another transaction in the pool than in the group"
transaction=$(dmsetup status --noflush "$pool" | cut -d' ' -f4)
dmsetup message "$pool" 0 "set_transaction_id $transaction $((transaction + 5))"
refuses 4 transaction "${merge[@]}" $vg/$snap_lv
dmsetup message "$pool" 0 "set_transaction_id $((transaction + 5)) $transaction"

note "a pool without space for a freeze"
quietly lvchange --errorwhenfull y $vg/$pool_lv
quietly lvcreate -y -V 60M -n filler --thinpool $vg/$pool_lv $vg
! dd if=/dev/zero of=/dev/$vg/filler bs=64k oflag=direct status=none 2> /dev/null || fail "the pool is not full"
refuses 3 free "${merge[@]}" $vg/$snap_lv
quietly lvremove -y $vg/filler

note "a read-only pool"
read -ra table < <(dmsetup table "$pool")
dmsetup load "$pool" --table "${table[*]:0:7} 1 read_only"
dmsetup suspend "$pool"
dmsetup resume "$pool"
refuses '3|4' "'ro'|read-only" "${merge[@]}" $vg/$snap_lv
quietly lvchange -an $vg/$snap_lv
refuses '3|4' "'ro'|read-only" "${merge[@]}" $vg/$snap_lv
quietly lvchange -ay $vg/$snap_lv
quietly lvchange --refresh $vg/$pool_lv

note "a pool that the kernel wants to have checked"
quietly lvchange -an $vg/$snap_lv $vg/$pool_lv
read -r disk offset _ < <(extents_of ${pool_lv}_tmeta)
mark_needs_check "$disk" "$offset"
quietly lvchange -ay $vg/$snap_lv
[[ $(dmsetup status --noflush "$pool") == *needs_check* ]] || fail "the kernel does not see the mark"
refuses '4|9' check "${merge[@]}" $vg/$snap_lv
quietly lvchange -an $vg/$snap_lv $vg/$pool_lv
refuses '4|9' check "${merge[@]}" $vg/$snap_lv
lvm_config "" 'thin_check_options=["-q", "--clear-needs-check-flag"]'
quietly lvchange -ay $vg/$snap_lv
lvm_config

note "SNAP has grown past the origin, and has data there; another volume keeps the origin from being extended"
quietly lvextend -L +1M $vg/$snap_lv
stamp range /dev/$vg/$snap_lv 5 33000 200
new_snapshot reader
refuses 4 'past the end' plan $vg/$snap_lv
refuses 4 'EXM-412.*reader' "${merge[@]}" --finish --allow-shared-origin $vg/$snap_lv
refuses 4 'past the end' "${merge[@]}" $vg/$snap_lv
recipe=$(grep -o 'lvcreate .* conv=fsync' /run/said) || fail "there is no recipe in: $(< /run/said)"
note "the recipe: $recipe"
quietly bash -e -c "${recipe//NEW/copied}" < /dev/null
kernel_view $snap_lv /run/view
cmp /run/view /dev/$vg/copied || fail "the recipe does not work"
quietly lvremove -y $vg/copied $vg/reader

note "no thin with an external origin, or none at all"
quietly lvcreate -y -Zn -Wn -n plain -L 4M $vg
quietly lvcreate -y -V 4M -n lonely --thinpool $vg/$pool_lv $vg
for name in $vg/plain $vg/lonely $vg/$origin_lv $vg/$pool_lv /dev/$vg/plain; do
  refuses 4 . "${merge[@]}" "$name"
done
for name in $vg/none /dev/$vg/none; do
  refuses '1|4' . "${merge[@]}" "$name"
done
refuses 11 'EXM-1101' "${merge[@]}" none/none

note "an origin that is an old-style snapshot's origin, until that is removed"
quietly lvchange -an $vg/lonely
quietly lvchange -pr $vg/lonely
new_pool 64k 8M pool2
quietly lvcreate -y -Zn -Wn -n old -L 4M $vg
quietly lvcreate -y -s -n cow -L 1M $vg/old
quietly lvchange -an $vg/old
quietly lvchange -pr $vg/old
quietly lvcreate -y -s --thinpool $vg/pool2 -n on_old $vg/old
refuses 4 "EXM-422.*the old-style snapshot $vg/cow" plan $vg/on_old
refuses 4 "EXM-422.*the old-style snapshot $vg/cow" "${merge[@]}" $vg/on_old
[[ $(< /run/said) == *"lvremove $vg/cow"* ]] || fail "no way out: $(< /run/said)"
quietly lvremove -y $vg/cow
quietly dd if=/dev/urandom of=/dev/$vg/on_old bs=64k count=4 oflag=direct
merges --finish $vg/on_old
quietly lvremove -y $vg/old

note "what --thinpool makes of a thin of that very pool has no external origin"
quietly lvcreate -y -s --thinpool $vg/$pool_lv -n inner $vg/lonely
refuses 4 "EXM-421.*ordinary snapshot of $vg/lonely" "${merge[@]}" $vg/inner
quietly lvremove -y $vg/inner

if modprobe -q -d /run -a dm-cache dm-cache-smq; then
  note "a cached origin"
  # Inactive: LVM 2.03.31-2+b2 of unstable cannot activate it (docs/surprises.md).
  quietly lvcreate -y -an -Zn -Wn -n cached -L 4M $vg "${disks[0]}"
  quietly lvcreate -y -an -Zn -Wn -n fast -L 8M $vg "${disks[1]}"
  quietly lvconvert -y --type cache --cachevol fast $vg/cached
  quietly lvchange -pr $vg/cached
  quietly lvcreate -y -an -s --thinpool $vg/pool2 -n on_cached $vg/cached
  refuses 4 "EXM-422.*$vg/cached is a cache with a cachevol" plan $vg/on_cached
  refuses 4 "EXM-422.*$vg/cached is a cache with a cachevol" "${merge[@]}" $vg/on_cached
  [[ $(< /run/said) == *"lvconvert --uncache $vg/cached"* ]] || fail "no way out: $(< /run/said)"
  quietly lvconvert -y --uncache $vg/cached
  quietly lvchange -ay -K $vg/on_cached
  quietly dd if=/dev/urandom of=/dev/$vg/on_cached bs=64k count=4 oflag=direct
  kernel_view on_cached /run/view
  merges $vg/on_cached
  kernel_view cached /run/origin
  cmp /run/view /run/origin || fail "the origin without its cache is not what it should be"
  quietly lvremove -y $vg/on_cached
fi

note "a group that is exported, or misses a disk"
quietly vgchange -an $vg
lvm_config '"r|/dev/ubdb|",'
refuses 11 'EXM-1101.*partial' "${merge[@]}" $vg/$snap_lv
lvm_config
quietly vgexport $vg
state_of_group() { :; } # LVM reports nothing of an exported group
refuses 4 exported "${merge[@]}" $vg/$snap_lv
quietly vgimport $vg

note "a striped origin is merged"
quietly lvcreate -y -i2 -I4k -Zn -Wn -n striped -L 4M $vg
stamp range /dev/$vg/striped 0 0 8192
quietly lvchange -an $vg/striped
quietly lvchange -pr $vg/striped
quietly lvcreate -y -s --thinpool $vg/pool2 -n on_striped $vg/striped
stamp scatter /dev/$vg/on_striped 1 9 10
kernel_view on_striped /run/view
merges $vg/on_striped
kernel_view striped /run/origin
cmp /run/view /run/origin || fail "the striped origin is not what it should be"

note "a snapshot that has been made shorter is merged up to its end, and the origin's tail stays"
quietly lvchange -ay $vg/$snap_lv
shorten $vg/$snap_lv 15M
kernel_view $snap_lv /run/view
origin_data | tail -c +$((15 * 1024 * 1024 + 1)) >> /run/view
merges $vg/$snap_lv
origin_is /run/view

note "the metadata snapshot of somebody else, on request, and still held afterwards"
stamp scatter /dev/$vg/$snap_lv 3 8 10
kernel_view $snap_lv /run/view
origin_data | tail -c +$((15 * 1024 * 1024 + 1)) >> /run/view
quietly lvchange -an $vg/$snap_lv
quietly lvchange -ay $vg/$pool_lv
dmsetup message "$pool" 0 reserve_metadata_snap
merges -m $vg/$snap_lv
is_held || fail "the metadata snapshot of somebody else was released"
origin_is /run/view
dmsetup message "$pool" 0 release_metadata_snap
no_group

note "a pool whose metadata is nearly full"
new_group
new_origin 4100k
quietly lvcreate -y --type thin-pool -n $pool_lv -L 20M --chunksize 64k --poolmetadatasize 2M $vg "${disks[0]}"
new_snapshot
stamp scatter /dev/$vg/$snap_lv 1 7 10
# Each thin takes a metadata block, even an empty thin that LVM does not know.
python3 - "$pool" << 'FILL'
import fcntl, struct, sys
DM_TARGET_MSG = 0xc138fd0e
with open("/dev/mapper/control", "rb+", buffering=0) as control:
    for thin in range(1000, 1400):
        message = struct.pack("=Q", 0) + b"create_thin %d\0" % thin
        size = 312 + len(message)
        header = struct.pack("=3I5I", 4, 0, 0, size, 312, 0, 0, 0) + bytes(16) + sys.argv[1].encode().ljust(128, b"\0")
        fcntl.ioctl(control, DM_TARGET_MSG, bytearray(header.ljust(312, b"\0") + message))
FILL
for ((thin = 1400; ; ++thin)); do
  read -r _ _ _ _ used _ < <(dmsetup status "$pool")
  (("${used%/*}" * 100 < "${used#*/}" * 92)) || break
  dmsetup message "$pool" 0 "create_thin $thin"
done
refuses 3 EXM-307 plan $vg/$snap_lv
refuses 3 EXM-307 "${merge[@]}" $vg/$snap_lv
refuses 3 EXM-307 "${merge[@]}" --finish $vg/$snap_lv
no_group

note "a pool with less room than a freeze costs at worst, and the state directory on another volume of it"
new_everything 64k 4100k 24M
stamp range /dev/$vg/$snap_lv 2 0 8192
quietly lvcreate -y -V 8M -n state --thinpool $vg/$pool_lv $vg
quietly mkfs.ext4 -q /dev/$vg/state
mount /dev/$vg/state /run/mounted
mkdir -m 0700 /run/mounted/state
sync -f /run/mounted
quietly lvcreate -y -V 24M -n filler --thinpool $vg/$pool_lv $vg
read -r _ _ _ _ _ used _ < <(dmsetup status "$pool")
dd if=/dev/zero of=/dev/$vg/filler bs=64k count=$((${used#*/} - ${used%/*} - 40)) oflag=direct status=none
kernel_view $snap_lv /run/view
says 0 'if the pool fills up, the freeze is given up' plan --state-dir /run/mounted/state $vg/$snap_lv
merges --state-dir /run/mounted/state $vg/$snap_lv
[[ $(< /run/said) == *'state, another thin of the same pool'* ]] || fail "no note: $(< /run/said)"
origin_is /run/view
umount /run/mounted
no_group

note "LVM makes no freeze, since the pool is past a threshold; an inactive SNAP is merged without"
new_everything 64k 4100k 24M
quietly lvcreate -y -V 16M -n filler --thinpool $vg/$pool_lv $vg
dd if=/dev/zero of=/dev/$vg/filler bs=64k count=200 oflag=direct status=none
echo 'activation/thin_pool_autoextend_threshold=50' >> /run/lvm/lvm.conf
! lvcreate -s -n refused $vg/$snap_lv &> /run/said || fail "LVM makes a snapshot"
refuses 4 "deactivate $vg/$snap_lv" "${merge[@]}" $vg/$snap_lv
[[ $(< /run/said) == *EXM-426* ]] || fail "not as a refusal of LVM's"
kernel_view $snap_lv /run/view
quietly lvchange -an $vg/$snap_lv
# At the next activation LVM gives the pool its current threshold.
quietly lvchange --refresh $vg/$pool_lv
before=$(state)
merges $vg/$snap_lv
[[ $(< /run/said) == *'no freeze'* ]] || fail "not a word of the freeze: $(< /run/said)"
diff <(echo "$before") <(state) || fail "not everything was put back"
origin_is /run/view
lvm_config

note "a group that is not there is not gone: no command drops the record of a merge that was killed"
rm -f "$EXTMERGE_STATE_DIR"/*  # journals of earlier groups
quietly lvremove -y $vg/filler
quietly lvchange -ay $vg/$snap_lv
stamp scatter /dev/$vg/$snap_lv 2 8 20
kernel_view $snap_lv /run/view
kill_when is_copying "${merge[@]}" --rate-limit 256k --checkpoint-interval 64k $vg/$snap_lv
[[ $killed == yes ]] || fail "it ended before it was killed: $(< /run/said)"
quietly vgchange -an $vg
records() { sha256sum "$EXTMERGE_STATE_DIR"/*.journal "$EXTMERGE_STATE_DIR"/*.lvm; }
before=$(records)
journal=$(echo "$EXTMERGE_STATE_DIR"/*.journal)
for hidden in '"r|/dev/ubd.*|",' '"r|/dev/ubdb|",'; do
  lvm_config "$hidden"
  says 11 EXM-1101 plan $vg/$snap_lv
  says 11 EXM-1101 "${merge[@]}" $vg/$snap_lv
  says 11 EXM-1101 "${merge[@]}" --finish $vg/$snap_lv
  says 11 EXM-1101 resume $vg/$snap_lv
  says 11 EXM-1101 undo --yes $vg/$snap_lv
  for name in $vg/$snap_lv "$journal"; do
    says 11 EXM-1101 abort "$name"
    grep -q "the record of the merge is kept.* rm $journal $journal.lvm\$" /run/said || fail "abort says: $(< /run/said)"
  done
done
[[ $(records) == "$before" ]] || fail "a record was changed"
lvm_config
quietly vgchange -ay $vg
says 0 . resume $vg/$snap_lv
origin_is /run/view
nothing_left
quietly lvchange -an $vg/$snap_lv

note "an origin that begins as a container of a disk does, SNAP inactive and active"
quietly lvcreate -y -Zn -Wn -n image -L 4M $vg
printf 'QFI\373\0\0\0\003' | dd of=/dev/$vg/image bs=4k conv=sync oflag=direct status=none
quietly lvchange -an $vg/image
quietly lvchange -pr $vg/image
quietly lvcreate -y -s --thinpool $vg/$pool_lv -n contained $vg/image
stamp range /dev/$vg/contained 9 4096 1024
no_cookie # udevd, too, is done with the volume
refuses 4 'EXM-428.*qcow2' plan $vg/contained
refuses 4 'EXM-428.*qcow2' "${merge[@]}" $vg/contained
quietly lvchange -an $vg/contained
refuses 4 'EXM-428.*qcow2' "${merge[@]}" $vg/contained
quietly lvremove -y $vg/contained $vg/image

note "--finish, and SNAP is the external origin of another volume"
quietly lvchange -pr $vg/$snap_lv
new_pool 64k 8M pool2
quietly lvcreate -y -an -s --thinpool $vg/pool2 -n upper $vg/$snap_lv
refuses 5 'EXM-508.*upper' "${merge[@]}" --finish $vg/$snap_lv
quietly lvremove -y $vg/upper

note "an origin that is an old-style snapshot itself"
quietly lvcreate -y -Zn -Wn -n old -L 4M $vg
quietly lvcreate -y -s -n cow -L 1M $vg/old
quietly lvchange -an $vg/old
quietly lvchange -pr $vg/cow
if lvcreate -y -s --thinpool $vg/pool2 -n on_cow $vg/cow &> /run/said; then
  refuses 4 EXM-422 plan $vg/on_cow
  refuses 4 EXM-422 "${merge[@]}" $vg/on_cow
else # LVM 2.03.31
  grep -q 'Cannot use snapshot volume .* as external origin' /run/said || fail "LVM refuses it for another reason: $(< /run/said)"
  note "LVM makes no such volume: $(< /run/said)"
fi
