#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Settings of lvm.conf (from `lvmconfig --type full`) change what LVM prints, locks, activates or
# selects. A plan runs under each setting alone. A merge, a kill and a resume, a kill and an abort,
# an undo and a finish run under many settings at once. The owner has tags on all volumes, two on
# the origin. Other settings forbid a merge: extmerge refuses before it changes anything, and names
# the setting. The test reads LVM's state for comparison without these settings.
#
# lvm_settings.sh [each]: `each` runs only the single settings, which take longest.
source "$(dirname "$0")/guest_lvm.sh"
mkdir -m 0700 /run/saved

output=(
  'report/compact_output=1'
  'report/compact_output_cols="lv_tags,origin,pool_lv,data_lv,thin_id"'
  'report/aligned=0'
  'report/buffered=0'
  'report/headings=0'
  'report/separator="|"'
  'report/list_item_separator=";"'
  'report/prefixes=1'
  'report/quoted=0'
  'report/columns_as_rows=1'
  'report/binary_values_as_numeric=1'
  'report/mark_hidden_devices=0'
  'report/two_word_unknown_device=1'
  'report/time_format="%s"'
  'report/output_format="json"'
  'report/lvs_sort="-lv_size"'
  'report/lvs_cols="lv_name"'
  'report/lvs_cols_verbose="vg_name"'
  'report/segs_sort="-seg_size,pv_name"'
  'report/vgs_sort="pv_name"'
  'report/vgs_cols="vg_size"'
  'global/units="k"'
  'global/suffix=0'
  'global/si_unit_consistency=0'
  'log/prefix=">> "'
  'log/command_names=1'
  'log/indent=1'
  'log/verbose=2'
  'log/silent=1'
  'log/report_command_log=1'
  'log/command_log_selection="log_type=status"'
  'log/command_log_cols="log_type"'
  'log/command_log_sort="-log_seq_num"'
  'log/level=4'
  'log/file="/run/lvm.log"'
  'log/overwrite=1'
)
others=(
  'activation/auto_set_activation_skip=0'
  'activation/checks=1'
  'activation/retry_deactivation=0'
  'activation/readahead="none"'
  'activation/activation_mode="complete"'
  'activation/process_priority=0'
  'activation/auto_activation_volume_list=[]'
  'activation/volume_list=["other","@mine"]'
  'activation/read_only_volume_list=["@other","elsewhere/origin"]'
  'global/prioritise_write_locks=0'
  'global/wait_for_locks=0'
  'global/event_activation=0'
  'global/use_aio=0'
  'global/umask=63'
  'global/system_id_source="uname"'
  'metadata/record_lvs_history=1'
  'metadata/check_pv_device_sizes=0'
  'devices/hints="none"'
  'devices/scan_lvs=1'
  'devices/issue_discards=1'
  'devices/sysfs_scan=0'
  'devices/ignore_suspended_devices=1'
  'devices/md_component_detection=0'
  'allocation/wipe_signatures_when_zeroing_new_lvs=0'
  'allocation/thin_pool_zero=0'
  'config/checks=0'
)

# With these settings LVM itself loads other tables, even without extmerge. So only a plan runs under them.
planned=(
  'activation/use_linear_target=0'
  'activation/thin_pool_autoextend_threshold=90'
)

