# SPDX-License-Identifier: GPL-3.0-or-later
#
# Functions that the guest scripts with LVM share. Each script begins with `source guest_lvm.sh`.
# One volume group, `vg` unless a script renames it, is on /dev/ubda. It has a linear external
# origin, a thin pool and the snapshot to be merged. Extents are 4 KiB, so that an origin may end
# inside a data block.
# The state for comparison comes from below: the origin's data is read from the extents of its disk.
# So it does not matter which nodes exist, are open or are read-only at the moment.
# The start of a program takes 15 to 100 ms here, and the merge loses that time. Frequent questions
# therefore read /sys, and the shell parses the answers.

source "$(dirname "${BASH_SOURCE[0]}")/guest.sh"

for tool in lvm mkfs.ext4 e2fsck; do
  command -v "$tool" > /dev/null || {
    echo "skipped: there is no $tool here (packages lvm2, e2fsprogs)"
    exit 77
  }
done
vg=vg origin_lv=origin pool_lv=pool snap_lv=snap
disks=(/dev/ubda)

export LVM_SYSTEM_DIR=/run/lvm LVM_SUPPRESS_FD_WARNINGS=1
mkdir -p /run/lvm /run/mounted
# With udevd LVM waits for udev, as on other systems. Without udevd LVM makes its links itself.
udev=0
[[ -v DM_DISABLE_UDEV ]] || udev=1
# lvm_config [FILTER [GLOBAL]]: writes lvm.conf. FILTER is patterns before the one that takes all disks.
lvm_config() {
  cat > /run/lvm/lvm.conf << CONF
devices { dir="/dev" scan=["/dev"] filter=[${1-}"a|/dev/ubd.*|","r|.*|"] use_devicesfile=0 obtain_device_list_from_udev=0 external_device_info_source="none" types=["ubd",16] }
activation { udev_sync=$udev udev_rules=$udev verify_udev_operations=0 monitoring=0 reserved_memory=64 reserved_stack=64 }
global { locking_dir="/run/lock/lvm" use_lvmpolld=0 ${2-} }
backup { backup=0 archive=0 }
CONF
}
lvm_config

# quietly COMMAND...: the command must succeed. Its output is printed only if it fails.
quietly() {
  local said
  said=$("$@" 2>&1) || {
    printf '%s\n' "$said"
    fail "$*"
  }
}

# dm_name LV: prints the volume's name in /dev/mapper.
dm_name() { printf '%s-%s' "${vg//-/--}" "${1//-/--}"; }
# lvs_of FIELDS [LV]: prints the fields without waiting for the group's lock.
lvs_of() { lvs -a --nolocking --units b --noheadings -o "$1" "${2:-$vg}" 2> /dev/null; }

# new_group: makes an empty volume group and overwrites any earlier one.
new_group() {
  origin_extents=
  quietly wipefs -qaf "${disks[@]}"
  quietly pvcreate -qq -ff -y "${disks[@]}"
  quietly vgcreate -s 4k $vg "${disks[@]}"
}
no_group() { quietly vgremove -ff -y $vg; }
# new_origin SIZE: makes an active, writable origin, full of stamps of generation 0.
new_origin() {
  quietly lvcreate -y -Wn -Zn -n $origin_lv -L "$1" $vg "${disks[0]}"
  stamp range /dev/$vg/$origin_lv 0 0 "$(sectors /dev/$vg/$origin_lv)"
}
# new_pool CHUNK SIZE [NAME]
new_pool() {
  quietly lvcreate -y --type thin-pool -n "${3:-$pool_lv}" -L "$2" --chunksize "$1" \
    --poolmetadatasize 4M $vg "${disks[0]}"
}
# new_snapshot [NAME [POOL]]: makes a snapshot of the origin. A writable origin becomes an external origin first.
new_snapshot() {
  if [[ $(lvs_of lv_attr $vg/$origin_lv) == *\ ?wi* ]]; then
    quietly lvchange -an $vg/$origin_lv
    quietly lvchange -pr $vg/$origin_lv
  fi
  quietly lvcreate -y -s --thinpool $vg/"${2:-$pool_lv}" -n "${1:-$snap_lv}" $vg/$origin_lv
}
# new_everything CHUNK [ORIGIN_SIZE [POOL_SIZE]]: makes group, origin, pool and an active snapshot.
# The origin has stamps of generation 0, the snapshot of generation 1.
new_everything() {
  new_group
  new_origin "${2:-16388k}"
  new_pool "$1" "${3:-80M}"
  new_snapshot
  stamp scatter /dev/$vg/$snap_lv 1 7 30
}

