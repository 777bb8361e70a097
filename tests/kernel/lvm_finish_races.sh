#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Somebody writes to SNAP between the last check of a finish and the command that removes SNAP. Or
# somebody gives SNAP's name to another volume before the freeze, or stops a merge while LVM waits for
# a lock. A stand-in, mounted over LVM's program, does that right before a chosen LVM command.
source "$(dirname "$0")/guest_lvm.sh"

mkdir /run/itself
cp "$(readlink -f "$(command -v lvm)")" /run/itself/lvm
cat > /run/lvm-stand-in << 'STAND_IN'
#!/bin/bash
read -r pattern < /run/pattern
if [[ "$*" == $pattern ]]; then
  echo never > /run/pattern
  source /run/meddle
fi
exec /run/itself/lvm "$@"
STAND_IN
chmod +x /run/lvm-stand-in
echo never > /run/pattern
mount --bind /run/lvm-stand-in "$(readlink -f "$(command -v lvm)")"
# All but extmerge use LVM's own program.
mkdir /run/bin
for tool in lvm lvs lvcreate lvchange lvremove lvrename vgcreate vgchange pvcreate pvs vgremove; do
  ln -s /run/itself/lvm /run/bin/$tool
done
export PATH=/run/bin:$PATH
hash -r

# kept STATUS PATTERN: a finish is disturbed and ends so. SNAP has the new writes, and the same
# command then merges them, too.
kept() {
  says "$1" "$2" merge --finish --yes --batch-mode $vg/$snap_lv
  [[ $(< /run/pattern) == never ]] || fail "it was not disturbed: $(< /run/said)"
  is_there $snap_lv || fail "SNAP was removed with what had been written to it"
  kernel_view $snap_lv /run/view
  cmp -s /run/view /run/view_before && fail "nothing was written to SNAP"
  ! is_active $snap_lv || quietly lvchange -an $vg/$snap_lv
  says 0 removed merge --finish --yes --batch-mode $vg/$snap_lv
  origin_is /run/view
  nothing_left
  no_group
}
with_snapshot() {
  new_everything 64k 4100k
  kernel_view $snap_lv /run/view_before
  quietly lvchange -an $vg/$snap_lv
}
activate="/run/itself/lvm lvchange -qq -ay -K $vg/$snap_lv"
write="dd if=/dev/urandom of=/dev/mapper/$(dm_name $snap_lv) bs=4k count=16 oflag=direct status=none"
deactivate="/run/itself/lvm lvchange -qq -an $vg/$snap_lv"

note "activated and written to right before it is removed: LVM does not remove what is active"
with_snapshot
printf '%s\n' "$activate" "$write" > /run/meddle
echo 'lvremove*lv_uuid=*' > /run/pattern
kept 5 "EXM-508.*activated just now"

# From that command to the one that removes SNAP and its freeze, extmerge runs no LVM.
note "written to and deactivated again during the last listing of the group: its mappings tell"
with_snapshot
printf '%s\n' "$activate" "$write" "$deactivate" > /run/meddle_then
cat > /run/meddle << 'MEDDLE'
listings=0
read -r listings < /run/listings || true
echo $((listings + 1)) > /run/listings
if ((listings == 2)); then source /run/meddle_then; else echo 'lvs*' > /run/pattern; fi
MEDDLE
echo 0 > /run/listings
echo 'lvcreate*-s*' > /run/pattern
kept 4 "EXM-409.*not removed"

# disturbed: the command that the stand-in waits for has run.
disturbed() { [[ $(< /run/pattern) == never ]] || fail "it was not disturbed: $(< /run/said)"; }

