#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
#
# An administrator changes the volumes during a merge. No merge succeeds with a wrong
# origin. A merge that had to stop can be resumed.
source "$(dirname "$0")/guest_lvm.sh"

round=1
rate=3M arguments=()
# during EXPECTED COMMAND...: runs the command while a slow merge writes the origin. Sets `status` to the
# merge's exit status, which is one of EXPECTED.
during() {
  local expected=$1 merger
  shift
  round=$((round + 1))
  status=0
  note "$*"
  if is_active $snap_lv; then
    stamp scatter /dev/$vg/$snap_lv $round $round 12
    kernel_view $snap_lv /run/view
  fi
  "$EXTMERGE" merge --yes --batch-mode --rate-limit "$rate" --checkpoint-interval 128k "${arguments[@]}" $vg/$snap_lv > /run/said 2>&1 &
  merger=$!
  while ! is_copying; do
    kill -0 $merger 2> /dev/null || fail "the merge ended too soon: $(< /run/said)"
    pause 0.02
  done
  "$@" > /run/meddler 2>&1 || note "which fails: $(tail -n 1 /run/meddler)"
  kill -0 $merger 2> /dev/null || note "the merge has stopped at once"
  wait $merger || status=$?
  no_lvm_runs
  [[ $status =~ ^($expected)$ ]] || {
    cat /run/meddler /run/said
    fail "the merge ended with $status"
  }
  note "the merge ended with $status: $(tail -n 1 /run/said)"
  ((status != 0)) || origin_is /run/view
}
# then_completes: the same command completes the merge from any state.
then_completes() {
  ((status == 0)) || merges $vg/$snap_lv
  origin_is /run/view
  nothing_left
}

new_everything 64k 8196k
quietly lvchange --errorwhenfull y $vg/$pool_lv

note "what LVM made read-only below the origin is writable again, and the table it left beside is gone"
refresh_and_watch() {
  lvchange --refresh $vg/$snap_lv
  while kill -0 "$merger"; do
    if is_writable -real && [[ $(dmsetup info -c --noheadings -o attr "$(dm_name $origin_lv)-extmerge") == L--w ]]; then
      mended=yes
      return
    fi
    pause 0.05
  done
}
rate=500k mended=no
during 0 refresh_and_watch
[[ $mended == yes ]] || fail "it was left to the end"
rate=3M
then_completes
during '0|4' lvcreate -y -s -n extra $vg/$snap_lv
then_completes
quietly lvremove -y $vg/extra

note "a sibling that maps everything discards it in mid-merge, and so shows the origin"
new_snapshot other
stamp range /dev/$vg/other 90 0 "$(sectors /dev/$vg/other)"
during 4 blkdiscard /dev/$vg/other
[[ $(< /run/said) == *EXM-417*"$vg/other discarded"* ]] || fail "no word of the sibling: $(< /run/said)"
merges --allow-shared-origin $vg/$snap_lv
origin_is /run/view
nothing_left
stamp range /dev/$vg/other 91 0 "$(sectors /dev/$vg/other)"
during 0 true
then_completes
quietly lvremove -y $vg/other

during 0 vgchange -ay $vg
then_completes
during 0 lvchange -an $vg/$origin_lv
then_completes
during 0 lvchange --addtag meddled $vg/$origin_lv
then_completes
during '0|7' lvextend -L +4M $vg/$pool_lv
then_completes

note "LVM takes the origin back: stopped, and resumable"
rate=500k
quietly lvchange -ay -K $vg/$origin_lv
during 7 lvchange --refresh $vg/$origin_lv
[[ $(< /run/said) == *EXM-705* ]] || fail "no word of why"
then_completes
quietly lvchange -an $vg/$origin_lv
note "where the origin is inactive, a refresh changes nothing"
during 0 lvchange --refresh $vg/$origin_lv

during 7 lvrename $vg $origin_lv other
[[ $(< /run/said) == *EXM-705* ]] || fail "no word of why"
quietly lvrename $vg other $origin_lv
then_completes

if modprobe -d /run dm-mirror; then
  quietly vgextend $vg /dev/ubdb
  during 7 pvmove -n $origin_lv /dev/ubda /dev/ubdb
  [[ $(< /run/said) == *EXM-705*pvmove* ]] || fail "no word of pvmove: $(< /run/said)"
  origin_extents=
  then_completes
  quietly pvmove -n $origin_lv /dev/ubdb /dev/ubda
  quietly vgreduce $vg /dev/ubdb
  origin_extents=
else
  note "skipped: pvmove, this kernel has no dm-mirror"
fi

# A write below an old-style snapshot of the origin bypasses that snapshot.
during 7 lvcreate -y -s -L 4M -n thick $vg/$origin_lv
[[ $(< /run/said) == *EXM-705*"lvcreate -s"* ]] || fail "no word of the snapshot: $(< /run/said)"
quietly lvremove -y $vg/thick
then_completes
# pvmove has activated the origin, and so has the snapshot of the origin.
quietly lvchange -an $vg/$origin_lv

