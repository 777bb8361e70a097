#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
#
# merge-at-night.sh VG/SNAP
#
# Brings a mounted snapshot of LVM home with a downtime of seconds: what has piled up is merged while it is in use; then
# it is unmounted, what was written meanwhile is merged, the snapshot is removed, and the origin, an ordinary volume
# now, is mounted in its place. If the merge fails, the snapshot is mounted again. After a power cut run it again: the
# merge goes on where it was; what was unmounted then is for you to mount. Exits as extmerge does.
#
# What has to be stopped and started around it, see the two functions. They run only while it is mounted. fstab is
# not looked at: where it names the snapshot, name the origin instead.
set -uo pipefail

stop_services() { :; }  # systemctl stop postgresql
start_services() { :; } # systemctl start postgresql

source=${1:?usage: merge-at-night.sh VG/SNAP}
mountpoint=

is_there() { [[ -n $(lvs --noheadings --options lv_name --select "lv_full_name=$1" 2> /dev/null) ]]; }

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
  [[ -n $mountpoint ]] || return
  if ! mountpoint --quiet "$mountpoint"; then
    local volume=$origin
    ! is_there "$source" || volume=$source
    lvchange --activate y "$volume" && mount --options "$options" "/dev/$volume" "$mountpoint" || {
      echo "merge-at-night: $mountpoint is not mounted, and its services are stopped: mount /dev/$volume" >&2
      return
    }
  fi
  start_services
}

# A finish that was interrupted may have removed it already; only extmerge knows what is left to do.
is_there "$source" || exec extmerge merge --batch-mode --finish "$source"

# While it is in use: nearly all of it. EXM-604: nothing was written since the last time.
said=$(in_rounds extmerge merge --batch-mode "$source" 2>&1)
status=$?
printf '%s\n' "$said"
((status == 0)) || [[ $said == *EXM-604* ]] || exit $status

# The rest, and the swap.
origin=$(lvs --noheadings --options vg_name,origin --separator / "$source" | tr -d ' ') || exit
options=$(findmnt --noheadings --first-only --output OPTIONS --source "/dev/$source")
mountpoint=$(findmnt --noheadings --first-only --output TARGET --source "/dev/$source")
trap put_back EXIT
trap 'exit 7' HUP INT TERM
if [[ -n $mountpoint ]]; then
  stop_services && umount "$mountpoint" || exit 5
fi
in_rounds extmerge merge --batch-mode --finish "$source"
