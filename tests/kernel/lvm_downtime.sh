#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
#
# lvm_downtime.sh MIB: how long SNAP is out of use for --finish, from closing it to the end. MIB of
# it are mapped and merged already, and 8 MiB in scattered blocks changed since. EXTMERGE_BEFORE
# names another build that is measured in the same boot. It asserts the result, not the time.
source "$(dirname "$0")/guest_lvm.sh"
mapped=${1:-1024} changed=128

prepare() {
  rm -f "$EXTMERGE_STATE_DIR"/*
  new_group
  quietly lvcreate -y -Wn -Zn -n $origin_lv -L "$((mapped + 256))M" $vg
  quietly lvcreate -y --type thin-pool -n $pool_lv -L "$((mapped * 5 / 2))M" --chunksize 64k \
    --poolmetadatasize 16M $vg
  new_snapshot
  dd if=/dev/urandom of=/run/random bs=1M count=16 status=none
  for ((at = 0; at < mapped; at += 16)); do
    dd if=/run/random of=/dev/$vg/$snap_lv bs=1M seek=$at conv=notrunc oflag=direct status=none
  done
}
change() {
  local i
  for ((i = 0; i < changed; ++i)); do
    dd if=/run/random of=/dev/$vg/$snap_lv bs=64k count=1 skip=$((i + 1)) \
      seek=$((i * (mapped * 16 / changed) + 3)) conv=notrunc oflag=direct status=none
  done
}
seconds() { awk -v a="$1" -v b="$2" 'BEGIN { printf "%.2f", b - a }'; }
now() { date +%s.%N; }

if [[ -n ${EXTMERGE_BEFORE-} ]]; then
  prepare
  "$EXTMERGE_BEFORE" merge --yes --batch-mode -qq $vg/$snap_lv
  change
  begun=$(now)
  "$EXTMERGE_BEFORE" merge --yes --batch-mode -qq --finish $vg/$snap_lv
  before=$(seconds "$begun" "$(now)")
  note "before: $before s out of use, $mapped MiB mapped"
  no_group
else
  note "skipped: the other build (EXTMERGE_BEFORE)"
fi

prepare
merges $vg/$snap_lv
exec 9<> /dev/mapper/"$(dm_name $snap_lv)"
"$EXTMERGE" merge --yes --batch-mode --finish --when-closed $vg/$snap_lv > /run/finish 2>&1 9>&- &
finish=$!
for ((i = 0; i < 3000; ++i)); do
  [[ ! $("$EXTMERGE" status $vg/$snap_lv 2> /dev/null) =~ state\ +waiting ]] || break
  kill -0 $finish 2> /dev/null || fail "it ended: $(< /run/finish)"
  pause 0.2
done
change
sum=$(dd if=/dev/mapper/"$(dm_name $snap_lv)" bs=1M iflag=direct status=none | sha256sum)
begun=$(now)
exec 9>&-
wait $finish || fail "it failed: $(< /run/finish)"
ours=$(seconds "$begun" "$(now)")
note "--when-closed: $ours s out of use, $mapped MiB mapped; $(grep -o 'out of use.*' /run/finish)"
[[ $sum == "$(origin_data | sha256sum)" ]] || fail "the origin is not what SNAP was"
! is_there $snap_lv || fail "the snapshot is still there"
[[ -z ${before-} ]] || note "ratio $(awk -v a="$before" -v b="$ours" 'BEGIN { printf "%.1f", a / b }')"
