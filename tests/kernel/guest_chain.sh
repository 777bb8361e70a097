# SPDX-License-Identifier: GPL-3.0-or-later
#
# Functions that the guest scripts with a chain of snapshots share.

source "$(dirname "${BASH_SOURCE[0]}")/guest_lvm.sh"

origin_lv=base snap_lv=wed
block=128 # sectors
# write_blocks LV GENERATION FIRST COUNT
write_blocks() { stamp range /dev/$vg/"$1" "$2" $(($3 * block)) $(($4 * block)); }
# next_in_chain OLD NEW: makes NEW, an active snapshot of OLD, and deactivates OLD.
next_in_chain() {
  quietly lvcreate -y -s -kn -n "$2" $vg/"$1"
  quietly lvchange -ay $vg/"$2"
  quietly lvchange -an $vg/"$1"
}
# new_chain: base <- mon <- tue <- cut <- wed. Their views are in /run/view_NAME.
new_chain() {
  local lv
  new_group
  new_origin 10244k
  new_pool 64k 80M
  new_snapshot mon
  write_blocks mon 1 10 40
  next_in_chain mon tue
  write_blocks tue 2 30 40
  next_in_chain tue cut
  write_blocks cut 2 65 10
  next_in_chain cut wed
  write_blocks wed 3 60 60
  for lv in mon tue wed; do kernel_view $lv /run/view_$lv; done
}
# reads_as_before LV...
reads_as_before() {
  local lv
  for lv in "$@"; do
    kernel_view "$lv" /run/view_after
    cmp /run/view_"$lv" /run/view_after || fail "$lv reads differently"
  done
}
tags() { lvs_of lv_tags $vg/"$1"; }
# given_up LV...: each is marked, inactive, and skips activation.
given_up() {
  local lv
  for lv in "$@"; do
    [[ $(lvs_of lv_tags,lv_skip_activation $vg/"$lv") == *extmerge.given-up*skip* ]] || fail "$lv is not marked: $(lvs_of lv_name,lv_tags,lv_skip_activation)"
  done
}
says_so() { grep -Eq -- "$1" /run/said || {
  cat /run/said
  fail "it does not say '$1'"
}; }
# only_base: nothing but the origin and the pool is left, and the origin has the view of wed.
only_base() {
  local name left=
  for name in $(lvs_of lv_name); do
    [[ $name =~ ^(base|pool|\[.*\])$ ]] || left+=" $name"
  done
  [[ -z $left ]] || fail "left in the group:$left"
  nothing_left
  origin_is /run/view_wed
  [[ $(lvs_of lv_attr $vg/base) == *-wi* ]] || fail "the origin is no ordinary volume: $(lvs_of lv_attr $vg/base)"
}
