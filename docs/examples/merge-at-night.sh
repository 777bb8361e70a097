#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
#
# merge-at-night.sh VG/SNAP
#
# Merges a mounted snapshot of LVM with a downtime of seconds. The first merge runs while the snapshot is in use. Then the
# script unmounts the snapshot, merges the writes since, and removes the snapshot. In its place it mounts the origin, which is
# now an ordinary volume. If the last merge fails, the script mounts the snapshot again. After a power cut run the script
# again: it resumes the merge. A file system that was unmounted by then stays unmounted: mount it yourself. The exit status is
# that of the extmerge that failed. It is 5 if a file system or a service could not be unmounted, started or mounted, else 0.
#
# The two functions stop and start your services. The script does not read fstab: if fstab names the snapshot, name the origin there.
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

# in_rounds COMMAND...: tries up to three times if that may help: exit status 3 resources, 5 in use, 7 an I/O error.
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

# put_back: after success or failure, mounts the volume that exists now. Only then the services start.
put_back() {
  local status=$? volumes volume=$origin how=--read-only
  trap '' HUP INT TERM
  # The script mounts the origin only if LVM says that the snapshot is gone.
  volumes=$(lvs --noheadings --options lv_full_name "${source%/*}") ||
    die "LVM does not answer; nothing is mounted on $mountpoint, its services are stopped"
  [[ ! " "$(echo $volumes)" " == *" $source "* ]] || volume=$source
  if ! findmnt --mountpoint "$mountpoint" --source "/dev/$volume" > /dev/null; then
    # Without --read-write, mount would silently mount a read-only device read-only.
    [[ ,$options, != *,rw,* ]] || how=--read-write
    lvchange --activate y --ignoreactivationskip "$volume" &&
      mount $how --options "$options" "/dev/$volume" "$mountpoint" ||
      die "/dev/$volume is not mounted on $mountpoint, its services are stopped" $((status ? status : 5))
  fi
  start_services || die "services do not start" $((status ? status : 5))
  exit $status
}

volumes=$(lvs --noheadings --options lv_full_name "${source%/*}") || exit
# An interrupted finish may have removed the snapshot already. Only extmerge knows the steps that are left.
[[ " "$(echo $volumes)" " == *" $source "* ]] || exec extmerge merge --batch-mode --finish "$source"

# The first merge runs while the snapshot is in use. It copies nearly everything, or nothing if nothing was written since
# the last merge.
in_rounds extmerge merge --batch-mode "$source" || exit

# Check what would make the finish fail, before anything is stopped.
origin=$(lvs --noheadings --options vg_name,origin --separator / "$source" | tr -d ' ') || exit
readers=$(lvs --noheadings --options lv_name --select "origin=${origin#*/}" "${source%/*}") || exit
(($(wc -w <<< "$readers") == 1)) || die "others read $origin, which stays read-only for them:$(echo "" $readers)" 4
mapfile -t mounts < <(findmnt --noheadings --raw --output FSROOT,TARGET --source "/dev/$source")
((${#mounts[@]} < 2)) && [[ ${mounts[0]-/ } == "/ "* ]] || die "$source is mounted in several places, or a part of it: ${mounts[*]}"

# Merge the rest, and mount the origin instead of the snapshot.
if ((${#mounts[@]} == 1)); then
  printf -v mountpoint %b "${mounts[0]#/ }"
  options=$(findmnt --noheadings --output OPTIONS --mountpoint "$mountpoint") || exit
  trap put_back EXIT
  trap 'exit 7' HUP INT TERM
  stop_services && umount "$mountpoint" || exit 5
fi
in_rounds extmerge merge --batch-mode --finish "$source"
