#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
#
# merge-at-night.sh VG/SNAP
#
# Brings a mounted snapshot of LVM home with a downtime of seconds: what has piled up is merged while it is in use; then
# it is unmounted, what was written meanwhile is merged, the snapshot is removed, and the origin, an ordinary volume
# now, is mounted in its place. If that merge fails, the snapshot is mounted again. After a power cut run it again: the
# merge goes on where it was; what was unmounted then is for you to mount. Its exit status is that of the extmerge
# that failed, else 0, or 5 where something could not be unmounted, started or mounted.
#
# What has to be stopped and started around it: the two functions. fstab is not looked at: where it names the snapshot,
# name the origin instead.
set -uo pipefail
export LC_ALL=C.UTF-8

stop_services() { :; }  # systemctl stop postgresql
start_services() { :; } # systemctl start postgresql

source=${1:?usage: merge-at-night.sh VG/SNAP}
origin='' options='' mountpoint=''

die() {
  echo "merge-at-night: $1" >&2
  exit "${2-5}"
}

# in_rounds COMMAND...: again a few times where that may help: 3 resources, 5 in use, 7 an I/O error.
in_rounds() {
  local try status
  for try in 1 2 3; do
    ((try == 1)) || sleep 10
    "$@"
    status=$?
    ((status == 3 || status == 5 || status == 7)) || break
  done
  return $status
}

# Whatever has happened: what is there is mounted, and only then the services start.
put_back() {
  local status=$? volumes volume=$origin how=--read-only
  trap '' HUP INT TERM
  # Only where LVM says that the snapshot is gone it is the origin's turn.
  volumes=$(lvs --noheadings --options lv_full_name "${source%/*}") ||
    die "LVM does not answer; nothing is mounted on $mountpoint, its services are stopped"
  [[ ! " "$(echo $volumes)" " == *" $source "* ]] || volume=$source
  if ! findmnt --mountpoint "$mountpoint" --source "/dev/$volume" > /dev/null; then
    # Not read-only by itself, should the device be.
    [[ ,$options, != *,rw,* ]] || how=--read-write
    lvchange --activate y --ignoreactivationskip "$volume" &&
      mount $how --options "$options" "/dev/$volume" "$mountpoint" ||
      die "/dev/$volume is not mounted on $mountpoint, its services are stopped" $((status ? status : 5))
  fi
  start_services || die "services do not start" $((status ? status : 5))
  exit $status
}

volumes=$(lvs --noheadings --options lv_full_name "${source%/*}") || exit
# A finish that was interrupted may have removed it already; only extmerge knows what is left to do.
[[ " "$(echo $volumes)" " == *" $source "* ]] || exec extmerge merge --batch-mode --finish "$source"

# While it is in use: nearly all of it, or nothing where nothing was written since the last time.
in_rounds extmerge merge --batch-mode "$source" || exit

# What cannot end well is not begun.
origin=$(lvs --noheadings --options vg_name,origin --separator / "$source" | tr -d ' ') || exit
readers=$(lvs --noheadings --options lv_name --select "origin=${origin#*/}" "${source%/*}") || exit
(($(wc -w <<< "$readers") == 1)) || die "others read $origin, which stays read-only for them:$(echo "" $readers)" 4
mapfile -t mounts < <(findmnt --noheadings --raw --output FSROOT,TARGET --source "/dev/$source")
((${#mounts[@]} < 2)) && [[ ${mounts[0]-/ } == "/ "* ]] || die "$source is mounted in several places, or a part of it: ${mounts[*]}"

# The rest, and the swap.
if ((${#mounts[@]} == 1)); then
  printf -v mountpoint %b "${mounts[0]#/ }"
  options=$(findmnt --noheadings --output OPTIONS --mountpoint "$mountpoint") || exit
  trap put_back EXIT
  trap 'exit 7' HUP INT TERM
  stop_services && umount "$mountpoint" || exit 5
fi
in_rounds extmerge merge --batch-mode --finish "$source"
