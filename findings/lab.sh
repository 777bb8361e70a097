# SPDX-License-Identifier: GPL-3.0-or-later
#
# Functions that the findings share. Each script begins with `source lab.sh`. `packages` unpacks pinned packages, and
# `guest` boots Debian's User Mode Linux on them. So a script tests the versions that it names, and no file of its machine.

set -euo pipefail
folder=$(mktemp -d "${TMPDIR:-/var/tmp}/finding.XXXXXX")
trap 'rm -rf "$folder"' EXIT
root=$folder/root changed=0

unable() {
  printf 'cannot be tried here: %s\n' "$*" >&2
  exit 77
}

# packages SUITE NAME=VERSION...: unpacks the packages and their dependencies into $root. Nothing is configured or started.
# The mirror is that of this machine's own apt.
packages() {
  local suite=$1 mirror list
  shift
  for tool in mmdebstrap apt-get; do
    command -v $tool > /dev/null || unable "there is no $tool"
  done
  mirror=$(apt-get indextargets --format '$(REPO_URI) $(COMPONENT) $(ORIGIN) $(LABEL)' 'Created-By: Packages' |
    sed -n 's/^\([^ ]*\) main Debian Debian$/\1/p' | head -n 1)
  [[ -n $mirror ]] || unable "apt has no mirror of Debian"
  list=$(IFS=,; echo "$*")
  # Packages of an older suite lack these links. With them both layouts unpack.
  TMPDIR=$folder mmdebstrap --quiet --variant=extract --aptopt='Acquire::Check-Valid-Until "false"' --include="base-files,$list" \
    --setup-hook='cd "$1" && mkdir -p usr/bin usr/sbin usr/lib usr/lib64 && for name in bin sbin lib lib64; do ln -s usr/$name $name; done' \
    "$suite" "$root" "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror $suite main" \
    2> "$folder/mmdebstrap.log" || {
    tail -n 5 "$folder/mmdebstrap.log" >&2
    unable "the pinned packages are not to be had: $list"
  }
}

# guest [-d SIZE]... < SCRIPT: runs SCRIPT with bash as root on the kernel of the unpacked package user-mode-linux. The
# disks are /dev/ubda and so on; apart from them SCRIPT can write only to /run. `guest` prints its output and sets $said to it.
guest() {
  local disks=() letters=abcdef name
  while [[ ${1-} == -d ]]; do
    name=${letters:${#disks[@]}:1}
    truncate -s "$2" "$root/disk$name"
    disks+=("ubd$name=/disk$name")
    shift 2
  done
  { guest_begin; cat; } > "$root/script"
  # The kernel panics when its first process ends, and that ends the guest.
  printf '#!/bin/bash\n/bin/bash /script 2>&1 < /dev/null\necho "the script ended with $?"\n' > "$root/begin"
  chmod +x "$root/begin"
  mkdir -p "$root"/{proc,sys,dev,run,tmp}
  local as=(--mount)
  ((EUID == 0)) || as+=(--map-root-user)
  # The guest kernel's C library may be newer than this machine's, so the kernel runs in the unpacked tree, too.
  said=$(timeout -k 5 100 unshare "${as[@]}" bash -c 'mount --rbind /proc "$1/proc" && mount --rbind /dev "$1/dev" && exec chroot "$@"' - "$root" \
    /usr/bin/env -i PATH=/usr/sbin:/usr/bin HOME=/ /usr/bin/linux.uml mem=512M root=/dev/root rootfstype=hostfs rootflags=/ ro \
    "${disks[@]}" init=/begin con=null con0=null,fd:1 quiet loglevel=0 panic=-1 < /dev/null 2> "$folder/console" | tr -d '\r') || true
  printf '%s\n' "$said"
  [[ $said == *"the script ended with 0"* ]] || {
    tail -n 5 "$folder/console" >&2
    echo "FAILED: the guest did not come to its end"
    exit 1
  }
}
guest_begin() {
  cat << 'BEGIN'
set -euo pipefail
export PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C HOME=/run DM_DISABLE_UDEV=1 LVM_SUPPRESS_FD_WARNINGS=1 LVM_SYSTEM_DIR=/run/lvm
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t tmpfs tmpfs /run
mountpoint -q /dev || mount -t devtmpfs devtmpfs /dev
mkdir -p /run/lib/modules /run/lock /run/lvm /run/mnt
ln -s /proc/self/fd /dev/fd
ln -s "/usr/lib/uml/modules/$(uname -r)" /run/lib/modules/
module() { modprobe -d /run -a "$@"; }
# LVM sees only the guest's disks, and keeps no archives.
echo 'devices { filter=["a|/dev/ubd.*|","r|.*|"] use_devicesfile=0 types=["ubd",16] obtain_device_list_from_udev=0 external_device_info_source="none" }
activation { udev_sync=0 udev_rules=0 verify_udev_operations=0 monitoring=0 }
global { locking_dir="/run/lock/lvm" }
backup { backup=0 archive=0 }' > /run/lvm/lvm.conf
# begin_udevd: starts udevd. From then on libdevmapper and LVM wait for it, as on a server.
begin_udevd() {
  sed -i 's/udev_sync=0 udev_rules=0 verify_udev_operations=0 //' /run/lvm/lvm.conf
  unset DM_DISABLE_UDEV
  mkdir /run/udev
  /usr/lib/systemd/systemd-udevd --daemon 2> /dev/null
  udevadm trigger --action=add
  udevadm settle
}
quietly() { "$@" > /run/quiet 2>&1 || { cat /run/quiet; return 1; }; }
BEGIN
}

# holds "WHAT" COMMAND...: reports whether the behaviour WHAT is still as found. COMMAND tests it.
holds() {
  local what=$1
  shift
  if "$@"; then
    printf 'as found: %s\n' "$what"
  else
    printf 'CHANGED: %s\n' "$what"
    changed=1
  fi
}
# says PATTERN: a line of the guest's output matches.
says() { grep -Eq -- "$1" <<< "$said"; }
