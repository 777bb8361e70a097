#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
#
# tmpfs takes O_DIRECT with any alignment: an odd length, at an odd offset, from an odd address.
#
# Package: user-mode-linux 6.12um1+b22 (Linux 6.12), python3 of Debian 13
# Call:    open(O_DIRECT), pwrite() of 3 bytes at offset 1 from an odd address, and of a page at 0
# Seen:    both succeed.
#
# So a file that opens with O_DIRECT may still be in memory. A test of alignment in /tmp, which is a tmpfs in Debian 13, finds
# nothing. A program must ask statfs whether a file is in memory.
source "$(dirname "$0")/lab.sh"
packages trixie bash coreutils mount util-linux kmod grep sed python3-minimal libpython3-stdlib user-mode-linux=6.12um1+b22
guest << 'SCRIPT'
uname -r
stat --file-system --format "file system: %T" /run
python3 - << 'WRITE'
import mmap, os
fd = os.open("/run/file", os.O_RDWR | os.O_CREAT | os.O_DIRECT)
page = memoryview(mmap.mmap(-1, 8192))
print("aligned:", os.pwrite(fd, page[:4096], 0))
print("odd:", os.pwrite(fd, page[1:4], 1))
WRITE
SCRIPT
holds "it is a tmpfs" says '^file system: tmpfs'
holds "an aligned write succeeds" says '^aligned: 4096'
holds "an odd one as well" says '^odd: 3'
exit $changed
