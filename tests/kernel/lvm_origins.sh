#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
#
# lvm_origins.sh KIND: the life of a volume over an origin of that kind: plan, merges of an active, an inactive and a
# mounted SNAP, a merge that is killed and resumed, an undo, a round, a finish, and a finish that extends the origin. Then
# the parts below the origin are checked: a raid is scrubbed, a cache is flushed and removed, and the bytes below are right.
source "$(dirname "$0")/guest_lvm.sh"

kind=$1
disks=(/dev/ubda /dev/ubdb /dev/ubdc /dev/ubdd /dev/ubde)
legs=("${disks[@]:1}")
size=8M
modules=()
case $kind in
  raid0) modules=(dm-raid raid0) ;;
  raid10) modules=(dm-raid raid10) ;;
  raid1* | degraded*) modules=(dm-raid raid1) ;;
  raid[456]*) modules=(dm-raid raid456) ;;
  mirror) modules=(dm-mirror) ;;
  cache*) modules=(dm-cache dm-cache-smq) ;;
  writecache) modules=(dm-writecache) ;;
  on_crypt) modules=(cbc xts dm-crypt) ;;  # in the order of their needs
  on_loop) modules=(loop) ;;
  on_md) modules=(raid1) ;;
esac
[[ $kind != *integrity* ]] || modules+=(dm-integrity)
case $kind in
  on_*) lvm_config '"a|/dev/mapper/below|","a|/dev/loop.*|","a|/dev/md.*|","r|/dev/ubd[bc]|",' ;;
