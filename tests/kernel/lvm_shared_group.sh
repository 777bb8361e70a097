#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
#
# LVM says that the volume group is shared between machines. LVM's lock daemon runs in its test
# mode, without a lock manager. LVM then lists the group, and changes nothing in it.
source "$(dirname "$0")/guest_lvm.sh"
command -v lvmlockd > /dev/null || {
  echo "skipped: there is no lvmlockd here (package lvm2-lockd)"
  exit 77
}

new_everything 64k
find_origin
quietly vgcfgbackup -f /run/group $vg
sed 's/^\(\s*\)status = \["RESIZEABLE".*$/&\n\1lock_type = "sanlock"\n\1lock_args = "1.0.0:lvmlock"/' /run/group > /run/shared_group
quietly vgcfgrestore --force -y -f /run/shared_group $vg

note "without the daemon LVM does not even list it"
state_of_group() { :; }
refuses 4 lvmlockd plan $vg/$snap_lv
refuses 4 lvmlockd merge --yes --batch-mode $vg/$snap_lv

note "with the daemon it does"
state_of_group() { vgs --noheadings -o vg_seqno,vg_attr,vg_tags $vg 2> /dev/null && lvs -a --noheadings -o lv_name,lv_attr,lv_tags $vg 2> /dev/null; }
lvmlockd -T -g sanlock -f > /run/lockd_said 2>&1 &
lvm_config '' use_lvmlockd=1
for ((tries = 0; ; ++tries)); do
  [[ $(vgs --noheadings -o vg_shared $vg 2> /dev/null) != *shared* ]] || break
  ((tries < 100)) || fail "the group is not shared: $(< /run/lockd_said)"
  pause 0.1
done
refuses 4 EXM-423 plan $vg/$snap_lv
refuses 4 EXM-423 merge --yes --batch-mode $vg/$snap_lv
refuses 4 EXM-423 merge --yes --batch-mode --finish $vg/$snap_lv
