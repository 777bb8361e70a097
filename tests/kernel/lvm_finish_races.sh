#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Somebody writes to SNAP between the last look of a finish and the command that removes it. A
# stand-in for LVM's program, mounted over it, does that right before the command that is asked for.
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
# Everybody but extmerge has the program itself.
mkdir /run/bin
for tool in lvm lvs lvcreate lvchange lvremove vgcreate vgchange pvcreate pvs vgremove; do
  ln -s /run/itself/lvm /run/bin/$tool
done
export PATH=/run/bin:$PATH
hash -r

# kept STATUS PATTERN: a finish is disturbed and ends like that; SNAP has what was written to it,
# and the same command then merges that too.
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
# with_snapshot
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

note "written to and deactivated again while the marks are removed: its mappings tell"
with_snapshot
printf '%s\n' "$activate" "$write" "$deactivate" > /run/meddle
echo '*--deltag*' > /run/pattern
kept 4 "EXM-409.*not removed"

note "the same while the freeze is removed"
with_snapshot
printf '%s\n' "$activate" "$write" "$deactivate" > /run/meddle
echo 'lvremove*extmerge_*' > /run/pattern
kept 4 "EXM-409.*not removed"