note "SNAP is renamed, and another thin gets its name, right before it is frozen: nothing is merged"
new_everything 64k 4100k
kernel_view $snap_lv /run/view
find_origin
origin_data > /run/origin_before
cat > /run/meddle << MEDDLE
/run/itself/lvm lvrename -qq $vg $snap_lv renamed
/run/itself/lvm lvcreate -qq -y -V 4100k --thinpool $vg/$pool_lv -n $snap_lv
dd if=/dev/urandom of=/dev/$vg/$snap_lv bs=1M count=4 oflag=direct status=none
MEDDLE
echo 'lvcreate*-s*' > /run/pattern
says 4 "EXM-409.*$vg/$snap_lv is no longer the planned volume" merge --yes --batch-mode $vg/$snap_lv
disturbed
origin_is /run/origin_before
[[ $(lvs_of lv_name) != *extmerge_* && $(lvs_of lv_tags) != *extmerge* ]] || fail "left behind: $(lvs_of lv_name,lv_tags)"
quietly lvremove -y $vg/$snap_lv
quietly lvrename $vg renamed $snap_lv
merges $vg/$snap_lv
origin_is /run/view

note "SNAP is renamed right before it is frozen: nothing is merged"
stamp scatter /dev/$vg/$snap_lv 2 2 12
kernel_view $snap_lv /run/view
origin_data > /run/origin_before
before=$(state)
echo "/run/itself/lvm lvrename -qq $vg $snap_lv renamed" > /run/meddle
echo 'lvcreate*-s*' > /run/pattern
says 4 "EXM-409.*$vg/$snap_lv is no longer the planned volume" merge --yes --batch-mode $vg/$snap_lv
disturbed
quietly lvrename $vg renamed $snap_lv
origin_is /run/origin_before
diff <(echo "$before") <(state) || fail "not everything was put back: $(< /run/said)"

note "the origin is renamed right before it is marked: the mark is found by its uuid"
echo "/run/itself/lvm lvrename -qq $vg $origin_lv renamed" > /run/meddle
echo '*--addtag*half-merged*' > /run/pattern
merges $vg/$snap_lv
disturbed
quietly lvrename $vg renamed $origin_lv
origin_is /run/view
diff <(echo "$before") <(state) || fail "not everything was put back: $(< /run/said)"

# stopped_at PATTERN ARGUMENT...: extmerge gets a SIGTERM while LVM waits for the group's lock.
stopped_at() {
  local pattern=$1 status=0
  shift
  cat > /run/meddle << 'MEDDLE'
flock /run/lock/lvm/V_vg -c 'touch /run/locked; sleep 4' > /dev/null 2>&1 &
until [[ -e /run/locked ]]; do sleep 0.05; done
rm /run/locked
(sleep 1; kill -TERM "$(< /run/merger)") > /dev/null 2>&1 &
MEDDLE
  echo "$pattern" > /run/pattern
  "$EXTMERGE" "$@" > /run/said 2>&1 &
  merger=$!
  echo $merger > /run/merger
  wait $merger || status=$?
  disturbed
  ((status == 143)) || fail "it ended with $status: $(< /run/said)"
}

note "stopped while an active origin is about to be shown again: it can be read all the same"
stamp scatter /dev/$vg/$snap_lv 2 2 12
kernel_view $snap_lv /run/view
quietly lvchange -ay -K $vg/$origin_lv
before=$(state)
stopped_at '*--refresh*' merge --yes --batch-mode $vg/$snap_lv
[[ $(dmsetup table "$(dm_name $origin_lv)") == *linear* ]] || fail "the origin cannot be read: $(< /run/said)"
origin_is /run/view
diff <(echo "$before") <(state) || fail "not everything was put back"
quietly lvchange -an $vg/$origin_lv

note "stopped while a thin over the origin is about to be activated: nothing else is activated instead"
stamp scatter /dev/$vg/$snap_lv 3 3 12
quietly lvchange -an $vg/$snap_lv
before=$(state)
stopped_at '*-ay*-K*' merge --yes --batch-mode $vg/$snap_lv
diff <(echo "$before") <(state) || fail "not everything was put back: $(< /run/said)"
nothing_left

note "lvm.conf cannot be read by the time it is asked for what may be activated: nothing is changed"
cat > /run/meddle << 'MEDDLE'
exit 4
MEDDLE
for pattern in 'lvmconfig*' 'tags*'; do
  echo "$pattern" > /run/pattern
  says 3 EXM-308 merge --yes --batch-mode $vg/$snap_lv
  disturbed
  diff <(echo "$before") <(state) || fail "not everything was put back: $(< /run/said)"
done
merges $vg/$snap_lv
kernel_view $snap_lv /run/view
origin_is /run/view
nothing_left
no_group
