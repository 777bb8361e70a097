#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
#
# lvm_kill_points.sh merge|finish|offline|grown: kills extmerge right before and right after each
# LVM command that changes the volume group. A stand-in, mounted over LVM's program, counts
# these commands and kills extmerge, its parent. Then the same extmerge command runs again.
# `offline` merges an inactive SNAP, and tries only half of the moments. `grown` finishes a SNAP that is longer than its
# origin, and tries only the moments that `finish` does not.
source "$(dirname "$0")/guest_lvm.sh"

mkdir /run/itself
cp "$(readlink -f "$(command -v lvm)")" /run/itself/lvm
cat > /run/lvm-stand-in << 'STAND_IN'
#!/bin/sh
case $1 in
  lvs) exec /run/itself/lvm "$@" ;;
esac
read -r count < /run/count
count=$((count + 1))
echo $count > /run/count
read -r kill_at moment < /run/kill_at
[ $count = "$kill_at" ] || exec /run/itself/lvm "$@"
echo "$*" > /run/command
[ "$moment" = before ] || /run/itself/lvm "$@"
kill -9 $PPID
STAND_IN
chmod +x /run/lvm-stand-in
mount --bind /run/lvm-stand-in "$(readlink -f "$(command -v lvm)")"
# All but extmerge use LVM's own program.
mkdir /run/bin
for tool in lvm lvs lvcreate lvchange lvextend lvremove vgcreate vgchange pvcreate pvs vgremove; do
  ln -s /run/itself/lvm /run/bin/$tool
done
export PATH=/run/bin:$PATH
hash -r

deed=$1
arguments=(merge --yes --batch-mode)
[[ $deed != finish && $deed != grown ]] || arguments+=(--finish)
new_everything 64k 4100k
if [[ $deed == offline ]]; then
  quietly lvchange -an $vg/$snap_lv
  quietly lvchange -an $vg/$pool_lv
fi

round=1
fresh() {
  round=$((round + 1))
  if [[ $deed == grown ]]; then
    no_group
    rm -f "$EXTMERGE_STATE_DIR"/*
    new_everything 64k 4100k
    quietly lvextend -y -L 6M $vg/$snap_lv
  fi
  is_there $snap_lv || new_snapshot
  is_active $snap_lv || quietly lvchange -ay -K $vg/$snap_lv
  stamp scatter /dev/$vg/$snap_lv $round $round 8
  # Without data past the origin's end the origin would not be extended.
  [[ $deed != grown ]] ||
    dd if=/dev/urandom of=/dev/$vg/$snap_lv bs=4k seek=1400 count=1 oflag=direct status=none
  kernel_view $snap_lv /run/view
  [[ $deed != offline ]] || quietly lvchange -an $vg/$snap_lv $vg/$pool_lv
}

# killed COUNT MOMENT: false if the merge runs fewer commands than COUNT.
killed() {
  local before status=0
  fresh
  echo 0 > /run/count
  echo "$1 $2" > /run/kill_at
  before=$(state)
  "$EXTMERGE" "${arguments[@]}" $vg/$snap_lv > /run/said 2>&1 &
  wait $! 2> /dev/null || status=$?
  no_lvm_runs
  echo "0 never" > /run/kill_at
  if ((status == 137)); then
    note "killed $2 $(< /run/command)"
    "$EXTMERGE" status $vg/$snap_lv > /run/status_said 2>&1 || [[ $? == 6 ]] || {
      cat /run/status_said
      fail "status"
    }
    status=0
    "$EXTMERGE" "${arguments[@]}" $vg/$snap_lv > /run/said 2>&1 || status=$?
    # If only the last step was missing, the same command finds nothing to do. A finish then
    # finds no volume.
    case $deed-$status-$(< /run/said) in
      *-0-* | finish-4-*EXM-401* | grown-4-*EXM-401*) ;;
      *)
        cat /run/said /run/status_said
        fail "the same command again ended with $status"
        ;;
    esac
    status=137
  elif ((status != 0)); then
    cat /run/said
    fail "it ended with $status, and nothing killed it"
  fi
  origin_is /run/view
  if [[ $deed == finish || $deed == grown ]]; then
    nothing_left
    [[ $(lvs_of lv_name,lv_tags) != *extmerge* ]] || fail "left behind: $(lvs_of lv_name,lv_tags)"
    [[ $(lvs_of lv_attr $vg/$origin_lv) == *-wi* ]] || fail "the origin is no ordinary volume"
  else
    diff <(echo "$before") <(state) || fail "not everything was put back"
  fi
  ((status == 137))
}

for ((count = 1; count < 40; ++count)); do
  moments=(before after)
  # In the middle a finish runs a merge's commands: it freezes, tags and activates, and puts all that back.
  case $deed-$count in
    finish-[34568]) continue ;;
    finish-7) moments=(after) ;;
  esac
  [[ $deed != offline ]] || moments=("${moments[count % 2]}")
  for moment in "${moments[@]}"; do killed $count $moment || break 2; done
done
note "$deed: killed before and after its commands, of which there are $((count - 1))"
((count > 5)) || fail "so few commands cannot be right"
