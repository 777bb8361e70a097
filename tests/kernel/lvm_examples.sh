#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
#
# lvm_examples.sh script|play: what docs/examples has, run on a group of LVM with a mounted snapshot.
source "$(dirname "$0")/guest_lvm.sh"
examples=$here/../../docs/examples
export PATH=/run/bin:$PATH
mkdir /run/bin
ln -s "$EXTMERGE" /run/bin/extmerge

new_group
new_origin 32M
quietly mkfs.ext4 -q -F /dev/$vg/$origin_lv
mount /dev/$vg/$origin_lv /run/mounted
write_files /run/mounted old 20
umount /run/mounted
new_pool 64k 80M
new_snapshot
mount -o noatime /dev/$vg/$snap_lv /run/mounted
write_files /run/mounted new 20
sync

# is_home MOUNTED: the snapshot is gone, the origin an ordinary volume with all the files.
is_home() {
  ! is_there $snap_lv || fail "the snapshot is still there"
  [[ $(lvs_of lv_attr $vg/$origin_lv) == *-wi* ]] || fail "the origin is not a writable plain volume"
  nothing_left
  [[ -z $1 ]] || umount /run/mounted
  quietly lvchange -ay $vg/$origin_lv
  quietly e2fsck -fn /dev/$vg/$origin_lv
  mount /dev/$vg/$origin_lv /run/mounted
  diff /run/sums <(sums /run/mounted) || fail "files differ"
}

# services_run yes|no: whether the script has them running.
services_run() { [[ -e /run/services ]] && local run=yes || local run=no; [[ $run == "$1" ]] || fail "services run: $run"; }

if [[ $1 == script ]]; then
  script=/run/merge-at-night.sh
  # Services that must not run where nothing is mounted, and seconds instead of tens of them.
  sed -e 's#^stop_services.*#stop_services() { rm /run/services; }#' -e 's/sleep 10/sleep 1/' \
    -e 's#^start_services.*#start_services() { mountpoint -q /run/mounted \&\& touch /run/services; }#' \
    "$examples/merge-at-night.sh" > $script
  chmod +x $script
  touch /run/services

  note "an open file: the snapshot cannot be unmounted, and goes on as before"
  exec {open}< /run/mounted/new1
  ! $script $vg/$snap_lv > /run/said 2>&1 || fail "it was done with a file open"
  grep -q 'Merged vg/snap' /run/said && grep -q busy /run/said || fail "$(< /run/said)"
  exec {open}<&-
  services_run yes
  mountpoint -q /run/mounted || fail "it is not mounted any more"

  note "the last merge is refused: the snapshot is mounted again"
  mv /run/bin/extmerge /run/bin/true_extmerge
  printf '#!/bin/bash\n[[ $* != *--finish* ]] || exit 8\nexec true_extmerge "$@"\n' > /run/bin/extmerge
  chmod +x /run/bin/extmerge
  status=0
  $script $vg/$snap_lv > /run/said 2>&1 || status=$?
  [[ $status == 8 ]] || fail "it ended with $status: $(< /run/said)"
  mv /run/bin/true_extmerge /run/bin/extmerge
  [[ $(findmnt -n -o SOURCE,OPTIONS /run/mounted) == /dev/mapper/vg-snap*noatime* ]] || fail "$(findmnt /run/mounted)"
  services_run yes

  note "all of it, with nothing written since"
  sums /run/mounted > /run/sums
  $script $vg/$snap_lv > /run/said 2>&1 || fail "$(< /run/said)"
  [[ $(findmnt -n -o SOURCE,OPTIONS /run/mounted) == /dev/mapper/vg-origin*noatime* ]] ||
    fail "the origin is not mounted in its place: $(findmnt /run/mounted)"
  services_run yes
  is_home mounted
  exit
fi

command -v ansible-playbook > /dev/null || {
  echo "skipped: there is no ansible-playbook here (package ansible-core)"
  exit 77
}
export LC_ALL=C.UTF-8 ANSIBLE_HOME=/run/ansible ANSIBLE_LOCAL_TEMP=/run/ansible ANSIBLE_REMOTE_TEMP=/run/ansible ANSIBLE_NOCOLOR=1
mkdir -p /dev/shm
mount -t tmpfs tmpfs /dev/shm
# Only for where it takes seconds to start a program: what a host needs to be told is the snapshot.
printf 'localhost ansible_connection=local ansible_python_interpreter=/usr/bin/python3 ansible_become=false\n' > /run/hosts
# plays WORD...: the play with those arguments; `ok=N` and the like is what it says at its end.
plays() {
  local status=0
  ansible-playbook --inventory /run/hosts --extra-vars snapshot=$vg/$snap_lv "$@" "$examples/merge.yml" > /run/said 2>&1 ||
    status=$?
  return $status
}
recap() { grep -Eq "localhost .*$1" /run/said || fail "it does not say $1: $(< /run/said)"; }

note "--check plans and changes nothing"
before=$(state_of_everything)
plays --check || fail "$(< /run/said)"
recap 'changed=0 .*failed=0'
diff <(echo "$before") <(state_of_everything) || fail "--check changed something"

note "a merge while it is mounted"
plays || fail "$(< /run/said)"
recap 'changed=1 .*failed=0'
grep -Eq 'vg/snap: [1-9][0-9]* bytes written, [0-9]+ equal already, verified: sample' /run/said || fail "$(< /run/said)"
is_there $snap_lv || fail "the snapshot is gone"

note "one that is refused says why"
! plays --extra-vars finish=true --extra-vars seconds_between_tries=1 || fail "--finish of a mounted snapshot"
grep -q EXM-508 /run/said || fail "$(< /run/said)"
! plays --extra-vars snapshot=nosuch/snap --extra-vars finish=true || fail "there is no such group"

note "again, with nothing written: nothing is done"
sums /run/mounted > /run/sums
umount /run/mounted
plays || fail "$(< /run/said)"
recap 'changed=1 .*failed=0'
plays || fail "$(< /run/said)"
recap 'changed=0 .*failed=0'

note "and finished, with nothing written since; after that there is nothing left to do"
plays --extra-vars finish=true || fail "$(< /run/said)"
recap 'changed=1 .*failed=0'
is_home ''
umount /run/mounted
quietly lvchange -an $vg/$origin_lv
plays --extra-vars finish=true || fail "$(< /run/said)"
recap 'changed=0 .*failed=0'
