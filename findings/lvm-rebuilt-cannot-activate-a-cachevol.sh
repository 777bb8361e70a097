#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
#
# One source of LVM, built twice: the build of Debian 13 activates a volume with a cachevol, the rebuild of unstable does not.
#
# Packages: lvm2 2.03.31-2 (Debian 13), lvm2 2.03.31-2+b2 (unstable)
# Command:  lvconvert --type cache --cachevol fast vg/cached, then lvchange -ay vg/cached
# Seen:     the conversion ends with 0 in both. The rebuild cannot activate the volume: "Missing cache's data uuid LVM-...-cdata". With
#           -vvvv it looks for a device-mapper uuid that has bytes of the stack between the two ids and "-cmeta".
#
# This fits a change of the compiler: since version 15, GCC clears only the first member of a union that is initialized in braces
# (-fzero-init-padding-bits=unions restores the rest), and the text of the two ids needs a zero byte behind them.
# So a version says too little: a rebuild of it behaves otherwise.
source "$(dirname "$0")/lab.sh"
tools="bash coreutils mount util-linux kmod grep sed"
try() {
  guest -d 64M << 'SCRIPT'
module dm-mod dm-cache dm-cache-smq
quietly vgcreate vg /dev/ubda
quietly lvcreate -y -an -Zn -Wn -n cached -L 16M vg
quietly lvcreate -y -an -Zn -Wn -n fast -L 8M vg
lvconvert -y --type cache --cachevol fast vg/cached
echo "converted: $?"
status=0
lvchange -ay vg/cached || status=$?
echo "activated: $status"
lvs --noheadings -o lv_name,lv_active vg
SCRIPT
}
# shellcheck disable=SC2086
packages trixie $tools lvm2=2.03.31-2 dmsetup=2:1.02.205-2 user-mode-linux=6.12um1+b22
try
holds "the build of Debian 13 converts" says '^converted: 0'
holds "and activates" says '^activated: 0'
rm -rf "$root"
# shellcheck disable=SC2086
packages sid $tools lvm2=2.03.31-2+b2 dmsetup=2:1.02.205-2+b2 user-mode-linux=7.2um1
try
holds "the rebuild converts" says '^converted: 0'
holds "and does not activate" says '^activated: [1-9]'
holds "because it looks for another uuid" says "Missing cache's data uuid LVM-[A-Za-z0-9]{64}-cdata"
exit $changed
