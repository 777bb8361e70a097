#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
#
# merge-at-night.sh VG/SNAP
#
# Merges a mounted snapshot of LVM, removes it, and mounts the origin in its place. The services stop and the snapshot is unmounted
# only after extmerge has merged and compared everything. The last message of extmerge states how long the volume was out of use. If
# anything fails, the volume that exists then is mounted again. After a power cut run the script again, and mount the volume yourself.
# The exit status is that of extmerge. It is 5 if something could not be unmounted, mounted, stopped or started. After a signal it is
# 128 and the signal's number.
set -uo pipefail
export LC_ALL=C.UTF-8
source=${1:?usage: merge-at-night.sh VG/SNAP}

stop_services() { :; }  # systemctl stop postgresql
start_services() { :; } # systemctl start postgresql

mapfile -t mounts < <(findmnt --noheadings --raw --output TARGET,OPTIONS,FSROOT --source "/dev/$source")
# Nothing is mounted there, or an interrupted run has removed the snapshot.
((${#mounts[@]})) || exec extmerge merge --batch-mode --finish "$source"
read -r mountpoint options root <<< "${mounts[0]}"
printf -v mountpoint %b "$mountpoint"
origin=$(lvs --noheadings --options vg_name,origin --separator / "$source" | tr -d ' ') &&
  readers=$(lvs --noheadings --options lv_name --select "origin=${origin#*/}" "${source%/*}") || exit
if [[ ${#mounts[@]} != 1 || $root != / || $(wc -w <<< "$readers") != 1 ]]; then
  echo "$source is mounted in several places or in part, or others read $origin, which then stays read-only:" $readers >&2
  exit 4
fi

exec {said}< <(exec extmerge merge --batch-mode --finish --when-closed "$source" 2>&1)
extmerge=$!
trap 'kill $extmerge' HUP INT TERM
failed=''
while IFS= read -r line <&"$said"; do
  echo "$line"
  [[ $line != *" may be closed now"* ]] || { stop_services && umount "$mountpoint"; } || { failed=5 && kill $extmerge; }
done
wait $extmerge
status=${failed:-$?}
trap '' HUP INT TERM

# Whatever has happened, LVM knows whether the snapshot still exists. --read-write: mount would silently mount a read-only device read-only.
volumes=$(lvs --noheadings --options lv_full_name "${source%/*}") || exit 5
[[ " "$(echo $volumes)" " == *" $source "* ]] && volume=$source || volume=$origin
[[ ,$options, == *,rw,* ]] && how=--read-write || how=--read-only
mount_it() { lvchange --activate y --ignoreactivationskip "$volume" && mount $how --options "$options" "/dev/$volume" "$mountpoint"; }
{ mountpoint --quiet "$mountpoint" || mount_it; } && start_services || exit $((status ? status : 5))
exit $status
