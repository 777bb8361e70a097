#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
#
# lvm_rounds.sh HISTORIES [SEED]: random histories of a volume that is merged in rounds. The first seed is SEED, or 1.
# The volume is written to, discarded, shortened, extended, and reverted to snapshots. The histories make and remove
# snapshots of it and of others. They kill and undo merges, restore the pool's metadata from a dump, and restart.
# The kernel's view of SNAP right before each merge is the truth. The history tells whether a merge must be a
# round, or a full merge for which reason. A round must not copy a block that nobody wrote to. Before some
# rounds the test compares the plan with the mappings and contents of two snapshots.
source "$(dirname "$0")/guest_lvm.sh"

histories=${1:-6} first_seed=${2:-1}
log=/run/saved/undo
mkdir -m 700 /run/saved
# extmerge reads the boot's id only from proc. The kernel's domain name is a file there that takes any text.
new_boot_id() { cat /proc/sys/kernel/random/uuid > /proc/sys/kernel/domainname; }
new_boot_id
mount --bind /proc/sys/kernel/domainname /proc/sys/kernel/random/boot_id

coproc MODEL { exec python3 -B "$here/rounds_model.py"; }
exec {to_model}>&"${MODEL[1]}" {from_model}<&"${MODEL[0]}"

seed= steps=
fail() {
  printf 'FAILED: seed %s: %s\n  after:%s\n' "$seed" "$*" "$steps"
  [[ ! -s /run/said ]] || cat /run/said
  exit 1
}
# ask COMMAND...: sets `answer` to the model's.
ask() {
  echo "$*" >&$to_model
  read -r -u $from_model answer
  [[ $answer != bad:* ]] || fail "$1: ${answer#bad: }"
}
did() { steps+=" $*,"; }
# among FIRST LAST: sets `rolled`. It must not run in a subshell: there RANDOM repeats itself.
among() { rolled=$(($1 + RANDOM % ($2 - $1 + 1))); }
chance() { ((RANDOM % 100 < $1)); }
settle() { [[ $udev == 0 ]] || udevadm settle; }

# size_of LV: sets `size` to the bytes of an active volume.
size_of() {
  local sectors
  find_node "${vg//-/--}-$1" || fail "$1 is not active"
  read -r sectors < "$node/size"
  size=$((sectors * 512))
}
activate() { is_active "$1" || quietly lvchange -ay -K $vg/"$1"; }
deactivate() {
  settle
  ! is_active "$1" || quietly lvchange -an $vg/"$1"
}
deactivate_all() {
  settle
  # LVM does not know the node of a killed merge. A reboot removes it.
  ! find_node "$vg-$origin_lv-extmerge" || dmsetup remove "$vg-$origin_lv-extmerge"
  # After a kill LVM 2.03.16 sometimes ends with 5, since the layer -real is in use, although all is inactive then.
  vgchange -an $vg &> /run/vgchange || quietly vgchange -an $vg
  [[ $(dmsetup table) == 'No devices found' ]] || fail "vgchange -an leaves devices: $(dmsetup table)"
}
activate_all() {
  quietly vgchange -ay $vg
  activate $snap_lv
}

# pick NAME...: sets `picked` to one of them.
pick() {
  among 1 $#
  picked=${!rolled}
}
without() {
  local one kept=()
  for one in "${inner[@]}"; do [[ $one == "$1" ]] || kept+=("$one"); done
  inner=("${kept[@]}")
}

# --- steps ---------------------------------------------------------------------------------------

