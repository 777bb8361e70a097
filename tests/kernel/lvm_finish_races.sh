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

# hold: the meddling command that keeps SNAP open until let_go.
cat > /run/hold << HOLD
$activate
(exec 8<> /dev/mapper/$(dm_name $snap_lv) && touch /run/held; until [[ -e /run/let_go ]]; do sleep 0.1; done) > /dev/null 2>&1 &
until [[ -e /run/held ]]; do sleep 0.05; done
HOLD
let_go() {
  touch /run/let_go
  until [[ $(dmsetup info -c --noheadings -o open "$(dm_name $snap_lv)" 2> /dev/null) != [1-9]* ]]; do pause 0.1; done
  rm -f /run/let_go /run/held
}

note "opened right before it is deactivated: it is open, and not an unknown failure of LVM"
new_everything 64k 4100k
kernel_view $snap_lv /run/view
before=$(state)
cp /run/hold /run/meddle
echo 'lvchange*-an*lv_uuid=*' > /run/pattern
says 5 EXM-508 merge --finish --yes --batch-mode $vg/$snap_lv
disturbed
let_go
diff <(echo "$before") <(state) || fail "not everything was put back: $(< /run/said)"
no_group

# in_background: starts a finish that waits for SNAP to be closed; until then descriptor 9 has it open.
in_background() {
  exec 9<> /dev/mapper/"$(dm_name $snap_lv)"
  "$EXTMERGE" merge --yes --batch-mode --finish --when-closed --until 1M $vg/$snap_lv > /run/finish 2>&1 9>&- &
  finish=$!
  until_it_waits
}
until_it_waits() {
  until [[ $("$EXTMERGE" status $vg/$snap_lv 2> /dev/null) =~ state\ +waiting ]]; do
    kill -0 $finish 2> /dev/null || fail "it does not wait: $(< /run/finish)"
    pause 0.1
  done
}
# close_snap: closes it. Somebody opens it again in the last round, as /run/meddle says.
close_snap() {
  exec 9>&-
  until [[ $(< /run/pattern) == never ]]; do pause 0.1; done
  until_it_waits
}
# ends STATUS PATTERN
ends() {
  local status=0
  wait $finish || status=$?
  ((status == $1)) && grep -Eq -- "$2" /run/finish || fail "it ended with $status, not $1: $(< /run/finish)"
}

note "LVM cannot deactivate a volume that udev opens for a moment: extmerge tries again"
new_everything 64k 4100k
kernel_view $snap_lv /run/view
in_background
cat /run/hold - > /run/meddle << 'MEDDLE'
status=0
/run/itself/lvm "$@" || status=$?
touch /run/let_go
wait
rm -f /run/let_go /run/held
exit $status
MEDDLE
echo 'lvchange*-an*lv_uuid=*' > /run/pattern
exec 9>&-
ends 0 removed
disturbed
(($(grep -c 'may be closed now' /run/finish) == 1)) || fail "it waits once more"
origin_is /run/view
nothing_left
no_group

note "opened again during the last round, and closed: it is kept from being activated once more"
new_everything 64k 4100k
kernel_view $snap_lv /run/view
in_background
cat > /run/meddle << 'MEDDLE'
source /run/hold
echo "/run/itself/lvm lvs --nolocking -o lv_name,lv_skip_activation vg > /run/skip" > /run/meddle_then
MEDDLE
echo 'lvcreate*-s*' > /run/pattern
close_snap
mv /run/meddle_then /run/meddle
echo 'lvremove*lv_uuid=*' > /run/pattern
let_go
ends 0 removed
disturbed
grep -q "$snap_lv .*skip" /run/skip || fail "SNAP may be activated during the last round: $(< /run/skip)"
origin_is /run/view
nothing_left
no_group

note "opened again before it is removed, renamed during the wait, then stopped: everything is put back"
new_everything 64k 4100k
before=$(state)
in_background
cp /run/hold /run/meddle
echo 'lvremove*lv_uuid=*' > /run/pattern
close_snap
quietly lvrename $vg $snap_lv renamed
kill -TERM $finish
ends 143 EXM-704
quietly lvrename $vg renamed $snap_lv
let_go
nothing_left
diff <(echo "$before") <(state) || fail "not everything was put back: $(< /run/finish)"
no_group

note "SNAP is removed while a restart asks: its freeze is the only copy of the data, and stays"
new_everything 64k 4100k
kernel_view $snap_lv /run/view
kill_when is_copying merge --yes --batch-mode --rate-limit 300k $vg/$snap_lv
[[ $killed == yes ]] || fail "it ended before it was killed: $(< /run/said)"
asks '[1-9]' 'is the only copy' "quietly lvremove -y $vg/$snap_lv" merge --restart $vg/$snap_lv
has_freeze || fail "the freeze is gone"
merges --restart "$vg/$(lvs_of lv_name | grep -o 'extmerge_[0-9a-f]*')"
origin_is /run/view
no_group

note "a snapshot of the origin is made after the listing, long before the first write: it is noticed in time"
with_snapshot
find_origin
origin_data > /run/origin_before
cat > /run/meddle << MEDDLE
/run/itself/lvm lvcreate -qq -y -an -s --thinpool $vg/$pool_lv -n late $vg/$origin_lv
sleep 4
MEDDLE
echo '*-an*extmerge_*' > /run/pattern
says '[1-9]' 'late began to read the origin' merge --yes --batch-mode $vg/$snap_lv
disturbed
origin_is /run/origin_before
nothing_left
no_group

note "another snapshot, whose finish was killed, is renamed while a restart asks: it may be activated again"
new_everything 64k 4100k
new_snapshot other
stamp scatter /dev/$vg/other 2 5 20
snap_lv=other kill_when is_copying merge --finish --allow-shared-origin --yes --batch-mode --rate-limit 300k $vg/other
[[ $killed == yes ]] || fail "it ended before it was killed: $(< /run/said)"
asks 0 'stays read-only: renamed reads it' "quietly lvrename $vg other renamed" \
  merge --finish --restart --allow-shared-origin $vg/$snap_lv
[[ $(lvs_of lv_skip_activation $vg/renamed) != *skip* ]] || fail "it is still kept inactive"
nothing_left
no_group

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
stopped_at '*-K*-ay*' merge --yes --batch-mode $vg/$snap_lv
diff <(echo "$before") <(state) || fail "not everything was put back: $(< /run/said)"
nothing_left

note "lvm.conf cannot be read by the time it is asked for what may be activated: nothing is changed"
cat > /run/meddle << 'MEDDLE'
exit 4
MEDDLE
for command in 'merge --yes --batch-mode' plan; do
  if [[ $command == plan ]]; then echo 'tags*'; else echo 'lvmconfig*'; fi > /run/pattern
  # shellcheck disable=SC2086 # words
  says 3 EXM-308 $command $vg/$snap_lv
  disturbed
  diff <(echo "$before") <(state) || fail "not everything was put back: $(< /run/said)"
done
merges $vg/$snap_lv
kernel_view $snap_lv /run/view
origin_is /run/view
nothing_left
no_group
