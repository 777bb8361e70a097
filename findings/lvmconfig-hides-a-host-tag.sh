#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
#
# lvmconfig does not show the tags of this host, although LVM heeds them.
#
# Package: lvm2 2.03.31-2 (Debian 13)
# Command: lvm.conf has `tags { here { } }`, or hosttags=0 beside it; lvm lvmconfig --mergedconfig tags; lvm tags
# Seen:    lvm tags prints `here`. lvmconfig ends with 5 and "Configuration node tags not found".
#
# A host with a tag activates only volumes that have one of its tags, unless volume_list is set. So a program that asks
# lvmconfig whether a host has tags may expect an activation that LVM leaves out. Only `lvm tags` tells.
source "$(dirname "$0")/lab.sh"
packages trixie bash coreutils mount util-linux kmod grep sed lvm2=2.03.31-2 dmsetup=2:1.02.205-2 user-mode-linux=6.12um1+b22
guest -d 4M << 'SCRIPT'
export LVM_SUPPRESS_FD_WARNINGS=1
export LVM_SYSTEM_DIR=/run/own
mkdir /run/own
status=0
echo 'tags { hosttags=0 here { } }' > /run/own/lvm.conf
lvm version 2> /dev/null | head -n 1
echo "lvm tags: $(lvm tags)"
lvm lvmconfig --mergedconfig tags > /run/out 2> /dev/null || status=$?
echo "lvmconfig: status $status, printed: $(tr -d '\n\t' < /run/out)"
echo 'tags { here { } }' > /run/own/lvm.conf
echo "lvm tags again: $(lvm tags)"
status=0
lvm lvmconfig --mergedconfig tags > /run/out 2>&1 || status=$?
echo "lvmconfig again: status $status, said: $(tr '\n' ' ' < /run/out)"
SCRIPT
holds "lvm tags prints it" says "^lvm tags: *here"
holds "lvmconfig prints no such section" says "^lvmconfig: status 5, printed: *$"
holds "lvm tags prints it, also alone" says "^lvm tags again: *here"
holds "lvmconfig does not find a section with the tag alone" says "^lvmconfig again: status 5, said:.*tags not found"
exit $changed