# shorten LV SIZE: ignores the volume's file system. LVM 2.03.31 needs --fs for that, LVM 2.03.16 has no --fs.
shorten() {
  local ignore=()
  [[ $(lvreduce --help) != *--fs* ]] || ignore=(--fs ignore)
  quietly lvreduce -f -y "${ignore[@]}" -L "$2" "$1"
}

# extents_of LV: prints the pieces of a linear volume, each as DISK, OFFSET and LENGTH in bytes.
extents_of() {
  local disk start extent first count
  while read -r disk start extent first count; do
    printf '%s %s %s\n' "$disk" $((start + first * extent)) $((count * extent))
  done < <(pvs --segments --nolocking --noheadings --nosuffix --units b -O seg_start_pe \
    -o pv_name,pe_start,vg_extent_size,pvseg_start,pvseg_size -S "vg_name=$vg && lv_name=$1" 2> /dev/null)
}
# origin_data: prints the origin's data, read from its disk. The origin's place does not change
# while the group exists, so find_origin asks for it once.
origin_extents=
find_origin() { [[ -n $origin_extents ]] || origin_extents=$(extents_of $origin_lv); }
origin_data() {
  local disk offset length
  find_origin
  while read -r disk offset length; do
    dd if="$disk" bs=1M iflag=direct,skip_bytes,count_bytes skip="$offset" count="$length" status=none
  done <<< "$origin_extents"
}

# kernel_view LV FILE: writes to FILE what the kernel reads from the volume. An inactive volume is
# inactive again afterwards.
kernel_view() {
  local was_active=yes
  is_active "$1" || was_active=no
  [[ $was_active == yes ]] || quietly lvchange -ay -K $vg/"$1"
  dd if=/dev/mapper/"$(dm_name "$1")" of="$2" bs=1M iflag=direct status=none
  [[ $was_active == yes ]] || quietly lvchange -an $vg/"$1"
}

# change_snap: writes to SNAP, which is active afterwards, and keeps its view in /run/view.
generation=1
change_snap() {
  generation=$((generation + 1))
  is_active $snap_lv || quietly lvchange -ay -K $vg/$snap_lv
  stamp scatter /dev/$vg/$snap_lv $generation $generation 12
  kernel_view $snap_lv /run/view
}
# origin_has_files SUMS: activates the origin of a removed SNAP, whose file system is sound and has those files.
origin_has_files() {
  quietly lvchange -ay $vg/$origin_lv
  quietly e2fsck -fn /dev/$vg/$origin_lv
  mount /dev/$vg/$origin_lv /run/mounted
  diff "$1" <(sums /run/mounted) || fail "files differ"
  umount /run/mounted
}

