#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
#
# lvcreate -s --thinpool of a thin volume of that very pool makes no external origin.
#
# Package: lvm2 2.03.31-2 (Debian 13)
# Command: lvcreate -s --thinpool vg/pool -n snap vg/thin
# Seen:    exit status 0 and the usual words; the metadata has origin = "thin" and no external_origin. With a volume that
#          is not in the pool the same command makes external_origin. `lvs -o origin` shows both alike. `lv_ancestors` ends
#          with the external origin, also for an internal snapshot, and after its parent is removed.
#
# So neither --thinpool on the command line nor the column "Origin" shows an external origin. The ancestors do.
source "$(dirname "$0")/lab.sh"
packages trixie bash coreutils mount util-linux kmod grep sed lvm2=2.03.31-2 dmsetup=2:1.02.205-2 thin-provisioning-tools=1.1.0-4+b1 user-mode-linux=6.12um1+b22
guest -d 200M << 'SCRIPT'
module dm-mod dm-thin-pool dm-snapshot
lvm version | head -n 1
quietly vgcreate vg /dev/ubda
quietly lvcreate -y --type thin-pool -L 80M -n pool --poolmetadatasize 4M vg
quietly lvcreate -y -V 20M --thinpool vg/pool -n thin vg
quietly lvcreate -y -an -Wn -Zn -L 20M -n linear vg
quietly lvchange -pr vg/linear
for volume in thin linear; do
  status=0
  lvcreate -an -s --thinpool vg/pool -n of_$volume vg/$volume || status=$?
  echo "of $volume: status $status"
done
lvs --noheadings --separator , -o lv_name,segtype,origin,pool_lv vg
quietly vgcfgbackup -f /run/metadata vg
grep -E '^[[:space:]]*(external_)?origin =' /run/metadata
quietly lvcreate -an -s -n inner vg/of_linear
quietly lvcreate -an -s -n innermost vg/inner
lvs --noheadings --separator ' : ' -o lv_name,lv_ancestors,lv_role vg
quietly lvremove -y vg/inner
lvs --noheadings --separator ' : ' -o lv_name,origin,lv_ancestors vg
SCRIPT
holds "both succeed" says '^of thin: status 0'
holds "lvs shows both alike" says 'of_thin,thin,thin,pool'
holds "the other, too" says 'of_linear,thin,linear,pool'
holds "of the pool's own thin: an ordinary origin" says '^[[:space:]]*origin = "thin"'
holds "of another volume: an external one" says 'external_origin = "linear"'
holds "the ancestors end with the external origin" says '^ *innermost : inner,of_linear,linear : '
holds "an external origin has that role" says '^ *linear :  : .*extthinorigin'
holds "the same without the parent" says '^ *innermost : .* : (of_linear,)?linear$'
exit $changed
