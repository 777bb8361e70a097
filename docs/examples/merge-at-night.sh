#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
#
# merge-at-night.sh VG/SNAP
#
# Merges a mounted snapshot of LVM, removes it, and mounts the origin in its place. The snapshot stays in use until extmerge has
# merged and compared everything. Then the script stops the services and unmounts the snapshot, and extmerge merges the rest. Its
# last message states how long the volume was out of use. If that fails, the script mounts the snapshot again. After a power cut
# run the script again. A file system that was unmounted by then stays unmounted: mount it yourself. The exit status is that of
# extmerge. It is 5 if a file system or a service could not be unmounted, started or mounted.
#
# The two functions stop and start your services. The script does not read fstab: if fstab names the snapshot, name the origin there.
set -uo pipefail
export LC_ALL=C.UTF-8

stop_services() { :; }  # systemctl stop postgresql
start_services() { :; } # systemctl start postgresql

source=${1:?usage: merge-at-night.sh VG/SNAP}
origin='' options='' mountpoint='' extmerge='' stopped='' failed=''

die() {
  echo "merge-at-night: $1" >&2
  exit "${2-5}"
}

# end_of_extmerge: waits for it. Its exit status is that of the function.
end_of_extmerge() {
  local process=$extmerge
  extmerge=''
  wait "$process"
}

# put_back: after success or failure, mounts the volume that exists now. Only then the services start.
put_back() {
  local status=$? volumes volume=$origin how=--read-only
  trap '' HUP INT TERM
  [[ -z $extmerge ]] || { kill "$extmerge"; end_of_extmerge; }
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
  [[ -z $stopped ]] || start_services || die "services do not start" $((status ? status : 5))
  exit $status
}

volumes=$(lvs --noheadings --options lv_full_name "${source%/*}") || exit
# An interrupted finish may have removed the snapshot already. Only extmerge knows the steps that are left.
[[ " "$(echo $volumes)" " == *" $source "* ]] || exec extmerge merge --batch-mode --finish "$source"

# The origin stays read-only as long as another volume reads it.
origin=$(lvs --noheadings --options vg_name,origin --separator / "$source" | tr -d ' ') || exit
readers=$(lvs --noheadings --options lv_name --select "origin=${origin#*/}" "${source%/*}") || exit
(($(wc -w <<< "$readers") == 1)) || die "others read $origin, which stays read-only for them:$(echo "" $readers)" 4
mapfile -t mounts < <(findmnt --noheadings --raw --output FSROOT,TARGET --source "/dev/$source")
((${#mounts[@]} < 2)) && [[ ${mounts[0]-/ } == "/ "* ]] || die "$source is mounted in several places, or a part of it: ${mounts[*]}"

if ((${#mounts[@]} == 1)); then
  printf -v mountpoint %b "${mounts[0]#/ }"
  options=$(findmnt --noheadings --output OPTIONS --mountpoint "$mountpoint") || exit
  trap put_back EXIT
  trap 'exit 7' HUP INT TERM
fi
# extmerge merges in rounds while the snapshot is in use, compares everything, and waits until the snapshot is closed.
exec {said}< <(exec extmerge merge --batch-mode --finish --when-closed "$source" 2>&1)
extmerge=$!
while IFS= read -r line <&"$said"; do
  echo "$line"
  [[ $line == *" may be closed now"* && $mountpoint && ! $stopped ]] || continue
  stopped=yes
  stop_services && umount "$mountpoint" || { failed=5 && kill "$extmerge"; }
done
end_of_extmerge
exit ${failed:-$?}
