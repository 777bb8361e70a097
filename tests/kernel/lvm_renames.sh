#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
#
# An administrator renames the group, the volumes and the freeze, after a kill or during a merge.
# extmerge finds each recorded object by LVM's uuid, for the old names and for the new ones.
# A locked group does not disturb another group.
source "$(dirname "$0")/guest_lvm.sh"
mkdir -m 0700 /run/saved

merge=(merge --yes --batch-mode)
generation=1
# kill_copying: kills a merge while it copies.
kill_copying() {
  generation=$((generation + 1))
  stamp scatter /dev/$vg/$snap_lv $generation $generation 12
  kernel_view $snap_lv /run/view
  kill_when is_copying "${merge[@]}" --rate-limit 300k "$@" $vg/$snap_lv
  [[ $killed == yes ]] || fail "it ended before it was killed: $(< /run/said)"
}
freeze_of() { lvs_of lv_name | grep -o 'extmerge_[0-9a-f]*'; }
# rename_everything: some names are former names of other volumes.
rename_everything() {
  note "renamed: the group, snapshot, origin, pool and freeze"
  quietly lvrename $vg "$(freeze_of)" "${1-frozen}"
  quietly lvrename $vg $snap_lv $snap_lv-2
  quietly lvrename $vg $origin_lv $snap_lv
  quietly lvrename $vg $snap_lv $origin_lv-2
  quietly lvrename $vg $pool_lv $pool_lv-2
  quietly vgrename $vg $vg-2
  vg=$vg-2 origin_lv=$origin_lv-2 snap_lv=$snap_lv-2 pool_lv=$pool_lv-2
}

# group_without_2: prints the group's state with the first names of all volumes.
group_without_2() { state_of_group | sed 's/-2//g' | tr -s ' ' | sort; }

new_everything 64k 4100k 24M
before=$(group_without_2)
is_put_back() {
  nothing_left
  diff <(echo "$before") <(group_without_2) || fail "not everything was put back"
}

kill_copying
old=$vg/$snap_lv
rename_everything
says 0 'origin .*(writable now|read-only)' status $old
says 0 'origin .*(writable now|read-only)' status $vg/$snap_lv
says 0 '^Merged' resume --batch-mode $old
origin_is /run/view
is_put_back

kill_copying
rename_everything
says 0 '^Merged' resume --batch-mode $vg/$snap_lv
origin_is /run/view
is_put_back

kill_copying
rename_everything
says 0 '^Merged' "${merge[@]}" $vg/$snap_lv
origin_is /run/view
is_put_back

for name in old new; do
  kill_copying
  old=$vg/$snap_lv
  rename_everything
  new=$vg/$snap_lv
  says 0 'Given up' abort "${!name}"
  is_put_back
  merges $vg/$snap_lv
  origin_is /run/view
done

cp /run/view /run/view_before
kill_copying --undo-log /run/saved/undo
old=$vg/$snap_lv
rename_everything
says 0 Undone undo --yes $old
origin_is /run/view_before
is_put_back
rm -f /run/saved/undo

note "the snapshot is removed, and its group renamed"
merges $vg/$snap_lv
kill_copying
old=$vg/$snap_lv
quietly lvremove -y $vg/$snap_lv
quietly vgrename $vg $vg-2
vg=$vg-2
says 6 "EXM-610.*$vg/extmerge_" abort $old
says 6 "EXM-610.*$vg/extmerge_" abort $vg/$snap_lv
says 0 '^Merged' resume --batch-mode $old
origin_is /run/view
no_group

note "the group is renamed while the origin is written to"
vg=vg origin_lv=origin pool_lv=pool snap_lv=snap
new_everything 64k 4100k 24M
generation=1
before=$(group_without_2)
rm -f $EXTMERGE_STATE_DIR/*
kernel_view $snap_lv /run/view
"$EXTMERGE" "${merge[@]}" --rate-limit 300k $vg/$snap_lv > /run/said 2>&1 &
merger=$!
until is_copying; do
  kill -0 $merger || fail "the merge ended too soon: $(< /run/said)"
  pause 0.02
done
quietly vgrename $vg $vg-2
vg=$vg-2
status=0
wait $merger || status=$?
no_lvm_runs
[[ $status =~ ^[07]$ ]] || fail "it ended with $status: $(< /run/said)"
! grep -Eq 'stays active|could not be made' /run/said || fail "not put back: $(< /run/said)"
! is_active $origin_lv || fail "the origin is still active: $(< /run/said)"
note "it ended with $status: $(tail -n 1 /run/said)"
((status == 0)) || says 0 '^Merged' resume --batch-mode $vg/$snap_lv
origin_is /run/view
is_put_back

note "another group is locked: by its device, the snapshot is merged all the same"
quietly vgcreate -s 4k other /dev/ubdb
exec 7> /run/lock/lvm/V_other
flock 7
stamp scatter /dev/$vg/$snap_lv 9 9 12
kernel_view $snap_lv /run/view
merges "/dev/mapper/$(dm_name $snap_lv)" 7>&-
origin_is /run/view
is_put_back
exec 7>&-
