#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Somebody meddles with the volumes that a merge gives up (--with): activates one right before it is removed, removes its
# mark, renames it. Or LVM makes no freeze, or the members are named for the first time when a merge is continued. Each
# ends in a clear error or in the right result, and no volume is removed that the command does not name.
source "$(dirname "$0")/guest_chain.sh"

mkdir /run/itself
cp "$(readlink -f "$(command -v lvm)")" /run/itself/lvm
# The stand-in does what is in /run/meddle right before the command that matches /run/pattern.
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
mkdir /run/bin
for tool in lvm lvs lvcreate lvchange lvremove lvrename vgcreate vgchange vgs pvcreate pvs vgremove; do
  ln -s /run/itself/lvm /run/bin/$tool
done
export PATH=/run/bin:$PATH
hash -r

# meddles PATTERN COMMAND: runs COMMAND right before the next LVM command of extmerge that matches PATTERN.
meddles() {
  echo "/run/itself/lvm ${*:2}" > /run/meddle
  echo "$1" > /run/pattern
}
has_meddled() { [[ $(< /run/pattern) == never ]] || fail "no LVM command matched: $(< /run/said)"; }
uuid_of() { lvs_of lv_uuid $vg/"$1" | tr -d ' '; }
# short_chain: base <- mon <- tue <- wed, and wed is inactive
short_chain() {
  new_chain
  quietly lvremove -y $vg/cut
  quietly lvchange -an $vg/wed
}
finish() { says "$1" "$2" merge --yes --batch-mode --finish --with "${3:-mon,tue}" $vg/wed; }

note "a member is activated right before it is removed"
short_chain
meddles "lvremove*$(uuid_of tue)*" lvchange -qq -ay -K $vg/tue
finish 5 "EXM-509.*vg/tue.*activated just now"
has_meddled
! is_there wed && is_there tue && is_there mon || fail "not the right volumes are left: $(lvs_of lv_name)"
given_up mon tue
finish 5 "EXM-509.*vg/tue.*activated just now"
quietly lvchange -an $vg/tue
says 0 "vg/tue and vg/mon are removed now" merge --yes --batch-mode --finish --with mon,tue $vg/wed
only_base
no_group

note "a member is activated right before the merged volume is removed"
short_chain
meddles "lvremove*$(uuid_of wed)*" lvchange -qq -ay -K $vg/mon
finish 5 "EXM-509.*vg/mon"
has_meddled
! is_there wed && is_there mon || fail "not the right volumes are left: $(lvs_of lv_name)"
quietly lvchange -an $vg/mon
finish 0 "vg/mon is removed now"
only_base
no_group

note "somebody removes the mark of a member between its merge and the finish: the command names it, and marks it again"
short_chain
merges --with mon,tue $vg/wed
quietly lvchange --deltag extmerge.given-up -kn $vg/tue
finish 0 "vg/wed, vg/tue and vg/mon are removed"
only_base
no_group

note "the mark is removed once the removal has begun: the member stays"
short_chain
meddles "lvremove*$(uuid_of wed)*" lvchange -qq --deltag extmerge.given-up $vg/tue
finish 0 "vg/tue stays: its tag"
has_meddled
says_so "vg/wed and vg/mon are removed; vg/base stays read-only: tue reads it"
is_there tue && ! is_there mon || fail "not the right volumes are left: $(lvs_of lv_name)"
no_group

note "killed when the merged volume is removed, then the mark is removed"
short_chain
kill_when '! is_there wed' merge --yes --batch-mode --finish --with mon,tue $vg/wed
[[ $killed == yes ]] || fail "it ended before it was killed: $(< /run/said)"
quietly lvchange --deltag extmerge.given-up $vg/mon
finish 0 "vg/mon stays: its tag"
says_so "vg/base stays read-only: mon reads it"
is_there mon && ! is_there tue || fail "not the right volumes are left: $(lvs_of lv_name)"
no_group

note "a member is renamed after its merge; another volume gets its name"
short_chain
merges --with mon,tue $vg/wed
quietly lvrename $vg/tue $vg/tuesday
says 4 "EXM-401.*vg/tue" merge --yes --batch-mode --finish --with mon,tue $vg/wed
quietly lvcreate -y -V 4M -n tue --thinpool pool $vg
quietly lvchange -an $vg/tue
finish 4 "EXM-430.*vg/tue.*no external origin"
finish 0 "vg/wed, vg/tuesday and vg/mon are removed" mon,tuesday
is_there tue || fail "the volume with the member's former name was removed"
quietly lvremove -y $vg/tue
only_base
no_group

