#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
#
# How fast 1 GiB in scattered blocks is merged into an origin that is a raid1, a cache or a thin, beside a linear one.
# All four origins are in one group on one disk. Each round merges into each of them, and each is compared with the linear
# one of the same round. A raid1 writes everything twice to that disk, so its time counts half.
source "$(dirname "$0")/guest_lvm.sh"

modprobe -q -d /run -a dm-raid raid1 dm-cache dm-cache-smq || {
  echo "skipped: this kernel lacks dm-raid, raid1 or dm-cache"
  exit 77
}
rounds=3 blocks=16384 # of 64 KiB: 1 GiB, in every second block of 2 GiB
kinds=(linear raid1 cache thin)
declare -A copies=([linear]=1 [raid1]=2 [cache]=1 [thin]=1)

# write_scattered DEVICE NUMBER: writes every second block. Each page differs from all others and from other numbers.
write_scattered() {
  python3 -B - "$1" "$2" $blocks << 'WRITE'
import mmap, os, sys
device, number, blocks = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
memory = mmap.mmap(-1, 65536)
memory[:] = os.urandom(65536)
fd = os.open(device, os.O_WRONLY | os.O_DIRECT)
for block in range(blocks):
    for page in range(0, 65536, 4096):
        memory[page:page + 16] = number.to_bytes(8, "little") + block.to_bytes(8, "little")
    assert os.pwrite(fd, memory, block * 2 * 65536) == 65536
os.fsync(fd)
WRITE
}
# make KIND: the origin of that kind, fully written, and its snapshot
make() {
  origin_lv=$1
  case $1 in
    raid1) quietly lvcreate -y -Wn -Zn --nosync --type raid1 -m1 --alloc anywhere -n "$1" -L 2G $vg ;;
    thin)
      new_pool 64k 2200M pool2
      quietly lvcreate -y -V 2G -n "$1" --thinpool pool2 $vg
      ;;
    *) quietly lvcreate -y -Wn -Zn -n "$1" -L 2G $vg ;;
  esac
  quietly dd if=/dev/zero of=/dev/$vg/"$1" bs=1M count=2048 oflag=direct
  if [[ $1 == cache ]]; then
    quietly lvcreate -y --type cache-pool -n fast -L 512M --chunksize 64k $vg
    quietly lvconvert -y --type cache --cachepool fast --cachemode writeback $vg/"$1"
  fi
  quietly lvchange -an $vg/"$1"
  quietly lvchange -pr $vg/"$1"
  quietly lvcreate -y -s --thinpool $vg/$pool_lv -n "snap_$1" $vg/"$1"
}
# median VALUE...
median() { printf '%s\n' "$@" | sort -n | sed -n "$((($# + 1) / 2))p"; }

quietly pvcreate -qq -ff -y "${disks[@]}"
quietly vgcreate -s 4M $vg "${disks[@]}"
new_pool 64k 6G
for kind in "${kinds[@]}"; do make "$kind"; done
declare -A ratios
for ((round = 1; round <= rounds; ++round)); do
  for kind in "${kinds[@]}"; do
    write_scattered /dev/$vg/snap_"$kind" $round
    begin=$EPOCHREALTIME
    merges $vg/snap_"$kind"
    end=$EPOCHREALTIME
    whole=$(awk -v begin="$begin" -v end="$end" 'BEGIN { printf "%.2f", end - begin }')
    [[ $kind != linear ]] || linear=$whole
    ratio=$(awk -v a="$linear" -v b="$whole" -v copies="${copies[$kind]}" 'BEGIN { printf "%.2f", a / (b / copies) }')
    ratios[$kind]+=" $ratio"
    note "round $round, $kind: $whole s, of these for the copy: $(grep -o 'time .*' /run/said)"
  done
done
for kind in "${kinds[@]:1}"; do
  read -ra all <<< "${ratios[$kind]}"
  middle=$(median "${all[@]}")
  note "$kind beside linear (${all[*]}): $middle, at least 0.8: $(awk -v r="$middle" 'BEGIN { print (r >= 0.8 ? "reached" : "MISSED") }')"
done
no_group
