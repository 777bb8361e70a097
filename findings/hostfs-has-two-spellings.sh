#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
#
# hostfs takes its path by one option with the old mount call, and by another option with the new mount call.
#
# Packages: user-mode-linux 6.12um1+b22 (Linux 6.12), mount 2.41.5-0+deb13u1 (Debian 13)
# Command:  mount -t hostfs -o /usr/share none DIR
# Seen:     "hostfs: Unknown parameter '/usr/share'", exit status 32. The mount succeeds with -o hostfs=/usr/share, or with
#           LIBMOUNT_FORCE_MOUNT2=always in the environment. rootflags=/ on the kernel's command line still works, because
#           the kernel mounts its root by the old call. Linux 6.1 takes only the bare path.
#
# So a script for both generations must try both forms. The form that works on a guest's command line fails in its shell.
source "$(dirname "$0")/lab.sh"
packages trixie bash coreutils mount=2.41.5-0+deb13u1 util-linux=2.41.5-0+deb13u1 kmod grep sed user-mode-linux=6.12um1+b22
guest << 'SCRIPT'
uname -r
try() {
  local status=0
  "${@:2}" none /run/mnt || status=$?
  echo "$1: status $status"
  ! mountpoint -q /run/mnt || umount /run/mnt
}
try bare mount -t hostfs -o /usr/share
try named mount -t hostfs -o hostfs=/usr/share
try old env LIBMOUNT_FORCE_MOUNT2=always mount -t hostfs -o /usr/share
SCRIPT
holds "the bare path is refused" says '^bare: status 32'
holds "with its name it is taken" says '^named: status 0'
holds "the bare path is taken by the old call" says '^old: status 0'
exit $changed