esac
if ((${#modules[@]})); then
  modprobe -q -d /run -a "${modules[@]}" || {
    echo "skipped: this kernel lacks one of ${modules[*]}"
    exit 77
  }
fi

# make_md DISK DISK: /dev/md0, a raid1 of both without metadata on them, made as mdadm makes it: with files in /sys
make_md() {
  local md=/sys/block/md0/md disk slot=0
  [[ -e $md ]] || echo md0 > /sys/module/md_mod/parameters/new_array
  echo none > $md/metadata_version
  echo raid1 > $md/level
  echo 2 > $md/raid_disks
  echo $(($(sectors "$1") / 2)) > $md/component_size
  for disk in "$@"; do
    cat "/sys/block/${disk#/dev/}/dev" > $md/new_dev
    echo $slot > "$md/dev-${disk#/dev/}/slot"
    slot=$((slot + 1))
  done
  echo active > $md/array_state
  until [[ $(< $md/sync_action) == idle && $(< $md/degraded) == 0 ]]; do pause 0.1; done
}
# make LVCREATE_ARGUMENT...: the origin
make() { quietly lvcreate -y -Wn -Zn -n $origin_lv -L $size "$@"; }
# wait_for_sync: until the raid is in sync
wait_for_sync() {
  local i
  for ((i = 0; i < 300; ++i)); do
    [[ $(lvs_of raid_sync_action,copy_percent $vg/$origin_lv) != *idle*100.00* ]] || return 0
    [[ $kind != mirror || $(lvs_of copy_percent $vg/$origin_lv) != *100.00* ]] || return 0
    pause 0.1
  done
  fail "the raid does not get in sync: $(lvs_of lv_name,raid_sync_action,copy_percent)"
}
make_origin() {
  case $kind in
    linear) make $vg /dev/ubda ;;
    on_*) make $vg "${disks[1]}" ;;
    striped) make -i2 -I4k $vg "${legs[@]:0:2}" ;;
    raid0) make --type raid0 -i2 -I4k $vg "${legs[@]:0:2}" ;;
    raid1) make --type raid1 -m1 $vg "${legs[@]:0:2}" ;;
    raid10) make --type raid10 -i2 -m1 -I4k $vg "${legs[@]}" ;;
    raid4 | raid5) make --type "$kind" -i2 -I4k $vg "${legs[@]:0:3}" ;;
    raid6) make --type raid6 -i3 -I4k $vg "${disks[@]}" ;;
    raid1_integrity) make --type raid1 -m1 --raidintegrity y $vg "${legs[@]:0:2}" ;;
    raid5_integrity) make --type raid5 -i2 -I4k --raidintegrity y $vg "${legs[@]:0:3}" ;;
    mirror) make --type mirror -m1 --mirrorlog core $vg "${legs[@]:0:2}" ;;
    cachepool | cachepool_writethrough)
      local mode=writeback
      [[ $kind == cachepool ]] || mode=writethrough
      make $vg /dev/ubda
      quietly lvcreate -y --type cache-pool -n fast -L 8M --chunksize 64k $vg /dev/ubdb
      quietly lvconvert -y --type cache --cachepool fast --cachemode $mode $vg/$origin_lv
      ;;
    writecache)
      make -an $vg /dev/ubda
      quietly lvcreate -y -an -Wn -Zn -n fast -L 8M $vg /dev/ubdb
      quietly lvconvert -y --type writecache --cachevol fast $vg/$origin_lv
      quietly lvchange -ay $vg/$origin_lv
      ;;
    thin | chain | thin_with_snapshot)
      new_pool 64k 48M pool2
      if [[ $kind == chain ]]; then
        quietly lvcreate -y -Wn -Zn -n base -L $size $vg /dev/ubda
        stamp range /dev/$vg/base 90 0 "$(sectors /dev/$vg/base)"
        quietly lvchange -an $vg/base
        quietly lvchange -pr $vg/base
        quietly lvcreate -y -s --thinpool $vg/pool2 -n $origin_lv $vg/base
        extents_of base > /run/base_extents
        base_data | sha256sum > /run/base_sum
      else
        quietly lvcreate -y -V $size -n $origin_lv --thinpool pool2 $vg
      fi
      ;;
    *) fail "no such kind: $kind" ;;
  esac
}
base_data() {
  local disk offset length
  while read -r disk offset length; do
    dd if="$disk" bs=1M iflag=direct,skip_bytes,count_bytes skip="$offset" count="$length" status=none
  done < /run/base_extents
}
# origin_view FILE: what the kernel reads from the origin; from its layer, if that is active
origin_view() {
  local layer
  layer=/dev/mapper/$(dm_name $origin_lv)-real
  if [[ -e $layer ]]; then dd if="$layer" of="$1" bs=1M iflag=direct status=none; else kernel_view $origin_lv "$1"; fi
}
# origin_is and what refuses() looks at, by the view
find_origin() { :; }
origin_data() {
  origin_view /run/origin_now
  cat /run/origin_now
}
shows() { origin_is "$1"; }
# parts_are_gone: nothing of an inactive origin is left active: LVM would not activate it again
parts_are_gone() {
  local left
  left=$(dmsetup info -c --noheadings -o name | grep -E "^$vg-(${origin_lv}|fast|base)" || true)
  [[ -z $left ]] || fail "parts of the origin are left active: $left"
}
snap_is() {
  kernel_view $snap_lv /run/view_now
  cmp "$1" /run/view_now || fail "SNAP reads differently"
}
undo_log=/run/saved/undo
mkdir -m 700 /run/saved

# Disks of the group that are stacks themselves. The key of on_crypt is a table's, as cryptsetup loads it.
case $kind in
  on_crypt)
    dmsetup create below --table "0 $(sectors /dev/ubdb) crypt aes-xts-plain64 $(printf '%064d' 7) 0 /dev/ubdb 0" || {
      echo "skipped: this kernel has no aes-xts"
      exit 77
    }
    disks=(/dev/ubda /dev/mapper/below)
    ;;
  on_loop) disks=(/dev/ubda "$(losetup --find --show --direct-io=on /dev/ubdb)") ;;
  on_md)
    make_md /dev/ubdb /dev/ubdc
    disks=(/dev/ubda /dev/md0)
    ;;
esac

note "$kind: made"
new_group
new_pool 64k 24M
make_origin
stamp range /dev/$vg/$origin_lv 0 0 "$(sectors /dev/$vg/$origin_lv)"
[[ $kind != raid[1-9]* && $kind != mirror ]] || wait_for_sync
if [[ $kind == thin_with_snapshot ]]; then
  quietly lvcreate -y -s -kn -n frozen $vg/$origin_lv
  kernel_view frozen /run/frozen
