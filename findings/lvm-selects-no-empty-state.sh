#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
#
# A selection of inactive volumes by an empty lv_active is a syntax error in LVM 2.03.31.
#
# Package: lvm2 2.03.31-2 (Debian 13). LVM 2.03.16 (Debian 12) takes the same selection and finds the inactive volumes.
# Command: lvs -S 'lv_active=""'
# Seen:    exit status 5, "Failed to parse numeric value for selection field lv_active." and "Selection syntax error". lvs prints
#          an empty lv_active for an inactive volume all the same. lv_active!=active finds it, with both versions.
#
# So a tool that lets LVM decide under its own lock (lvremove -S ...) needs a selection that both versions take. The tool
# must check afterwards that the volume is gone: a selection that finds nothing ends with 0.
source "$(dirname "$0")/lab.sh"
packages trixie bash coreutils mount util-linux kmod grep sed lvm2=2.03.31-2 dmsetup=2:1.02.205-2 user-mode-linux=6.12um1+b22
guest -d 64M << 'SCRIPT'
module dm-mod
export DM_DISABLE_UDEV=1
vgcreate -y vg /dev/ubda
lvcreate -y -an -Zn -Wn -L 4M -n closed vg
lvcreate -y -Zn -Wn -L 4M -n open vg
echo "inactive: '$(lvs --noheadings -o lv_active vg/closed | sed 's/ //g')'"
status=0
lvs -S 'lv_active=""' vg > /run/out 2>&1 || status=$?
echo "empty: status $status"
sed 's/^ */empty: /' /run/out
echo "not active: $(lvs --noheadings -o lv_name -S 'lv_active!=active' vg | sed 's/ //g')"
status=0
lvremove -y -S 'lv_active!=active && lv_name=open' vg || status=$?
echo "found nothing: status $status, $(lvs --noheadings -o lv_name vg/open | sed 's/ //g') is there"
SCRIPT
holds "lvs prints an empty lv_active" says "^inactive: ''"
holds "the empty text is refused in a selection" says '^empty: status 5'
holds "for a number that it does not find" says '^empty: .*[Ff]ailed to parse numeric value for selection field lv_active'
holds "lv_active!=active finds the inactive one alone" says '^not active: closed$'
holds "removing what is not found ends with 0" says '^found nothing: status 0, open is there'
exit $changed
