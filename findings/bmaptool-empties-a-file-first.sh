#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
#
# bmaptool copies only the mapped blocks into a block device, but empties a regular file before it does the same there.
#
# Package: bmap-tools 3.6-2 (Debian 12)
# Command: bmaptool copy --bmap MAP IMAGE TARGET, with a map of some blocks
# Seen:    on a disk the other blocks keep what they held. A file that held the same bytes has a hole there afterwards. The exit
#          status is 0 both times, and the output does not tell.
#
# So a map of what changed brings a block device up to date, and destroys a copy of it in an image file.
source "$(dirname "$0")/lab.sh"
packages bookworm bash coreutils mount util-linux kmod grep sed diffutils python3 bmap-tools=3.6-2 user-mode-linux
guest -d 1M << 'SCRIPT'
cd /run
head -c 1M /dev/zero | tr '\0' 'o' > old
head -c 1M /dev/zero | tr '\0' 'n' > new
cat > map << 'MAP'
<?xml version="1.0" ?>
<bmap version="1.2">
    <ImageSize> 1048576 </ImageSize>
    <BlockSize> 4096 </BlockSize>
    <BlocksCount> 256 </BlocksCount>
    <MappedBlocksCount> 16 </MappedBlocksCount>
    <BlockMap>
        <Range> 16-31 </Range>
    </BlockMap>
</bmap>
MAP
letters() { head -c "$2" "$1" | tail -c 1 | tr '\0' '0'; }
cp old file
dd if=old of=/dev/ubda bs=64k oflag=direct status=none
for target in file /dev/ubda; do
  status=0
  bmaptool --quiet copy --bmap map new $target > said 2>&1 || status=$?
  echo "${target##*/}: status $status, $(letters $target 1) $(letters $target 65537) $(letters $target 1048576), $(wc -c < said) bytes said"
done
SCRIPT
holds "a disk keeps what the map leaves out" says '^ubda: status 0, o n o'
holds "a file loses it, silently" says '^file: status 0, 0 n 0, 0 bytes said'
exit $changed