# set_to SETTING...: adds the settings to those of the guest. Without a setting it removes them all.
set_to() {
  lvm_config
  (($# == 0)) || printf '%s\n' "$@" >> /run/lvm/lvm.conf
}
# says_why STATUS PATTERN SETTING -- ARGUMENT...: extmerge refuses under that setting with LVM's
# reason. Everything stays as before.
says_why() {
  local expected=$1 pattern=$2 setting=$3 status=0
  shift 4
  state_of_everything > /run/state_before
  set_to "$setting"
  "$EXTMERGE" "$@" > /run/said 2>&1 || status=$?
  set_to
  diff /run/state_before <(state_of_everything) || fail "$setting: $* left things changed: $(< /run/said)"
  ((status == expected)) && grep -Eq -- "$pattern" /run/said && ! grep -q 'did not say why' /run/said ||
    fail "$setting: $* ended with $status, not $expected, or did not say '$pattern': $(< /run/said)"
  note "refused as it should be: $setting: $(grep -o 'EXM-[0-9]*' /run/said | head -1) $*"
}

new_everything 64k 4100k 24M
tags=(--addtag mine --addtag of.the.owner)
quietly vgchange --addtag group $vg
for lv in $origin_lv $pool_lv $snap_lv; do quietly lvchange "${tags[@]}" $vg/$lv; done
merge=(merge --yes --batch-mode)

if [[ ${1-} == each ]]; then
  before=$(state_of_everything)
  for setting in "${output[@]}" "${others[@]}" "${planned[@]}"; do
    set_to "$setting"
    says 0 'result +a merge would start' plan $vg/$snap_lv
    set_to
    [[ $(< /run/said) == *"siblings           none"* ]] || fail "$setting: $(< /run/said)"
  done
  diff <(echo "$before") <(state_of_everything) || fail "a plan left things changed"
  note "${#output[@]}, ${#others[@]} and ${#planned[@]} settings, each by itself: the plan would start"

  quietly lvchange --addtag extmerge.half-merged $vg/$origin_lv
  for setting in 'report/list_item_separator=";"' 'report/compact_output=1' 'report/prefixes=1' \
    'log/report_command_log=1' 'log/verbose=2'; do
    says_why 6 EXM-610 "$setting" -- plan $vg/$snap_lv
    says_why 11 'EXM-1101.*nosuch' "$setting" -- plan nosuch/snap
  done
  exit 0
fi

# cycle NAME SETTING...: runs a merge and its ends (resume, abort, undo, finish) under all the settings.
cycle() {
  local name=$1 state
  shift
  note "$name: ${#@} settings at once"
  state=$(state)

  change_snap
  set_to "$@"
  merges $vg/$snap_lv
  set_to
  origin_is /run/view
  diff <(echo "$state") <(state) || fail "$name: a merge did not put everything back"

  change_snap
  set_to "$@"
  kill_when is_copying "${merge[@]}" --rate-limit 300k $vg/$snap_lv
  [[ $killed == yes ]] || fail "$name: it ended before it was killed: $(< /run/said)"
  says 0 'writable now' status $vg/$snap_lv
  says 0 '^Merged' resume --batch-mode $vg/$snap_lv
  set_to
  origin_is /run/view
  diff <(echo "$state") <(state) || fail "$name: a resume did not put everything back"

  change_snap
  set_to "$@"
  kill_when is_copying "${merge[@]}" --rate-limit 300k $vg/$snap_lv
  says 0 'Given up' abort $vg/$snap_lv
  set_to
  diff <(echo "$state") <(state) || fail "$name: an abort did not put everything back"
  set_to "$@"
  merges $vg/$snap_lv
  set_to
  origin_is /run/view

  cp /run/view /run/view_before
  change_snap
  set_to "$@"
  merges --undo-log /run/saved/undo $vg/$snap_lv
  says 0 Undone undo --yes $vg/$snap_lv
  set_to
  rm -f /run/saved/undo
  origin_is /run/view_before
  diff <(echo "$state") <(state) || fail "$name: an undo did not put everything back"

  set_to "$@"
  merges --finish $vg/$snap_lv
  set_to
  origin_is /run/view
  ! is_there $snap_lv || fail "$name: the snapshot is still there"
  [[ $(lvs_of lv_attr,lv_tags $vg/$origin_lv) == *-wi*mine,of.the.owner* ]] || fail "$name: $(lvs_of lv_attr,lv_tags)"
  new_snapshot
  quietly lvchange "${tags[@]}" $vg/$snap_lv
}
cycle "what LVM prints" "${output[@]}"
cycle "what LVM does" "${others[@]}"

note "what may not be activated here: said by plan, with the setting"
# An active SNAP keeps the origin's layer active, so extmerge need not activate anything.
set_to 'activation/volume_list=["other"]'
says 0 'result +a merge would start' plan $vg/$snap_lv
set_to
quietly lvchange -an $vg/$snap_lv
quietly lvchange -ay $vg/$pool_lv
says_why 4 'EXM-429.*activation/volume_list="other"' 'activation/volume_list=["other"]' -- plan $vg/$snap_lv
says_why 4 'EXM-429.*volume_list' 'activation/volume_list=[]' -- "${merge[@]}" $vg/$snap_lv
says_why 4 'EXM-429.*volume_list' 'activation/volume_list=["@group2","@*","vg/originx"]' -- plan $vg/$snap_lv
says_why 4 'EXM-429.*the tag here' 'tags { here { } }' -- plan $vg/$snap_lv
# A merge makes the freeze, learns that LVM leaves it inactive, and removes it.
set_to 'tags { here { } }'
says 4 'EXM-429.*the tag here' "${merge[@]}" $vg/$snap_lv
set_to
nothing_left
quietly lvchange -an $vg/$pool_lv
says_why 4 "EXM-429.*$vg/$pool_lv.*volume_list" "activation/volume_list=[\"$vg/$origin_lv\"]" -- plan $vg/$snap_lv
quietly lvchange -ay -K $vg/$snap_lv
for list in "\"$vg/$pool_lv\"" "\"$vg\"" "\"other\",\"$vg/${pool_lv}_tmeta\"" '"@group"'; do
  says_why 4 "EXM-429.*$vg/$pool_lv.*read_only_volume_list" "activation/read_only_volume_list=[$list]" -- "${merge[@]}" $vg/$snap_lv
done
for setting in "activation/read_only_volume_list=[\"$vg/$origin_lv\"]" 'activation/volume_list=["@group"]' "activation/volume_list=[\"$vg\"]" 'tags { group { } }' \
  'tags { mine { } }
activation/volume_list=["@*"]'; do
  set_to "$setting"
  says 0 'result +a merge would start' plan $vg/$snap_lv
done
set_to

note "another command has the group locked: that is said, and the first signal ends the wait"
before=$(state_of_everything)
exec 7> /run/lock/lvm/V_$vg
flock 7
for log in 'log/verbose=0' 'log/verbose=2' 'log/report_command_log=1' 'log/silent=1' 'log/prefix=">> "' \
  'log/command_log_selection="log_type=status"'; do
  set_to 'global/wait_for_locks=0' "$log"
  says 4 'EXM-426.*: .*lock for' plan $vg/$snap_lv 7>&-
  ! grep -Eq 'did not say why|not found in config' /run/said || fail "$log: not LVM's reason: $(< /run/said)"
done
set_to
for command in "plan" "${merge[*]}" "verify" "abort"; do
  : > /run/said # of the command before
  # shellcheck disable=SC2086 # words
  "$EXTMERGE" $command $vg/$snap_lv > /run/said 2>&1 7>&- &
  waiter=$!
  until grep -q 'waiting for LVM' /run/said; do
    kill -0 $waiter || fail "$command did not wait: $(< /run/said)"
    pause 0.05
  done
  grep -q "another command holds" /run/said || fail "it does not say who has the lock: $(< /run/said)"
  kill -TERM $waiter
  status=0
  wait $waiter || status=$?
  ((status == 143)) && grep -q EXM-704 /run/said || fail "$command, stopped, ended with $status: $(< /run/said)"
done
exec 7>&-
no_lvm_runs
diff <(echo "$before") <(state_of_everything) || fail "left changed"
change_snap
merges $vg/$snap_lv
origin_is /run/view
nothing_left