during '0|4|6|7' lvrename $vg $snap_lv other
quietly lvrename $vg other $snap_lv
then_completes

note "a pool that fills up"
quietly lvcreate -y -V 100M -n filler --thinpool $vg/$pool_lv $vg
rate=300k
during '3|7' dd if=/dev/zero of=/dev/$vg/filler bs=64k oflag=direct
rate=3M
[[ $(< /run/said) == *EXM-307* ]] || fail "no word of the pool"
! has_freeze || fail "the freeze still costs blocks of the pool"
quietly lvremove -y $vg/filler
then_completes

note "SNAP is renamed while it is finished, and another one made by its name: that one stays"
rename_and_replace() {
  lvrename $vg $snap_lv old
  lvcreate -y -s -an --thinpool $vg/$pool_lv -n $snap_lv $vg/$origin_lv
}
rate=500k arguments=(--finish --allow-shared-origin)
during '0|[3-7]' rename_and_replace
rate=3M arguments=()
[[ -n $(lvs_of lv_name $vg/$snap_lv) ]] || fail "the new volume was removed: $(lvs_of lv_name)"
quietly lvremove -y $vg/$snap_lv
if is_there old; then
  quietly lvrename $vg old $snap_lv
  ((status == 0)) || "$EXTMERGE" abort $vg/$snap_lv > /run/said 2>&1 || [[ $? == 6 ]] || fail "abort: $(< /run/said)"
else
  ((status == 0)) || fail "SNAP was removed and it failed"
  new_snapshot
fi
quietly lvchange -ay -K $vg/$snap_lv

note "nobody can claim or mount the origin, from the moment it is claimed until it is not writable"
claim_and_mount() {
  python3 - "$(dm_name $origin_lv)-extmerge" << 'CLAIM'
import ctypes, errno, fcntl, glob, os, struct, subprocess, sys, time
BLKROGET, MS_RDONLY = 0x125e, 1
name, path, libc = sys.argv[1], None, ctypes.CDLL(None, use_errno=True)
def writable():
    global path
    for node in glob.glob("/sys/block/dm-*"):
        try:
            if open(node + "/dm/name").read().strip() == name:
                path = "/dev/" + os.path.basename(node)
                return open(node + "/ro").read().strip() == "0" and open(node + "/size").read().strip() != "0"
        except OSError:
            pass
    return False
attempts = 0
open("/run/claiming", "w").close()
def is_open():
    info = ["dmsetup", "info", "-c", "--noheadings", "-o", "open", name]
    return subprocess.run(info, capture_output=True, check=False).stdout.strip() not in (b"", b"0")
while not (writable() and is_open()):
    time.sleep(0.0005)
while writable():
    attempts += 1
    try:
        fd = os.open(path, os.O_RDONLY | os.O_EXCL)
        if struct.unpack("i", fcntl.ioctl(fd, BLKROGET, bytes(4)))[0] == 0:
            sys.exit("claimed at attempt %d" % attempts)
        os.close(fd)
    except OSError as error:
        if error.errno != errno.EBUSY and writable():
            raise
    if libc.mount(path.encode(), b"/run/mounted", b"ext4", MS_RDONLY, None) == 0:
        sys.exit("mounted at attempt %d" % attempts)
    if ctypes.get_errno() != errno.EBUSY and writable():
        sys.exit("mount came to errno %d at attempt %d" % (ctypes.get_errno(), attempts))
    time.sleep(0.002)
print(attempts, "attempts")
CLAIM
}
stamp scatter /dev/$vg/$snap_lv 66 66 12
kernel_view $snap_lv /run/view
claim_and_mount > /run/claimed 2>&1 &
claimer=$!
until [[ -e /run/claiming ]]; do pause 0.05; done
merges $vg/$snap_lv
wait $claimer || fail "the origin could be taken: $(< /run/claimed)"
note "$(< /run/claimed)"
origin_is /run/view
nothing_left

note "the freeze is removed: SNAP is still there, and is merged from the beginning"
remove_freeze() { lvremove -y $vg/"$(lvs_of lv_name | grep extmerge | tr -d ' ')"; }
during '0|4|6|7' remove_freeze
then_completes

note "an inactive SNAP: activated and written, then removed"
write_snap() {
  lvchange -ay -K $vg/$snap_lv
  stamp range /dev/$vg/$snap_lv 99 0 64
  lvchange -an $vg/$snap_lv
}
stamp scatter /dev/$vg/$snap_lv 77 77 12
kernel_view $snap_lv /run/view
quietly lvchange -an $vg/$snap_lv
during '0|4|7' write_snap
kernel_view $snap_lv /run/view
merges $vg/$snap_lv
origin_is /run/view
nothing_left
quietly lvchange -ay $vg/$snap_lv
stamp scatter /dev/$vg/$snap_lv 78 78 12
kernel_view $snap_lv /run/view
quietly lvchange -an $vg/$snap_lv
during '0|[3-7]' lvremove -f $vg/$snap_lv
note "then $(lvs_of lv_name | tr -s ' \n' ' ')"
((status != 0)) || nothing_left
