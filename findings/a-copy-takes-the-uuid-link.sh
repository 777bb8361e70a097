#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
#
# The link of a mounted file system in /dev/disk/by-uuid moves to its copy as soon as the copy is closed, and stays there.
#
# Packages: udev 257.13-1~deb13u1, lvm2 2.03.31-2, dmsetup 2:1.02.205-2, e2fsprogs (Debian 13)
# Command:  dd of a mounted volume's frozen contents to another volume, with udevd running
# Seen:     udevd watches block devices. When the writer closes the copy, it looks at it again, finds the same UUID, and gives it
#           the link, although the link is taken and both volumes have the same link priority: the last event wins. `mount UUID=`
#           then mounts the copy. An event of the source takes the link back.
#
# So after a copy to a volume of the same host, the name by UUID is no certain name of the source, even if nothing is mounted or
# restarted.
source "$(dirname "$0")/lab.sh"
packages trixie bash coreutils mount util-linux kmod grep sed e2fsprogs udev=257.13-1~deb13u1 lvm2=2.03.31-2 dmsetup=2:1.02.205-2 user-mode-linux=6.12um1+b22
guest -d 64M << 'SCRIPT'
module dm-mod
begin_udevd
mkdir /run/source /run/found
uuid=11111111-2222-4333-8444-555555555555
vgcreate vg /dev/ubda > /dev/null
for name in data copy; do lvcreate -y -L 16M -n $name vg > /dev/null; done
look() {
  udevadm settle
  local device
  device=$(readlink -f "/dev/disk/by-uuid/$uuid")
  echo "$1: by-uuid $(dmsetup info -c --noheadings -o name "$device" 2> /dev/null || echo none)"
}
mkfs.ext4 -q -U $uuid /dev/vg/data
mount -t ext4 /dev/vg/data /run/source
look mounted
fsfreeze --freeze /run/source
dd if=/dev/vg/data of=/dev/vg/copy bs=1M conv=fsync,notrunc 2> /dev/null
fsfreeze --unfreeze /run/source
look copied
sleep 3
echo more > /run/source/file
sync
look "written to"
for device in data copy; do
  udevadm info --query property "$(readlink -f /dev/vg/$device)" | grep -E '^DEVLINKS_PRIORITY|^ID_FS_UUID=' | sed "s/^/$device /"
done
mount -t ext4 UUID=$uuid /run/found
echo "mount by UUID: $(findmnt -n -o SOURCE /run/found)"
umount /run/found
udevadm trigger --action=change "$(readlink -f /dev/vg/data)"
look "an event of the source"
SCRIPT
holds "a mounted volume has the link" says '^mounted: by-uuid vg-data'
holds "its copy takes the link" says '^copied: by-uuid vg-copy'
holds "and keeps it while the source is in use" says '^written to: by-uuid vg-copy'
holds "mount by UUID mounts the copy" says '^mount by UUID: /dev/mapper/vg-copy'
holds "an event of the source takes it back" says '^an event of the source: by-uuid vg-data'
exit $changed
