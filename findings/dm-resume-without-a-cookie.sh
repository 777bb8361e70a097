#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
#
# A device that is resumed without a udev cookie loses its link in /dev/mapper.
#
# Packages: libdevmapper1.02.1 and dmsetup 2:1.02.205-2, udev 257.13-1~deb13u1 (Debian 13)
# Calls:    dm_task_create(DM_DEVICE_RESUME), dm_task_set_name(), dm_task_run(), without dm_task_set_cookie()
# Seen:     all calls succeed. udev then has DM_UDEV_DISABLE_DM_RULES_FLAG=1 and DM_UDEV_DISABLE_SUBSYSTEM_RULES_FLAG=1 for the
#           device, and /dev/mapper/node is gone. `dmsetup suspend` and `dmsetup resume` set a cookie, and the link is back.
#
# So a program that calls libdevmapper needs dm_task_set_cookie() and dm_udev_wait(), even if it need not wait for udev.
# Without them udev removes the device's names.
source "$(dirname "$0")/lab.sh"
packages trixie bash coreutils mount util-linux kmod grep sed python3-minimal libpython3-stdlib udev=257.13-1~deb13u1 libdevmapper1.02.1=2:1.02.205-2 dmsetup=2:1.02.205-2 user-mode-linux=6.12um1+b22
guest -d 16M << 'SCRIPT'
module dm-mod
begin_udevd
udevadm --version
look() {
  udevadm settle
  echo "$1: link $([[ -e /dev/mapper/node ]] && echo yes || echo no)"
}
dmsetup create node --table "0 2048 linear /dev/ubda 0"
look created
dmsetup suspend node
dmsetup resume node
look "resumed with a cookie"
dmsetup suspend node
python3 - << 'RESUME'
import ctypes
lib = ctypes.CDLL("libdevmapper.so.1.02.1")
lib.dm_task_create.restype = ctypes.c_void_p
DM_DEVICE_RESUME = 5
task = ctypes.c_void_p(lib.dm_task_create(DM_DEVICE_RESUME))
print("calls:", lib.dm_task_set_name(task, b"node"), lib.dm_task_run(task))
lib.dm_task_destroy(task)
RESUME
look "resumed without"
udevadm info --query property /dev/dm-0 | grep DISABLE
dmsetup suspend node
dmsetup resume node
look "resumed with one again"
SCRIPT
holds "a cookie keeps the link" says '^resumed with a cookie: link yes'
holds "the calls succeed" says '^calls: 1 1'
holds "without one the link is gone" says '^resumed without: link no'
holds "because of a flag that nobody set" says '^DM_UDEV_DISABLE_DM_RULES_FLAG=1'
holds "a cookie brings it back" says '^resumed with one again: link yes'
exit $changed