write_snap() {
  among 1 ${1:-10}
  did "$rolled writes"
  ask write /dev/mapper/$vg-$snap_lv $rolled snap
}
discard_snap() {
  among 1 3
  did "$rolled discards"
  ask discard /dev/mapper/$vg-$snap_lv $rolled
}
# A snapshot of SNAP stays until a later step or merge removes it. `inner` lists all other readers of the origin.
new_inner() {
  ((${#inner[@]} < 3)) || return 0
  local name=inner${reverts}_$((++names))
  did "snapshot $name"
  quietly lvcreate -y -s -n $name $vg/$snap_lv
  inner+=($name)
  chance 30 || return 0
  activate $name
  among 1 4
  did "$rolled writes to it"
  ask write /dev/mapper/$vg-$name $rolled
  ! chance 50 || deactivate $name
}
# Another volume over the origin maps few blocks itself.
new_over() {
  ((${#inner[@]} < 3)) || return 0
  local name=over$((++names))
  did "another snapshot $name of the origin"
  new_snapshot $name
  inner+=($name)
  among 1 4
  ask write /dev/mapper/$vg-$name $rolled
}
drop_inner() {
  ((${#inner[@]})) || return 0
  pick "${inner[@]}"
  did "remove $picked"
  settle
  quietly lvremove -y $vg/$picked
  without $picked
}
# Another thin without an external origin, and a snapshot of it: the pool's time rises.
other_thin() {
  if ((!has_plain)); then
    did "another thin"
    quietly lvcreate -y -V 4M --thinpool $vg/$pool_lv -n plain
    has_plain=1
  fi
  activate plain
  among 1 5
  ask write /dev/mapper/$vg-plain $rolled
  ((plain_snapshot)) || {
    did "snapshot of another thin"
    quietly lvcreate -y -s -n plain_snap $vg/plain
    plain_snapshot=1
    return
  }
  did "remove that snapshot"
  quietly lvremove -y $vg/plain_snap
  plain_snapshot=0
}
# LVM reverts SNAP only to a snapshot of its present thin. After a revert, snapshots of the earlier thin stay.
revert() {
  ((${#inner[@]})) || {
    new_inner
    return
  }
  pick "${inner[@]}"
  [[ $picked == inner${reverts}_* ]] || return 0
  did "revert to $picked"
  deactivate $snap_lv
  deactivate $picked
  quietly lvconvert -y --merge $vg/$picked
  activate $snap_lv
  ! is_there $picked || fail "LVM has not reverted SNAP to $picked"
  without $picked
  reverts=$((reverts + 1)) other_thin_merged=1
  drop_first
}
# Some of what is cut off was not merged yet. It shows again when SNAP grows.
cut_snap() {
  size_of $snap_lv
  among $((size / 8192)) $((size / 4096 - 1))
  did "3 writes past $((rolled * 4))k, cut to that"
  ask write /dev/mapper/$vg-$snap_lv 3 snap $((rolled * 4096))
  shorten $vg/$snap_lv $((rolled * 4))k
}
grow_snap() {
  size_of $snap_lv
  local most=$((origin_size / 4096 + (RANDOM % 3 == 0 ? 100 : 0)))
  ((size / 4096 < most)) || return 0
  among $((size / 4096 + 1)) $most
  ! chance 40 || rolled=$((origin_size / 4096))
  ((rolled * 4096 > size)) || return 0
  did "grow to $((rolled * 4))k"
  quietly lvextend -y -L $((rolled * 4))k $vg/$snap_lv
  ((rolled * 4096 <= origin_size)) || was_longer=1
}
# LVM swaps the pool's metadata with a volume, and back.
swap_metadata() { quietly lvconvert -y --thinpool $vg/$pool_lv --poolmetadata $vg/swap; }
restore_metadata() {
  did "thin_dump | thin_restore"
  deactivate_all
  quietly lvcreate -y -an -Zn -Wn -n swap -L 4M $vg
  swap_metadata
  quietly lvchange -ay $vg/swap
  thin_dump /dev/$vg/swap > /run/dump || fail "thin_dump"
  dd if=/dev/zero of=/dev/$vg/swap bs=1M count=4 oflag=direct status=none
  quietly thin_restore -i /run/dump -o /dev/$vg/swap
  quietly thin_check /dev/$vg/swap
  settle
  quietly lvchange -an $vg/swap
  swap_metadata
  quietly lvremove -y $vg/swap
  activate_all
}
restart() {
  did "restart"
  deactivate_all
  new_boot_id
  activate_all
}
reactivate() {
  did "deactivate and activate"
  deactivate_all
  activate_all
}
step() {
  among 0 99
  if ((rolled < 30)); then write_snap
  elif ((rolled < 38)); then discard_snap
  elif ((rolled < 50)); then new_inner
  elif ((rolled < 52)); then new_over
  elif ((rolled < 54)); then drop_inner
  elif ((rolled < 61)); then other_thin
  elif ((rolled < 72)); then revert
  elif ((rolled < 85)); then cut_snap
  elif ((rolled < 92)); then grow_snap
  elif ((rolled < 95)); then restore_metadata
  elif ((rolled < 98)); then restart
  else reactivate
  fi
}

# --- two snapshots as another witness ------------------------------------------------------------

# keep_first: SNAP is idle, and the origin has all of it.
keep_first() {
  did "keep first"
  quietly lvcreate -y -s -pr -n first $vg/$snap_lv
  has_first=1
}
drop_first() {
  ((has_first)) || return 0
  settle
  quietly lvremove -y $vg/first
  has_first=0
}
# compare_with_first END: compares the plan of the next round with a snapshot made now and the first one.
compare_with_first() {
  local one id root status=0
  quietly lvcreate -y -s -pr -n second $vg/$snap_lv
  dmsetup message $vg-$pool_lv-tpool 0 reserve_metadata_snap
  for one in first second; do
    id=$(lvs_of thin_id $vg/$one)
    thin_dump -m --dev-id $id /dev/mapper/$vg-${pool_lv}_tmeta > /run/dump_$one || fail "thin_dump of $one"
  done
  dmsetup message $vg-$pool_lv-tpool 0 release_metadata_snap
  for one in first second; do kernel_view $one /run/view_$one; done
  cmp /run/view /run/view_second || fail "a snapshot of SNAP is not what SNAP was"
  "$EXTMERGE" plan --ranges --allow-shared-origin $longer $vg/$snap_lv > /run/ranges 2> /run/said || status=$?
  ((status == 0)) || fail "plan ended with $status"
  ask compare /run/dump_first /run/dump_second /run/view_first /run/view_second /run/ranges $1
  did "plan has $answer blocks"
  settle
  quietly lvremove -y $vg/second
  drop_first
  compared=$((compared + 1))
}

# --- merges --------------------------------------------------------------------------------------

merge() {
  local status=0
  "$EXTMERGE" merge --yes --batch-mode --json $longer "$@" $vg/$snap_lv > /run/json 2> /run/said || status=$?
  merge_status=$status
}
must_merge() {
  merge "$@"
  ((merge_status == 0)) || fail "merge $* ended with $merge_status: $(< /run/json)"
}
# merge_beside_others ARGUMENT...: other readers of the origin read as before, or the merge refuses.
merge_beside_others() {
  local one
  for one in "${inner[@]}"; do kernel_view $one /run/view_$one; done
  merge "$@"
  if ((merge_status == 0)); then
    for one in "${inner[@]}"; do
      kernel_view $one /run/view_now
      cmp /run/view_$one /run/view_now || fail "$one reads differently"
    done
    ((!${#inner[@]})) || beside=$((beside + 1))
    return
  fi
  ((merge_status == 4 && ${#inner[@]})) && grep -q EXM-417 /run/json /run/said ||
    fail "merge $* ended with $merge_status: $(< /run/json)"
  origin_is /run/before
  if chance 35; then
    did "refused"
    while ((${#inner[@]})); do drop_inner; done
    must_merge "$@"
  else
    did "refused, allowed"
    must_merge --allow-shared-origin "$@"
  fi
}
# kill_a_merge: kills a merge while it copies. Sets `base` to what the next one goes on from.
kill_a_merge() {
  kill_when is_copying merge --yes --batch-mode --json --rate-limit 256k --checkpoint-interval 64k \
    --allow-shared-origin $longer $vg/$snap_lv
  if [[ $("$EXTMERGE" status $vg/$snap_lv 2> /dev/null) =~ state\ +copying ]]; then
    did "killed"
    kills=$((kills + 1))
    if chance 30; then
      did "aborted"
      quietly "$EXTMERGE" abort $vg/$snap_lv
      base=none
      return
    fi
    if chance 40; then write_snap; fi
    if chance 40; then restart; fi
    if chance 15; then restore_metadata; fi
    [[ $expected == since ]] && base="unfinished round" || base="unfinished full"
    return
  fi
  did "not killed in time"
  # The merge is done, or was killed right after that: nothing was written since.
  base=done other_thin_merged=0
  ask merged $end
}
# next_round: sets `expected` and `reason` of a merge that begins now.
next_round() {
  expected=full
  case $base in
    none) reason="no earlier merge" ;;
    undone) reason="undone" ;;
    "unfinished full") reason="unfinished" ;;
    "unfinished round") expected=since reason= ;;
    done)
      if ((other_thin_merged)); then
        reason="another thin"
      else
        expected=since reason=
      fi
      ;;
  esac
}

# round NUMBER LAST
round() {
  local how=idle arguments=()
  among 0 99
  if (($1 == $2)); then
    ((rolled >= 40 || ${#inner[@]})) || how=finished
  elif ((rolled < 15)); then how=written
  elif ((rolled < 30)); then how=killed
  elif ((rolled < 45)); then how=undone
  fi
  did "merge $1 ($how)"
  size_of $snap_lv
  end=$((size < origin_size ? size : origin_size))
  longer=
  ((!was_longer)) || longer=--beyond-origin=drop
  next_round
  kernel_view $snap_lv /run/view
  origin_data > /run/before
  ask expect /run/view /run/before /run/expected
  ((!has_first)) || {
    if [[ $expected == since ]]; then compare_with_first $end; else drop_first; fi
  }
  ask merging
  if [[ $how == idle ]] && chance 25; then
    did "inactive"
    deactivate $snap_lv
    ! chance 40 || deactivate_all
  fi
  if [[ $how == idle && $expected == since ]] && chance 5; then
    did "--full"
    expected=full reason=--full arguments=(--full)
  fi
  case $how in
    idle) merge_beside_others "${arguments[@]}" ;;
    finished)
      drop_first
      must_merge --finish
      ;;
    undone)
      rm -f $log
      merge_beside_others --undo-log $log
      ;;
    written)
      ask start /dev/mapper/$vg-$snap_lv
      merge --rate-limit 2M --allow-shared-origin
      ask stop
      did "$answer writes meanwhile"
      ((merge_status == 0)) || fail "merge ended with $merge_status: $(< /run/json)"
      ;;
    killed)
      kill_a_merge
      next_round
      must_merge --allow-shared-origin
      ;;
  esac
  ask check /run/json $end $expected $reason
  did "$answer"
  [[ $expected == full ]] || since=$((since + 1))
  nothing_left_but_skips
  if [[ $how != written ]]; then origin_is /run/expected; fi
  ask merged $end
  base=done other_thin_merged=0
  if [[ $how == finished ]]; then
    ! is_there $snap_lv || fail "SNAP is still there"
    return
  fi
  activate $snap_lv
  if [[ $how == idle ]]; then
    kernel_view $snap_lv /run/view_now
    cmp /run/view /run/view_now || fail "SNAP reads differently"
  fi
  if [[ $how == undone ]] && [[ -s $log ]]; then
    if chance 40; then write_snap; fi
    did "undo"
    kernel_view $snap_lv /run/view
    quietly "$EXTMERGE" undo --yes --batch-mode --allow-shared-origin $vg/$snap_lv
    origin_is /run/before
    kernel_view $snap_lv /run/view_now
    cmp /run/view /run/view_now || fail "SNAP reads differently after the undo"
    base=undone
    undone=$((undone + 1))
  fi
  if [[ $how == idle ]] && chance 40; then keep_first; fi
}
# Internal snapshots skip activation as LVM makes them.
nothing_left_but_skips() {
  [[ $(lvs_of lv_name,lv_tags) != *extmerge* ]] || fail "left behind: $(lvs_of lv_name,lv_tags)"
  ! is_held || fail "a metadata snapshot is left behind"
}

history() {
  local sizes=(6144k 6148k 7700k 8196k 8256k) chunks=(64k 64k 64k 128k 192k) i j rounds
  seed=$1 steps=
  RANDOM=$((seed * 1103515245 % 2147483647)) # seeds that are near to each other begin alike
  : > /run/said
  inner=() names=0 reverts=0 has_plain=0 plain_snapshot=0 was_longer=0 has_first=0 base=none other_thin_merged=0
  rm -f "$EXTMERGE_STATE_DIR"/*
  pick "${chunks[@]}"
  local chunk=$picked
  pick "${sizes[@]}"
  did "origin $picked, chunk $chunk"
  origin_size=$((${picked%k} * 1024))
  new_group
  new_origin "$picked"
  new_pool $chunk 120M
  new_snapshot
  ask history $seed $((${chunk%k} * 1024))
  # Where SNAP maps nearly all, another reader of the origin can map what a round changes.
  pick 20 20 40 120
  ask write /dev/mapper/$vg-$snap_lv $picked snap
  among 3 5
  rounds=$rolled
  for ((i = 1; i <= rounds; ++i)); do
    # In a quiet round little is written, or nothing.
    if chance 25; then
      did "quiet"
      ! chance 30 || discard_snap
      ! chance 60 || write_snap 2
    else
      ! chance 70 || grow_snap
      among 1 5
      for ((j = rolled; j > 0; --j)); do step; done
      write_snap
    fi
    round $i $rounds
  done
  settle
  no_group
  merged=$((merged + rounds))
}

merged=0 since=0 undone=0 kills=0 compared=0 beside=0
for ((number = 0; number < histories; ++number)); do
  started=$SECONDS
  history $((first_seed + number))
  note "seed $seed, $((SECONDS - started)) s:$steps"
done
note "$histories histories, $merged merges: $since rounds, $undone undone, $kills killed, $beside beside readers that" \
  "read as before; $compared plans compared with snapshots"
((since * 4 >= merged)) || fail "most merges should be rounds"
[[ $(dmsetup table) == 'No devices found' ]] || fail "devices are left"
