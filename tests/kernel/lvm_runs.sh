#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Counts the runs of LVM in one command of extmerge. On a server with many volumes one run takes up to two seconds.
# A stand-in, mounted over LVM's program, notes the words of each run. If $EXTMERGE_BEFORE names another program, the
# test prints that program's counts, too.
source "$(dirname "$0")/guest_lvm.sh"

mkdir /run/itself
cp "$(readlink -f "$(command -v lvm)")" /run/itself/lvm
cat > /run/lvm-stand-in << 'STAND_IN'
#!/bin/bash
words=()
for ((i = 1; i <= $#; ++i)); do
  case ${!i} in
    --config | -o) ((++i)) ;;
    *) words+=("${!i}") ;;
  esac
done
printf '%s\n' "${words[*]}" >> /run/lvm-runs
exec /run/itself/lvm "$@"
STAND_IN
chmod +x /run/lvm-stand-in
mount --bind /run/lvm-stand-in "$(readlink -f "$(command -v lvm)")"
# All but extmerge use LVM's own program.
mkdir /run/bin
for tool in lvm lvs lvcreate lvchange lvremove vgcreate vgremove pvcreate pvs; do ln -s /run/itself/lvm /run/bin/$tool; done
export PATH=/run/bin:$PATH
hash -r

program=$EXTMERGE
# at_most LIMIT SITUATION ARGUMENT...: that command of $program succeeds. If $program is the tested one, it runs LVM no
# more often than LIMIT.
at_most() {
  local limit=$1 situation=$2 runs
  shift 2
  : > /run/lvm-runs
  "$program" "$@" > /run/said 2>&1 || fail "extmerge $* failed: $(< /run/said)"
  runs=$(wc -l < /run/lvm-runs)
  note "$situation: extmerge $* runs LVM $runs times"
  if [[ $program != "$EXTMERGE" ]]; then return; fi
  sed 's/^/     /' /run/lvm-runs
  ((runs <= limit)) || fail "that is more than $limit"
}
inactive() {
  local lv
  for lv; do quietly lvchange -an $vg/"$lv"; done
}
merge=(merge --yes --batch-mode)

# all_commands: counts in each situation.
all_commands() {
  rm -rf "${EXTMERGE_STATE_DIR:?}"/*
  new_everything 64k 4100k
  at_most 1 "SNAP active, origin inactive" plan $vg/$snap_lv
  at_most 1 "SNAP active, named by its device" plan /dev/$vg/$snap_lv
  kernel_view $snap_lv /run/view
  at_most 8 "SNAP active, origin inactive" "${merge[@]}" $vg/$snap_lv
  origin_is /run/view
  change_snap
  quietly lvchange -ay -K $vg/$origin_lv
  at_most 1 "SNAP and origin active" plan $vg/$snap_lv
  at_most 9 "SNAP and origin active" "${merge[@]}" $vg/$snap_lv
  origin_is /run/view
  inactive $origin_lv
  change_snap
  inactive $snap_lv
  quietly lvchange -ay $vg/$pool_lv
  at_most 3 "SNAP inactive, pool active" plan $vg/$snap_lv
  at_most 9 "SNAP inactive, pool active" "${merge[@]}" $vg/$snap_lv
  origin_is /run/view
  change_snap
  inactive $snap_lv $pool_lv
  at_most 5 "SNAP and pool inactive" plan $vg/$snap_lv
  at_most 11 "SNAP and pool inactive" "${merge[@]}" $vg/$snap_lv
  origin_is /run/view
  change_snap
  quietly lvchange -ay $vg/$pool_lv
  kill_when is_copying "${merge[@]}" --rate-limit 300k $vg/$snap_lv
  [[ $killed == yes ]] || fail "it ended before it was killed: $(< /run/said)"
  at_most 8 "SNAP active, merge killed" resume --batch-mode $vg/$snap_lv
  origin_is /run/view
  change_snap
  at_most 11 "SNAP active and closed" "${merge[@]}" --finish $vg/$snap_lv
  origin_is /run/view
  nothing_left
  no_group

  rm -rf "${EXTMERGE_STATE_DIR:?}"/*
  new_everything 64k 4100k
  kernel_view $snap_lv /run/view
  inactive $snap_lv $pool_lv
  at_most 13 "SNAP and pool inactive" "${merge[@]}" --finish $vg/$snap_lv
  origin_is /run/view
  no_group

  rm -rf "${EXTMERGE_STATE_DIR:?}"/*
  new_everything 64k 4100k
  kernel_view $snap_lv /run/view
  quietly lvchange -ay -K $vg/$origin_lv
  at_most 11 "SNAP and origin active" "${merge[@]}" --finish $vg/$snap_lv
  origin_is /run/view
  no_group
}

# from_closing LIMIT: a finish that waits runs LVM no more often between the close of SNAP and its removal, and not at
# all while it waits.
from_closing() {
  local runs finish
  rm -rf "${EXTMERGE_STATE_DIR:?}"/*
  new_everything 64k 4100k
  exec 9<> /dev/mapper/"$(dm_name $snap_lv)"
  "$EXTMERGE" "${merge[@]}" --finish --when-closed $vg/$snap_lv > /run/said 2>&1 9>&- &
  finish=$!
  until [[ $("$EXTMERGE" status $vg/$snap_lv 2> /dev/null) =~ state\ +waiting ]]; do
    kill -0 $finish 2> /dev/null || fail "it does not wait: $(< /run/said)"
    pause 0.1
  done
  change_snap
  pause 1 # the last run before the wait
  : > /run/lvm-runs
  pause 2
  [[ ! -s /run/lvm-runs ]] || fail "the wait runs LVM: $(< /run/lvm-runs)"
  exec 9>&-
  wait $finish || fail "it failed: $(< /run/said)"
  sed 's/^/     /' /run/lvm-runs
  runs=$(sed '/^lvremove/q' /run/lvm-runs | wc -l)
  note "from the close of SNAP to its removal: LVM runs $runs times"
  ((runs <= $1)) || fail "that is more than $1"
  origin_is /run/view
  no_group
}

if [[ -n ${EXTMERGE_BEFORE-} ]]; then
  note "with $EXTMERGE_BEFORE"
  program=$EXTMERGE_BEFORE
  all_commands
  note "with $EXTMERGE"
  program=$EXTMERGE
fi
all_commands
from_closing 6