# held_root: prints for each active pool its name and the held metadata snapshot, or -.
held_root() {
  local pool words
  while read -r pool _ _ words; do
    read -ra words <<< "$words"
    ((${#words[@]} < 5)) || printf '%s held %s\n' "${pool%:}" "${words[4]}"
  done < <(dmsetup status --noflush --target thin-pool 2> /dev/null)
}
is_held() { [[ $(dmsetup status --noflush --target thin-pool 2> /dev/null) =~ \ thin-pool\ [0-9]+\ [0-9/]+\ [0-9/]+\ [0-9] ]]; }

# state_of_kernel: prints device-mapper's tables, with names instead of numbers. It also shows which
# devices are read-only, suspended, open, or have a loaded table beside the live one.
state_of_kernel() {
  local -A name_of
  local nodes tables number name rest words i
  nodes=$(dmsetup info -c --noheadings -O name -o name,attr,open,major,minor --separator ' ')
  tables=$(dmsetup table)
  while read -r name _ _ number rest; do
    name_of[$number:$rest]=$name
  done <<< "$nodes"
  while read -ra words; do
    for i in "${!words[@]}"; do
      words[i]=${name_of[${words[i]}]-${words[i]}}
    done
    printf '%s\n' "${words[*]}"
  done <<< "$tables"
  while read -r name rest; do printf '%s:%s\n' "$name" "${rest% * *}"; done <<< "$nodes"
  held_root
}
# state_of_group [,FIELD]: prints LVM's metadata of the group.
state_of_group() {
  [[ ! -S /run/udev/control ]] || udevadm settle -t 5 || true # udevd opens a volume after each write, and lv_attr shows that
  lvs_of vg_attr,vg_tags,lv_name,lv_attr,lv_size,origin,thin_id,lv_skip_activation,lv_tags"${1-}"
}
state() { state_of_group && state_of_kernel; }
# state_of_everything: prints all that a refusal must leave unchanged. Even the pool's transaction id
# must stay, which changes with each thin that is made or removed.
state_of_everything() {
  find_origin
  state_of_group ,transaction_id
  state_of_kernel
  origin_data | sha256sum
}

# says STATUS PATTERN ARGUMENT...: extmerge ends with that status (or one of them: 3|4) and says PATTERN.
says() {
  local expected=$1 pattern=$2 status=0
  shift 2
  "$EXTMERGE" "$@" > /run/said 2>&1 || status=$?
  [[ $status =~ ^($expected)$ ]] && grep -Eq -- "$pattern" /run/said || {
    cat /run/said
    fail "extmerge $* ended with $status, not $expected, or did not say '$pattern'"
  }
}
# merges ARGUMENT...: extmerge merges without a question.
merges() {
  local status=0
  "$EXTMERGE" merge --yes --batch-mode "$@" > /run/said 2>&1 || status=$?
  ((status == 0)) || {
    cat /run/said
    fail "extmerge merge $* ended with $status"
  }
}
# asks STATUS PATTERN COMMAND ARGUMENT...: like says, but on a terminal. When extmerge asks, the shell
# runs COMMAND, and the answer is yes, or $answer.
asks() {
  local pattern=$2 expected=$1 command=$3 status=0 asker
  shift 3
  [[ -e /dev/pts/ptmx ]] || { mkdir -p /dev/pts && mount -t devpts devpts /dev/pts; }
  rm -f /run/question /run/answer
  python3 - "$EXTMERGE" "$@" > /run/said 2>&1 << 'ASK' &
import os, pty, sys, time
pid, terminal = pty.fork()
if pid == 0:
    os.execv(sys.argv[1], sys.argv[1:])
said, asked = b"", False
try:
    while True:
        said += os.read(terminal, 4096)
        if b"[y/N]" in said and not asked:
            asked = True
            open("/run/question", "w").close()
            while not os.path.exists("/run/answer"):
                time.sleep(0.05)
            os.write(terminal, open("/run/answer", "rb").read())
except OSError:
    pass
print(said.decode())
sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
ASK
  asker=$!
  until [[ -e /run/question ]]; do
    kill -0 $asker 2> /dev/null || fail "extmerge $* does not ask: $(< /run/said)"
    pause 0.1
  done
  eval "$command"
  printf '%s\n' "${answer-y}" > /run/answer.new
  mv /run/answer.new /run/answer
  wait $asker || status=$?
  [[ $status =~ ^($expected)$ ]] && grep -Eq -- "$pattern" /run/said || {
    cat /run/said
    fail "extmerge $* ended with $status, not $expected, or did not say '$pattern'"
  }
}
# refuses STATUS PATTERN ARGUMENT...: extmerge ends with that status (or one of them: 3|4). It says
# an id that fits the status, and PATTERN. Everything stays as before.
refuses() {
  local expected=$1 pattern=$2 status=0
  shift 2
  find_origin
  state_of_everything > /run/state_before
  "$EXTMERGE" "$@" > /run/said 2>&1 || status=$?
  state_of_everything > /run/state_after
  diff /run/state_before /run/state_after || {
    cat /run/said
    fail "extmerge $* ended with $status and left things changed"
  }
  if [[ ! $status =~ ^($expected)$ ]] || ! grep -q "EXM-$status" /run/said || ! grep -Eq -- "$pattern" /run/said; then
    cat /run/said
    fail "extmerge $* ended with $status, not $expected, or did not say '$pattern'"
  fi
  note "refused as it should be: $(grep -o 'EXM-[0-9]*' /run/said | head -1) $*"
}

# nothing_left: no freeze, tag, activation skip, metadata snapshot or loaded table is left. A
# comparison of `state` with the earlier state shows as much.
nothing_left() {
  local line found=
  while read -r line; do
    [[ ! $line =~ extmerge|^($origin_lv|$snap_lv)' '.*skip ]] || found+="$line"$'\n'
  done < <(lvs_of lv_name,lv_tags,lv_skip_activation)
  while read -r line; do
    [[ $line == "No devices found" || ! $line =~ extmerge|\ .*[Is] ]] || found+="$line"$'\n'
  done < <(dmsetup info -c --noheadings -o name,attr --separator ' ')
  ! is_held || found+="a metadata snapshot"
  [[ -z $found ]] || fail "left behind: $found"
}
# no_cookie: no process waits for udev, and no killed process has left a semaphore.
no_cookie() {
  local cookies
  [[ $udev == 1 ]] || return 0
  udevadm settle
  cookies=$(dmsetup udevcookies | tail -n +2)
  [[ -z $cookies ]] || fail "cookies are left: $cookies"
}
# links_are_right: each dm device has its name (a link or a node), and each link leads to a device.
links_are_right() {
  local node name link
  for node in /sys/block/dm-*; do
    name=$(< "$node/dm/name")
    [[ $(stat -Lc %t:%T "/dev/mapper/$name") == "$(stat -c %t:%T "/dev/${node##*/}")" ]] || fail "/dev/mapper/$name is missing, or another: $(ls -l /dev/mapper)"
  done
  for link in /dev/mapper/* /dev/$vg/*; do
    [[ -e $link || $link == *"*" ]] || fail "$link leads nowhere"
  done
  ! is_active $snap_lv || [[ $(readlink -f /dev/$vg/$snap_lv) == "$(readlink -f "/dev/mapper/$(dm_name $snap_lv)")" ]] || fail "SNAP has no link"
}
# origin_is FILE
origin_is() {
  find_origin
  cmp "$1" <(origin_data) || fail "the origin is not what it should be"
}

# kill_when CONDITION ARGUMENT...: starts extmerge and kills it as soon as the shell
# command CONDITION is true. An lvm that extmerge has started finishes its own work, as after
# any kill of its parent. Sets `killed` to yes, or to no if extmerge ended before.
kill_when() {
  local condition=$1 pid
  shift
  setsid "$EXTMERGE" "$@" > /run/said 2>&1 &
  pid=$!
  killed=no
  while kill -0 $pid 2> /dev/null; do
    if eval "$condition"; then
      kill -9 $pid 2> /dev/null && killed=yes
      break
    fi
    pause 0.001
  done
  wait $pid 2> /dev/null || true
  no_lvm_runs
}
# kill_all_after SECONDS ARGUMENT...: kills extmerge after that time, and an lvm that it has started.
# Then it resumes the devices that lvm had suspended, as anybody must after a kill of lvm.
kill_all_after() {
  local seconds=$1 pid device
  shift
  setsid "$EXTMERGE" "$@" > /run/said 2>&1 &
  pid=$!
  killed=no
  pause "$seconds"
  kill -9 -- -$pid 2> /dev/null && killed=yes
  wait $pid 2> /dev/null || true
  no_lvm_runs
  for device in $(dmsetup info -c --noheadings -o name -S suspended=suspended); do
    note "resuming $device"
    dmsetup resume "$device"
  done
}
no_lvm_runs() {
  local file name
  while :; do
    for file in /proc/[1-9]*/comm; do
      if read -r name < "$file" && [[ $name == lvm ]]; then
        pause 0.02
        continue 2
      fi
    done 2> /dev/null
    return 0
  done
}
# Conditions for kill_when.
has_file() { compgen -G "$EXTMERGE_STATE_DIR/$1" > /dev/null; }
has_freeze() { [[ $(lvs_of lv_name) == *extmerge* ]]; }
has_tag() { [[ $(lvs_of lv_tags $vg/$origin_lv) == *half-merged* ]]; }
is_active() { find_node "${vg//-/--}-${1//-/--}"; }
# is_writable SUFFIX: the origin's node with that suffix is writable.
is_writable() {
  local node readonly size
  find_node "${vg//-/--}-${origin_lv//-/--}$1" &&
    { read -r readonly < "$node/ro" && read -r size < "$node/size"; } 2> /dev/null && ((readonly == 0 && size > 0))
}
# has_noted PATTERN: JOURNAL.lvm, the record of changes beside the origin's data, has it.
has_noted() {
  local file text=
  for file in "$EXTMERGE_STATE_DIR"/*.lvm; do
    read -rd '' text < "$file" || [[ ! $text =~ $1 ]] || return 0
  done 2> /dev/null
  return 1
}
# is_copying: the origin is writable and the journal exists, so that there is a merge to resume.
is_copying() { is_writable -extmerge && [[ $("$EXTMERGE" status $vg/$snap_lv 2> /dev/null) =~ state\ +copying ]]; }
is_there() { [[ -n $(lvs_of lv_name $vg/"$1") ]]; }

# kill_holding ARGUMENT...: kills extmerge while it holds a metadata snapshot and has recorded it.
# This lasts milliseconds, so it may take several attempts. Each attempt empties the state directory.
kill_holding() {
  local attempt
  for attempt in 1 2 3 4 5 6 7 8 9 10; do
    rm -f "$EXTMERGE_STATE_DIR"/*
    kill_when "has_noted '\"held\": \"[0-9]' || { is_writable -extmerge && has_file '*.journal'; }" "$@"
    if is_held && has_noted '"held": "[0-9]'; then return; fi
    "$EXTMERGE" abort $vg/$snap_lv &> /dev/null || true
  done
  fail "it was never killed while it held the metadata snapshot: $(< /run/said)"
}

# write_files FOLDER NAME COUNT: writes files of 1 to 300 KB with random contents.
write_files() {
  local i
  for ((i = 0; i < $3; ++i)); do
    head -c $((1000 + RANDOM % 10 * 30000)) /dev/urandom > "$1/$2$i"
  done
}
sums() (
  cd "$1"
  find . -type f -print0 | sort -z | xargs -0 sha256sum
)
