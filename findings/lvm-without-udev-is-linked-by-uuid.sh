#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
#
# A volume that LVM activates past udev gets no name from udev, but a link by its file system's UUID.
#
# Packages: lvm2 2.03.31-2, dmsetup 2:1.02.205-2, udev 257.13-1~deb13u1, e2fsprogs (Debian 13)
# Command:  DM_DISABLE_UDEV=1 lvchange -ay vg/data, with udevd running
# Seen:     LVM says "Bypassing udev" and makes /dev/mapper/vg-data itself, as a node instead of a link. udevd sees the kernel's
#           event. For the device udev has DM_UDEV_DISABLE_DM_RULES_FLAG=1 and DM_UDEV_DISABLE_SUBSYSTEM_RULES_FLAG=1. Nothing
#           sets DM_UDEV_DISABLE_DISK_RULES_FLAG, so /dev/disk/by-uuid leads to the device. SYSTEMD_READY is not 0.
#
# So the variable hides nothing from systemd: a mount unit that waits for that UUID mounts the volume. Only the flags of a hidden
# layer prevent the links, and LVM sets these flags only for its own volumes.
source "$(dirname "$0")/lab.sh"
packages trixie bash coreutils mount util-linux kmod grep sed e2fsprogs udev=257.13-1~deb13u1 lvm2=2.03.31-2 dmsetup=2:1.02.205-2 user-mode-linux=6.12um1+b22
guest -d 64M << 'SCRIPT'
module dm-mod
begin_udevd
uuid=11111111-2222-4333-8444-555555555555
vgcreate vg /dev/ubda > /dev/null
lvcreate -y -L 16M -n data vg > /dev/null
mkfs.ext4 -q -U $uuid /dev/vg/data
lvchange -an vg/data
look() {
  udevadm settle
  echo "$1: by-uuid $(readlink "/dev/disk/by-uuid/$uuid" || echo none), name $(stat -c %F /dev/mapper/vg-data 2> /dev/null || echo none)"
}
look inactive
lvchange -ay vg/data
look "told udev"
lvchange -an vg/data
look "inactive again"
DM_DISABLE_UDEV=1 lvchange -ay vg/data
look "past udev"
udevadm info --query property /dev/dm-0 | grep -E 'DISABLE|SYSTEMD_READY'
SCRIPT
holds "an inactive volume is not offered" says '^inactive: by-uuid none, name none'
holds "a volume that udev is told of is offered" says '^told udev: by-uuid .*dm-0, name symbolic link'
holds "past udev its name is a node" says '^past udev: .*name block special file'
holds "and it is offered by UUID" says '^past udev: by-uuid .*dm-0'
holds "LVM's rules are off" says '^DM_UDEV_DISABLE_SUBSYSTEM_RULES_FLAG=1'
lacks() { ! says "$1"; }
holds "and systemd is not kept away" lacks '^SYSTEMD_READY=0'
exit $changed
