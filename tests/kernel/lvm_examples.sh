#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
#
# lvm_examples.sh script|play: runs the examples of docs/examples on a volume group with a mounted snapshot.
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

# is_home MOUNTED: the snapshot is gone, and the origin is an ordinary volume with all the files. An empty MOUNTED
# means that the origin is not mounted.
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

# services_run yes|no: the services run, or not. Since the last call the script has stopped them while SNAP was mounted.
services_run() {
  [[ -e /run/services ]] && local run=yes || local run=no
  [[ $run == "$1" ]] || fail "services run: $run; $(< /run/said)"
  [[ $(< /run/stopped) == /dev/mapper/vg-snap ]] || fail "they were stopped while this was mounted: $(< /run/stopped)"
  : > /run/stopped
}
# ends STATUS: the script ends with that status.
ends() {
  local status=0
  $script $vg/$snap_lv > /run/said 2>&1 || status=$?
  [[ $status == "$1" ]] || fail "it ended with $status: $(< /run/said)"
}
mounted_is() {
  [[ $(findmnt -n -o SOURCE,OPTIONS /run/mounted) == /dev/mapper/vg-$1*rw,noatime* ]] || fail "$(findmnt /run/mounted); $(< /run/said)"
}
# in_place_of PROGRAM TEXT: the script then runs TEXT instead of PROGRAM. `true_PROGRAM` is the real program.
in_place_of() {
  ln -sfn "$(PATH=${PATH#/run/bin:} command -v "$1" || echo "$EXTMERGE")" "/run/bin/true_$1"
  rm -f "/run/bin/$1"
  printf '#!/bin/bash\n%s\n' "$2" > "/run/bin/$1"
  chmod +x "/run/bin/$1"
}
back_again() {
  rm "/run/bin/$1"
  [[ $1 != extmerge ]] || ln -s "$EXTMERGE" /run/bin/extmerge
}

if [[ $1 == script ]]; then
  script=/run/merge-at-night.sh
  # The services must not run if nothing is mounted.
  sed -e 's#^stop_services.*#stop_services() { findmnt -n -o SOURCE /run/mounted > /run/stopped; rm /run/services; }#' \
    -e 's#^start_services.*#start_services() { mountpoint -q /run/mounted \&\& touch /run/services; }#' \
    "$examples/merge-at-night.sh" > $script
  chmod +x $script
  touch /run/services /run/stopped
  # after_the_wait TEXT: extmerge waits, and runs TEXT once the snapshot is unmounted.
  after_the_wait() {
    in_place_of extmerge 'echo "extmerge: vg/snap may be closed now" >&2
while mountpoint -q /run/mounted; do sleep 0.1; done
'"$1"
  }

  note "somebody else reads the origin: nothing is stopped"
  quietly lvcreate -y -s --thinpool $vg/$pool_lv -n other $vg/$origin_lv
  quietly lvchange -an $vg/other
  in_place_of extmerge 'true' # it would refuse first
  ends 4
  back_again extmerge
  [[ -e /run/services && ! -s /run/stopped ]] || fail "services were stopped"
  quietly lvremove -y $vg/other

  note "an open file: the snapshot cannot be unmounted, and goes on as before"
  exec {open}< /run/mounted/new1
  ends 5
  grep -q 'round 1: ' /run/said && grep -q EXM-704 /run/said && grep -q busy /run/said || fail "$(< /run/said)"
  exec {open}<&-
  services_run yes
  mounted_is snap
  nothing_left

  note "it fails before the wait: nothing is stopped"
  in_place_of extmerge 'exit 7'
  ends 7
  back_again extmerge
  [[ -e /run/services && ! -s /run/stopped ]] || fail "services were stopped"
  mounted_is snap

  note "the last merge is refused, or killed: the snapshot is mounted again"
  after_the_wait 'exit 8'
  ends 8
  services_run yes
  mounted_is snap
  head -c 3M /dev/urandom > /run/mounted/more
  in_place_of extmerge 'true_extmerge "$@" &
while mountpoint -q /run/mounted; do sleep 0.02; done
kill -KILL $!
wait $!'
  ends 137
  grep -q 'may be closed now' /run/said || fail "$(< /run/said)"
  services_run yes
  mounted_is snap
  back_again extmerge

  note "LVM does not answer in the middle: nothing is mounted that might be the wrong volume"
  after_the_wait 'touch /run/deaf; exit 8'
  in_place_of lvs '[[ ! -e /run/deaf ]] || exit 5; exec lvm lvs "$@"'
  ends 5
  back_again extmerge
  back_again lvs
  services_run no
  ! mountpoint -q /run/mounted || fail "it is mounted"
  mount -o noatime /dev/$vg/$snap_lv /run/mounted
  touch /run/services

  note "a signal while it puts back, and it does so all the same"
  after_the_wait 'exit 8'
  in_place_of mount 'kill -TERM $PPID; exec true_mount "$@"'
  ends 8
  services_run yes
  mounted_is snap
  back_again extmerge
  back_again mount

  note "a signal while it waits: extmerge stops, and the snapshot is mounted again"
  in_place_of umount 'kill -TERM $PPID; exec true_umount "$@"'
  ends 143
  back_again umount
  services_run yes
  mounted_is snap

  note "all of it, with nothing written since"
  sums /run/mounted > /run/sums
  ends 0
  grep -Eq 'out of use for [0-9.]+ seconds' /run/said || fail "$(< /run/said)"
  services_run yes
  mounted_is origin
  is_home mounted

  note "and once more, from a snapshot of that; the origin cannot be mounted: no success"
  umount /run/mounted
  rm "$EXTMERGE_STATE_DIR"/* # the journal of the merge that is done
  new_snapshot
  mount -o noatime /dev/$vg/$snap_lv /run/mounted
  write_files /run/mounted last 3
  sums /run/mounted > /run/sums
  in_place_of mount 'exit 32'
  ends 5
  back_again mount
  services_run no
  is_home ''
  exit
fi

command -v ansible-playbook > /dev/null || {
  echo "skipped: there is no ansible-playbook here (package ansible-core)"
  exit 77
}
export LC_ALL=C.UTF-8 ANSIBLE_HOME=/run/ansible ANSIBLE_LOCAL_TEMP=/run/ansible ANSIBLE_REMOTE_TEMP=/run/ansible ANSIBLE_NOCOLOR=1
mkdir -p /dev/shm
mount -t tmpfs tmpfs /dev/shm
# These settings are only for this guest, where a program takes seconds to start. An ordinary host needs only the snapshot.
printf 'localhost ansible_connection=local ansible_python_interpreter=/usr/bin/python3 ansible_become=false\n' > /run/hosts
# plays WORD...: runs the play with those arguments. At its end it prints `ok=N` and the like.
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