fi
if [[ $kind == chain ]]; then
  quietly lvcreate -y -an -kn -s --thinpool $vg/pool -n beside $vg/base # reads the base, not the origin
  quietly lvchange -an $vg/$origin_lv
  quietly lvchange -pr $vg/$origin_lv
  lvcreate -y -s --thinpool $vg/pool -n $snap_lv $vg/$origin_lv &> /run/said || {
    grep -q 'Missing thin external origin' /run/said || fail "no chain: $(< /run/said)"
    note "skipped: this LVM makes a chain of origins, and cannot activate it"
    exit 77
  }
else
  new_snapshot
fi
stamp scatter /dev/$vg/$snap_lv 1 7 20
kernel_view $snap_lv /run/view
origin_view /run/origin_before
lvs -a -o lv_name,lv_attr,segtype,origin,pool_lv $vg

note "planned, merged active, undone"
"$EXTMERGE" plan $vg/$snap_lv || fail "no plan"
before=$(state)
merges --undo-log $undo_log $vg/$snap_lv
cat /run/said
shows /run/view
diff <(echo "$before") <(state) || fail "not everything was put back"
nothing_left
snap_is /run/view
says 0 Undone undo --yes --batch-mode $vg/$snap_lv
shows /run/origin_before
snap_is /run/view
diff <(echo "$before") <(state) || fail "undo: not everything was put back"
rm -f $undo_log

note "killed and resumed"
kill_when is_copying merge --yes --batch-mode --rate-limit 500k --checkpoint-interval 64k $vg/$snap_lv
[[ $killed == yes ]] || fail "it ended before it was killed: $(< /run/said)"
snap_is /run/view
says 0 Merged resume $vg/$snap_lv
shows /run/view
diff <(echo "$before") <(state) || fail "not everything was put back"

note "a round, with the origin active"
quietly lvchange -ay $vg/$origin_lv
change_snap
before=$(state)
if [[ $(lvs_of segtype $vg/$origin_lv) == *thin* ]] && ! lvcreate -s -n probe $vg/$snap_lv &> /run/probe; then
  note "LVM makes no snapshot of a thin over an active thin: $(head -1 /run/probe)"
  says 0 "lvchange -an $vg/$origin_lv" plan $vg/$snap_lv
  refuses 4 "EXM-426.*" merge --yes --batch-mode $vg/$snap_lv
  grep -q "deactivate the origin.*lvchange -an $vg/$origin_lv" /run/said || fail "no cure: $(< /run/said)"
  quietly lvchange -an $vg/$origin_lv
  before=$(state)
fi
! is_there probe || quietly lvremove -y $vg/probe
merges $vg/$snap_lv
grep -q 'only what changed' /run/said || fail "no round: $(< /run/said)"
shows /run/view
diff <(echo "$before") <(state) || fail "not everything was put back"
quietly lvchange -an $vg/$origin_lv

note "SNAP inactive, the origin active"
change_snap
quietly lvchange -an $vg/$snap_lv
quietly lvchange -ay $vg/$origin_lv
before=$(state)
merges $vg/$snap_lv
diff <(echo "$before") <(state) || fail "not everything was put back"
quietly lvchange -an $vg/$origin_lv
parts_are_gone
shows /run/view
snap_is /run/view

note "SNAP inactive"
change_snap
quietly lvchange -an $vg/$snap_lv
parts_are_gone
before=$(state)
says 0 . plan $vg/$snap_lv
merges $vg/$snap_lv
diff <(echo "$before") <(state) || fail "not everything was put back"
parts_are_gone
shows /run/view
snap_is /run/view

note "killed with SNAP inactive, then SNAP is deactivated and activated, and resumed"
change_snap
quietly lvchange -an $vg/$snap_lv
kill_when is_copying merge --yes --batch-mode --rate-limit 500k --checkpoint-interval 64k $vg/$snap_lv
[[ $killed == yes ]] || fail "it ended before it was killed: $(< /run/said)"
quietly lvchange -ay -K $vg/$snap_lv
snap_is /run/view
quietly lvchange -an $vg/$snap_lv
says 0 Merged resume $vg/$snap_lv
parts_are_gone
shows /run/view
says 0 . verify $vg/$snap_lv
parts_are_gone

note "SNAP is deactivated during the merge"
change_snap
"$EXTMERGE" merge --yes --batch-mode --rate-limit 1M --checkpoint-interval 64k $vg/$snap_lv > /run/said 2>&1 &
merger=$!
until is_copying || ! kill -0 $merger 2> /dev/null; do pause 0.02; done
quietly lvchange -an $vg/$snap_lv
wait $merger || fail "the merge failed: $(< /run/said)"
parts_are_gone
nothing_left
shows /run/view