note "a member is renamed right before it is marked, and another volume has its name; nothing else is marked or removed"
short_chain
quietly lvcreate -y -V 4M -n other --thinpool pool $vg
quietly lvchange -an $vg/other
printf '%s\n' "/run/itself/lvm lvrename -qq $vg/tue $vg/tuesday" "/run/itself/lvm lvrename -qq $vg/other $vg/tue" > /run/meddle
echo 'lvchange*given-up*' > /run/pattern
finish 0 "vg/wed, vg/tuesday and vg/mon are removed"
has_meddled
is_there tue || fail "the volume with the member's former name was removed"
[[ $(tags tue) != *extmerge* ]] || fail "another volume is marked: $(tags tue)"
quietly lvremove -y $vg/tue
only_base
no_group

note "killed in the removal, then a member is renamed: it is removed by its uuid, the new volume of its name stays"
short_chain
kill_when '! is_there wed' merge --yes --batch-mode --finish --with mon,tue $vg/wed
[[ $killed == yes ]] || fail "it ended before it was killed: $(< /run/said)"
quietly lvrename $vg/mon $vg/monday
quietly lvcreate -y -V 4M -n mon --thinpool pool $vg
quietly lvchange -an $vg/mon
finish 0 "vg/monday"
is_there mon && ! is_there monday || fail "not the right volumes are left: $(lvs_of lv_name)"
quietly lvremove -y $vg/mon
only_base
no_group

# no_freeze: LVM makes no freeze in this pool
no_freeze() {
  quietly lvcreate -y -V 64M -n filler --thinpool $vg/$pool_lv $vg
  dd if=/dev/zero of=/dev/$vg/filler bs=64k count=700 oflag=direct status=none
  echo 'activation/thin_pool_autoextend_threshold=50' >> /run/lvm/lvm.conf
  ! lvcreate -s -n refused $vg/wed &> /run/refused || fail "LVM makes a snapshot"
}
note "LVM makes no freeze: the inactive volume is merged itself"
short_chain
no_freeze
merges --with mon,tue $vg/wed
says_so "no freeze"
origin_is /run/view_wed
given_up mon tue
reads_as_before wed
finish 0 "vg/wed, vg/tue and vg/mon are removed"
quietly lvremove -y $vg/filler
only_base
lvm_config
no_group

note "the same, killed while it copies"
short_chain
no_freeze
kill_when is_copying merge --yes --batch-mode --rate-limit 1M --checkpoint-interval 64k --with mon,tue $vg/wed
[[ $killed == yes ]] || fail "it ended before it was killed: $(< /run/said)"
given_up mon tue
says 4 "EXM-409.*|EXM-417.*" resume $vg/wed
reads_as_before wed
finish 0 "vg/wed, vg/tue and vg/mon are removed"
quietly lvremove -y $vg/filler
only_base
lvm_config
no_group

for first in allow-shared-origin keep-siblings; do
  note "the members are named for the first time by a finish over an unfinished merge with --$first"
  short_chain
  kill_when is_copying merge --yes --batch-mode --rate-limit 1M --checkpoint-interval 64k --$first $vg/wed
  [[ $killed == yes ]] || fail "it ended before it was killed: $(< /run/said)"
  [[ $(tags mon)$(tags tue) != *given-up* ]] || fail "a volume is marked that nobody named"
  if [[ $first == keep-siblings ]]; then reads_as_before mon tue; fi
  answer=n asks 1 "not confirmed" : merge --finish --with mon,tue $vg/wed
  [[ $(tags mon)$(tags tue) != *given-up* ]] || fail "the members are given up before anybody was asked"
  if [[ $first == keep-siblings ]]; then reads_as_before mon tue; fi
  finish 0 "vg/wed, vg/tue and vg/mon are removed"
  only_base
  no_group
done

note "fewer members are named by the finish: the others stay"
short_chain
kill_when is_copying merge --yes --batch-mode --rate-limit 1M --checkpoint-interval 64k --with mon,tue $vg/wed
[[ $killed == yes ]] || fail "it ended before it was killed: $(< /run/said)"
finish 0 "vg/wed and vg/tue are removed; vg/base stays read-only: mon reads it" tue
is_there mon && ! is_there tue || fail "not the right volumes are left: $(lvs_of lv_name)"
given_up mon
origin_is /run/view_wed
