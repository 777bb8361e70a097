#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
#
# lvm_transcripts.sh PAGE: runs every command of that page, in a group like the page's, and compares the output with
# the page. transcripts.py reads the page. Before a block of commands it asks this script for the scene that the page
# names in a comment.
if [[ ${1-} == scene ]]; then
  rm -rf /run/pause /run/paused
  mkdir() { [[ $* == *"$EXTMERGE_STATE_DIR"* ]] || command mkdir "$@"; } # it exists already
fi
source "$(dirname "$0")/guest_lvm.sh"
unset -f mkdir
export EXTMERGE_STATE_DIR=/var/lib/extmerge
export BORG_REPO=/srv/borg BORG_PASSPHRASE=x BORG_BASE_DIR=/srv/.borg BORG_USERNAME=root

# mounted: makes a file system in the origin, and mounts a snapshot with a file of 12 MB of its own.
mounted() {
  ! mountpoint -q /run/mounted || umount /run/mounted
  dmsetup remove_all --force &> /dev/null || true
  rm -rf "$EXTMERGE_STATE_DIR" /srv/* /dev/vg
  mkdir -p -m 700 "$EXTMERGE_STATE_DIR" /srv/saved
  quietly wipefs -qaf "${disks[@]}"
  quietly pvcreate -qq -ff -y "${disks[@]}"
  quietly vgcreate -s 4M $vg "${disks[@]}"
  quietly lvcreate -y -Wn -Zn -n origin -L 64M $vg
  # mkfs would leave tables for the kernel to write later, perhaps after the freeze.
  quietly mkfs.ext4 -q -F -E lazy_itable_init=0,lazy_journal_init=0 /dev/vg/origin
  mount /dev/vg/origin /run/mounted
  head -c 8M /dev/urandom > /run/mounted/old
  umount /run/mounted
  new_pool 64k 120M
  new_snapshot
  mount /dev/vg/snap /run/mounted
  head -c 12M /dev/urandom > /run/mounted/new
  sync /run/mounted/new
}
closed() {
  mounted
  umount /run/mounted
}
merged() {
  mounted
  merges vg/snap
  head -c 2M /dev/urandom > /run/mounted/more
  sync /run/mounted/more
}
merged_and_closed() {
  closed
  merges vg/snap
}
# closed_later: the snapshot is mounted with new data until extmerge waits for it.
closed_later() {
  merged
  unmounted_later
}
unmounted_later() {
  setsid bash -c 'until extmerge status "$EXTMERGE_STATE_DIR"/*.journal 2> /dev/null | grep -q waiting; do sleep 0.2; done; umount /run/mounted' &> /dev/null &
}
# another: adds another snapshot with little data of its own.
another() {
  mounted
  quietly lvcreate -y -s --thinpool vg/pool -n other vg/origin
}
# clone: the same, and it is inactive.
clone() {
  another
  quietly lvchange -an vg/other
}
# chain: origin <- mon <- tue <- wed, each with data of its own. The older ones are inactive.
chain() {
  local name parent=mon
  closed
  quietly lvrename vg snap mon
  for name in tue wed; do
    quietly lvcreate -y -s -kn -n $name vg/$parent
    quietly lvchange -ay vg/$name
    quietly lvchange -an vg/$parent
    mount /dev/vg/$name /run/mounted
    head -c 2M /dev/urandom > /run/mounted/$name
    umount /run/mounted
    parent=$name
  done
}
# is_durable: a part of the plan is durable, but not all of it.
is_durable() {
  is_copying && ! grep -q 'durable *0 B' <("$EXTMERGE" status vg/snap)
}
killed() {
  mounted
  kill_when is_durable merge --yes --rate-limit 4M --checkpoint-interval 1M --buffer-size 64k vg/snap
  [[ $killed == yes ]] || fail "it was done before it could be killed"
}
killed_and_closed() {
  killed
  umount /run/mounted
}
# journal_lost: the snapshot stays in use. By now it maps blocks that its freeze reads from the origin.
journal_lost() {
  killed
  head -c 2M /dev/urandom > /run/mounted/more
  sync /run/mounted/more
  rm -rf "$EXTMERGE_STATE_DIR"
}
grown() {
  closed
  quietly lvextend -L 80M vg/snap
  quietly e2fsck -fy /dev/vg/snap
  quietly resize2fs /dev/vg/snap
  mount /dev/vg/snap /run/mounted
  head -c 40M /dev/urandom > /run/mounted/more
  umount /run/mounted
}

# targets: two volumes as targets of copies. `copy` has anything, `replica` is a copy of the origin.
targets() {
  closed
  quietly lvcreate -y -Wn -Zn -n copy -L 64M vg
  quietly lvcreate -y -Wn -Zn -n replica -L 64M vg
  dd if=/dev/mapper/vg-origin-real of=/dev/vg/replica bs=1M iflag=direct oflag=direct status=none
}
copied_and_changed() {
  targets
  "$EXTMERGE" copy --yes --batch-mode --whole vg/snap /dev/vg/copy &> /dev/null || fail "the first copy failed"
  changed
}
changed() {
  mountpoint -q /run/mounted || mount /dev/vg/snap /run/mounted
  head -c 2M /dev/urandom > /run/mounted/more
  sync /run/mounted/more
  pkill qemu-nbd || true # qemu locks the images
  pause 0.5
}
# other_pool: `moved` is a thin of another pool over the origin. The snapshot is mounted until extmerge waits for it.
other_pool() {
  mounted
  new_pool 64k 96M other
  quietly lvcreate -y -s --thinpool vg/other -n moved vg/origin
  unmounted_later
}
# backup: an empty repository of borg 2. The origin can be read.
backup() {
  closed
  quietly lvchange -ay -K vg/origin
  quietly borg2 repo-create --encryption authenticated-sha256
}
# overlays: /srv/origin.img is a copy of the origin.
overlays() {
  mounted
  dd if=/dev/mapper/vg-origin-real of=/srv/origin.img bs=1M iflag=direct status=none
}

if [[ ${1-} == scene ]]; then
  "$2"
  exit
fi
mount -t tmpfs tmpfs /var/lib
mount -t tmpfs -o mode=755 tmpfs /srv
mkdir -p /run/bin /dev/pts
mount -t devpts -o ptmxmode=666 devpts /dev/pts # a terminal, for questions
ln -s "$EXTMERGE" /run/bin/extmerge
PATH=/run/bin:$PATH exec python3 -B "$here/../support/transcripts.py" "$0" "$here/../../$1"
