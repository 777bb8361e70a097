#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
#
# lvm_kill_points.sh merge|finish|offline: SIGKILL right before and right after each
# command by which a merge changes the volume group. A stand-in for LVM's program, mounted
# over it, counts them and kills extmerge, its parent. Then the same command again.
source "$(dirname "$0")/guest_lvm.sh"

mkdir /run/itself
cp "$(readlink -f "$(command -v lvm)")" /run/itself/lvm
cat > /run/lvm-stand-in << 'STAND_IN'
#!/bin/bash
case $1 in
  lvs | vgcfgbackup) exec /run/itself/lvm "$@" ;;
esac
read -r count < /run/count
echo $((count + 1)) > /run/count
read -r kill_at moment < /run/kill_at
if ((count + 1 == kill_at)) && [[ $moment == before ]]; then
  kill -9 $PPID
  exit 1
fi
/run/itself/lvm "$@"
status=$?
if ((count + 1 == kill_at)); then kill -9 $PPID; fi
exit $status
STAND_IN
chmod +x /run/lvm-stand-in
mount --bind /run/lvm-stand-in "$(readlink -f "$(command -v lvm)")"
# Everybody but extmerge has the program itself.
mkdir /run/bin
for tool in lvm lvs lvcreate lvchange lvremove vgcreate vgchange pvcreate pvs vgremove; do
  ln -s /run/itself/lvm /run/bin/$tool
done
export PATH=/run/bin:$PATH
hash -r

arguments=(merge --yes --batch-mode)
[[ $1 != finish ]] || arguments+=(--finish)
new_everything 64k 4100k
[[ $1 != offline ]] || quietly lvchange -an $vg/$snap_lv

round=1
fresh() {
  round=$((round + 1))
  is_there $snap_lv || new_snapshot
  quietly lvchange -ay -K $vg/$snap_lv
  stamp scatter /dev/$vg/$snap_lv $round $round 8
  kernel_view $snap_lv /run/view
  [[ $1 != offline ]] || quietly lvchange -an $vg/$snap_lv
}

# killed COUNT MOMENT
killed() {
  fresh "$2"
  echo 0 > /run/count
  echo "$1 $3" > /run/kill_at
  local before status=0
  before=$(state_of_group && state_of_kernel)
  "$EXTMERGE" "${arguments[@]}" $vg/$snap_lv > /run/said 2>&1 || status=$?
  no_lvm_runs
  was_killed=no
  ((status != 137)) || was_killed=yes
  echo "0 never" > /run/kill_at
  "$EXTMERGE" status $vg/$snap_lv > /run/status_said 2>&1 || [[ $? == 6 ]] || {
    cat /run/status_said
    fail "status"
  }
  if [[ $was_killed == yes ]]; then
    status=0
    "$EXTMERGE" "${arguments[@]}" $vg/$snap_lv > /run/said 2>&1 || status=$?
  fi
  # A finish whose last command had worked is complete, and there is nothing to run it on.
  if ((status != 0)) && ! { [[ $2 == finish && $status == 4 ]] && ! is_there $snap_lv; }; then
    cat /run/said /run/status_said
    fail "killed $3 command $1: the same command again ended with $status"
  fi
  nothing_left
  origin_is /run/view
  if [[ $2 == finish ]]; then
    [[ $(lvs_of lv_attr $vg/$origin_lv) == *-wi* ]] || fail "the origin is no ordinary volume"
  else
    diff <(echo "$before") <(state_of_group && state_of_kernel) || fail "not everything was put back"
  fi
}

for ((count = 1; count < 30; ++count)); do
  # In the middle a finish is a merge: freeze, tag, activation and back.
  [[ $1 != finish ]] || ((count < 3 || count > 6)) || continue
  for moment in before after; do killed $count "$1" $moment; done
  [[ $was_killed == yes ]] || break
done
note "$1: killed before and after its commands, of which there are $((count - 1))"
((count > 5)) || fail "so few commands cannot be right"
