#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
#
# merge-at-night.sh VG/SNAP
#
# Brings a mounted snapshot of LVM home with a downtime of seconds: what has piled up is merged while it is in use; then
# it is unmounted, what was written meanwhile is merged, the snapshot is removed, and the origin, an ordinary volume
# now, is mounted in its place. If that fails, the snapshot is mounted again. After a power cut run it again: the merge goes on where
# it was; what was unmounted then is for you to mount. Exits as extmerge does.
#
# What depends on the file system has to be stopped and started around it; see the two functions. fstab is not
# looked at: if it names the snapshot, name the origin there.
set -euo pipefail

stop_services() { :; }  # systemctl stop postgresql
start_services() { :; } # systemctl start postgresql

source=${1:?usage: merge-at-night.sh VG/SNAP}
device=/dev/$source

# in_rounds COMMAND...: extmerge, again a few times where that may help: 3 resources, 5 in use, 7 an I/O error.
in_rounds() {
  local status
  for _ in 1 2 3; do
    status=0
    "$@" || status=$?
    case $status in
      3 | 5 | 7) sleep 10 ;;
      *) return $status ;;
    esac
  done
  return $status
}

# While it is in use: nearly all of it.
extmerge plan "$source"
in_rounds extmerge merge --batch-mode "$source"

# The rest, and the swap.
mountpoint=$(findmnt --noheadings --first-only --output TARGET --source "$device" || true)
options=$(findmnt --noheadings --first-only --output OPTIONS --source "$device" || true)
origin=$(lvs --noheadings --options vg_name,origin --separator / "$source" | tr -d ' ')
stop_services
trap start_services EXIT
[[ -z $mountpoint ]] || umount "$mountpoint"
status=0
in_rounds extmerge merge --batch-mode --finish "$source" || status=$?
if ((status == 0)); then
  lvchange --activate y "$origin"
  device=/dev/$origin
fi
# Not merged: the snapshot goes on as before.
[[ -z $mountpoint ]] || mount -o "$options" "$device" "$mountpoint"
exit $status