note "SNAP mounted"
quietly lvchange -ay $vg/$snap_lv
quietly mkfs.ext4 -q -F -b 4096 /dev/$vg/$snap_lv
mount /dev/$vg/$snap_lv /run/mounted
write_files /run/mounted a 5
sync -f /run/mounted
merges $vg/$snap_lv
write_files /run/mounted b 5
says 0 . plan $vg/$snap_lv
sums /run/mounted > /run/sums
umount /run/mounted
kernel_view $snap_lv /run/view

if [[ $kind == thin_with_snapshot ]]; then
  kernel_view frozen /run/frozen_now
  cmp /run/frozen /run/frozen_now || fail "a snapshot of the origin has changed"
fi
if [[ $kind == chain ]]; then
  diff /run/base_sum <(base_data | sha256sum) || fail "the base of the chain has changed"
  quietly lvremove -y $vg/beside
fi

note "finished"
merges --finish $vg/$snap_lv
cat /run/said
nothing_left
! is_there $snap_lv || fail "SNAP is still there"
parts_are_gone
quietly lvchange -ay $vg/$origin_lv
kernel_view $origin_lv /run/origin_now
cmp /run/view /run/origin_now || fail "the origin is not what it should be"
origin_has_files /run/sums
kernel_view $origin_lv /run/view
[[ $(lvs_of lv_attr $vg/$origin_lv) == *\ ?w* ]] || fail "the origin is not writable: $(lvs_of lv_attr $vg/$origin_lv)"

note "finished with a SNAP that has grown: the origin is extended"
new_snapshot
quietly lvextend -y -L +8M $vg/$snap_lv
stamp scatter /dev/$vg/$snap_lv 9 5 40
rm -f "$EXTMERGE_STATE_DIR"/* # the mount of the origin has written to it
kernel_view $snap_lv /run/view
merges --finish $vg/$snap_lv
cat /run/said
nothing_left
! is_there $snap_lv || fail "SNAP is still there"
parts_are_gone
quietly lvchange -ay $vg/$origin_lv
kernel_view $origin_lv /run/origin_now
cmp -n "$(stat -c %s /run/view)" /run/view /run/origin_now || fail "the origin is not what it should be"
kernel_view $origin_lv /run/view

case $kind in
  raid[1-9]*)
    note "scrubbed"
    wait_for_sync
    if [[ $kind != *integrity* ]]; then
      quietly lvchange --syncaction check $vg/$origin_lv
      wait_for_sync
    fi
    lvs -a -o lv_name,lv_attr,raid_sync_action,raid_mismatch_count,lv_health_status $vg
    [[ $(lvs_of raid_mismatch_count $vg/$origin_lv | tr -d ' ') == 0 ]] || fail "the legs differ"
    ;;
  on_md)
    note "scrubbed"
    lvs -o lv_name,devices $vg
    echo check > /sys/block/md0/md/sync_action
    until [[ $(< /sys/block/md0/md/sync_action) == idle ]]; do pause 0.1; done
    [[ $(< /sys/block/md0/md/mismatch_cnt) == 0 ]] || fail "the disks of the array differ"
    ;;
  mirror)
    quietly lvconvert -y -m0 $vg/$origin_lv /dev/ubdb
    kernel_view $origin_lv /run/origin_now
    cmp /run/view /run/origin_now || fail "a leg is not what it should be"
    ;;
  cache* | writecache)
    note "uncached"
    [[ $kind != writecache ]] || quietly lvchange -an $vg/$origin_lv
    quietly lvconvert -y --uncache $vg/$origin_lv
    quietly lvchange -ay $vg/$origin_lv
    [[ $(lvs_of segtype $vg/$origin_lv) == *linear* ]] || fail "still cached"
    kernel_view $origin_lv /run/origin_now
    cmp /run/view /run/origin_now || fail "the bytes below the cache are not what they should be"
    ;;
  chain)
    diff /run/base_sum <(base_data | sha256sum) || fail "the base of the chain has changed"
    ;;
esac
no_cookie
