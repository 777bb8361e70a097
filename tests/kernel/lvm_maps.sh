#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
#
# plan --export of volumes: ddrescue brings a copy of the base to the state of a snapshot with the map's help, and the
# result is what the kernel reads from that snapshot.
source "$(dirname "$0")/guest_lvm.sh"

command -v ddrescue > /dev/null || {
  echo "skipped: there is no ddrescue"
  exit 77
}
new_everything 64k 8196k

# snapshot NAME: a snapshot of SNAP that nobody can write to, its view in /run/NAME
snapshot() {
  quietly lvcreate -y -s -kn -pr -n "$1" $vg/$snap_lv
  kernel_view "$1" /run/"$1"
}
# brings COPY NAME: ddrescue copies the map's domain from the snapshot's device, and COPY then is what the kernel reads
brings() {
  truncate -s "$(stat -c %s /run/"$2")" "$1"
  rm -f /run/done
  quietly ddrescue --quiet --domain-mapfile /run/map /dev/$vg/"$2" "$1" /run/done
  cmp "$1" /run/"$2" || fail "the map of $2 leads to other bytes"
}
# maps NAME [BASE...]: writes /run/map. Nothing in the group changes.
maps() {
  local name=$1 before
  shift
  before=$(state)
  rm -f /run/map
  says 0 'own data' plan --export ddrescue /run/map "$@" $vg/"$name"
  diff <(echo "$before") <(state) || fail "the map changed something"
  ! is_held || fail "the metadata snapshot is still held"
}

note "a volume in use is refused, with the way out"
refuses 5 'EXM-506.*active and writable' plan --export borg /run/map $vg/$snap_lv
grep -q "lvcreate -s -kn -pr -n NAME $vg/$snap_lv" /run/said || fail "no way out: $(< /run/said)"
[[ ! -e /run/map ]] || fail "there is a map"

note "beside a copy of the origin, and beside nothing"
snapshot night
dd if=/dev/mapper/"$(dm_name $origin_lv)"-real of=/run/copy bs=1M iflag=direct status=none
maps night --since origin
brings /run/copy night
grep -q ' ?$' /run/map || fail "the map leaves nothing out"
maps night
: > /run/copy
brings /run/copy night

note "since a merge"
merges $vg/$snap_lv
journal=$(echo "$EXTMERGE_STATE_DIR"/*.journal)
change_snap
snapshot second
cp /run/night /run/copy
maps second --since "$journal"
brings /run/copy second
says 6 EXM-618 plan --export ddrescue /run/refused --since "$journal" $vg/night
[[ ! -e /run/refused ]] || fail "there is a map"

note "with snapshot and pool inactive"
quietly lvchange -an $vg/night $vg/second $vg/$snap_lv $vg/$pool_lv
cp /run/night /run/copy
maps second --since "$journal"
quietly lvchange -ay $vg/second
brings /run/copy second

note "a snapshot that is longer than its origin shows zeros at its end"
quietly lvchange -ay $vg/$snap_lv
quietly lvextend -y -L +4M $vg/$snap_lv
stamp range /dev/$vg/$snap_lv 7 20480 128
snapshot third
cp /run/night /run/copy
maps third --since "$journal"
brings /run/copy third
says 0 . plan --export json /run/json $vg/third
grep -q '"content": "zero"' /run/json || fail "no zeros: $(tail -3 /run/json)"
