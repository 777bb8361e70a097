#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
#
# A device-mapper node over a read-only node is writable, and writes to it reach the disk.
#
# Packages: user-mode-linux 6.12um1+b22 (Linux 6.12), dmsetup 2:1.02.205-2 (Debian 13)
# Command:  dmsetup create --readonly below, then dmsetup create above as a linear target over it
# Seen:     "below" has ro 1 and refuses a write. "above" has ro 0 and takes the write, which is then on the disk.
#
# So a read-only layer protects nothing from the layers above it. To know whether an origin is writable, a program must
# look at each node that lies over the same disk.
source "$(dirname "$0")/lab.sh"
packages trixie bash coreutils mount util-linux kmod grep sed dmsetup=2:1.02.205-2 user-mode-linux=6.12um1+b22
guest -d 1M << 'SCRIPT'
module dm-mod
uname -r
dmsetup create --readonly below --table "0 2048 linear /dev/ubda 0"
echo "below: ro $(< /sys/block/dm-0/ro)"
printf x 2> /dev/null > /dev/mapper/below && echo "below: written" || echo "below: refused"
dmsetup create above --table "0 2048 linear /dev/mapper/below 0"
echo "above: ro $(< /sys/block/dm-1/ro)"
printf landed | dd of=/dev/mapper/above conv=fsync status=none && echo "above: written"
echo "on the disk: $(head -c 6 /dev/ubda)"
SCRIPT
holds "the lower node is read-only" says '^below: ro 1'
holds "it refuses a write" says '^below: refused'
holds "the upper node is writable" says '^above: ro 0'
holds "its write is on the disk" says '^on the disk: landed'
exit $changed
