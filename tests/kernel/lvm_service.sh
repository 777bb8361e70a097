#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
#
# extmerge@.service under a systemd of its own, in a process namespace of the guest. The service is started, inspected,
# stopped, resumed after a boot, and done. systemd tries again if that may help, for example while disks of the group are
# missing. Otherwise systemd does not try again.
source "$(dirname "$0")/guest_lvm.sh"
disks=(/dev/ubda /dev/ubdb)

for tool in unshare nsenter; do
  command -v "$tool" > /dev/null || { echo "skipped: there is no $tool here (package util-linux)"; exit 77; }
done
[[ -x /lib/systemd/systemd ]] || { echo "skipped: there is no systemd here"; exit 77; }

export EXTMERGE_STATE_DIR=/var/lib/extmerge
mount -t tmpfs -o mode=755 tmpfs /var/lib
mkdir -p /var/lib/systemd /sys/fs/cgroup /run/bin /run/units/multi-user.target.wants /run/units/extmerge@.service.d
mount -t tmpfs -o mode=755 tmpfs /var/log
mount -t cgroup2 cgroup2 /sys/fs/cgroup || { echo "skipped: this kernel has no cgroups"; exit 77; }
cp "$EXTMERGE" /run/bin/extmerge # the unit sees nothing of /tmp and /home, where it may have been built
# The lab has its own configuration of LVM, and waits seconds instead of minutes.
sed 's#@CMAKE_INSTALL_FULL_SBINDIR@#/run/bin#' "$here/../../cli/packaging/extmerge@.service.in" > /run/units/extmerge@.service
cat > /run/units/extmerge@.service.d/lab.conf << UNIT
[Service]
Environment=LVM_SYSTEM_DIR=/run/lvm LVM_SUPPRESS_FD_WARNINGS=1 ${DM_DISABLE_UDEV+DM_DISABLE_UDEV=1} EXTMERGE_CONFIG=/run/extmerge.conf
RestartSec=1
UNIT
for target in sysinit basic shutdown multi-user; do
  printf '[Unit]\nDefaultDependencies=no\n' > /run/units/$target.target
done
printf 'rate-limit = 512k\ncheckpoint-interval = 256k\nbuffer-size = 64k\n' > /run/extmerge.conf

# boot_systemd: starts systemd, which runs until power_cut. `ctl` is its systemctl.
boot_systemd() {
  SYSTEMD_UNIT_PATH=/run/units container=lab unshare --pid --fork --kill-child --mount --mount-proc \
    /lib/systemd/systemd --system --unit=multi-user.target --log-target=console --show-status=no &
  unshared=$!
  until init=$(< /proc/$unshared/task/$unshared/children) && [[ -n $init && -S /run/systemd/private ]]; do pause 0.1; done
  init=${init%% *}
  until ctl show --property=Version &> /dev/null; do pause 0.2; done
}
ctl() { nsenter --target "$init" --pid --mount systemctl --no-pager "$@"; }
power_cut() {
  kill -9 "$init"
  wait $unshared 2> /dev/null || true
  rm -rf /run/systemd
  while find_node "$(dm_name $origin_lv)-extmerge"; do pause 0.05; done  # the kernel removes it
  rmdir /sys/fs/cgroup/*.slice/* /sys/fs/cgroup/*.slice /sys/fs/cgroup/*.scope 2> /dev/null || true
}
property() { ctl show --value --property="$1" extmerge@vg-snap; }
# becomes PROPERTY VALUE [SECONDS]
becomes() {
  local tries
  for ((tries = 0; tries < ${3-30} * 5; ++tries)); do
    [[ ! $(property "$1") =~ ^($2)$ ]] || return 0
    pause 0.2
  done
  ctl status --lines=0 extmerge@vg-snap || true
  fail "$1 never became $2, it is $(property "$1")"
}

new_everything 64k 16388k
kernel_view $snap_lv /run/view

note "started, it is active once it copies, and says how far it is"
boot_systemd
ctl start extmerge@vg-snap || fail "it cannot be started"
[[ $(property ActiveState) == active ]] || fail "it is $(property ActiveState)"
is_copying || fail "it is active and does not copy"
becomes StatusText 'copying .*[1-9]\.[0-9]%.*'
note "its status: $(property StatusText)"

note "stopped, it is over in seconds, and no failure"
ctl stop extmerge@vg-snap
[[ $(property ActiveState) == inactive && $(property Result) == success ]] ||
  fail "it is $(property ActiveState), $(property Result)"
is_copying && fail "the origin is writable still"
[[ $("$EXTMERGE" status $vg/$snap_lv) =~ state\ +copying ]] || fail "there is nothing to resume"
durable=$("$EXTMERGE" status --json $vg/$snap_lv | sed -n 's/.*"durable_bytes": \([0-9]*\).*/\1/p')
((durable > 0)) || fail "nothing is durable"

note "a power cut in its middle; enabled, it goes on after the boot, and is done"
ctl start extmerge@vg-snap
becomes StatusText 'copying .*'
power_cut
sed -i 's/512k/8M/' /run/extmerge.conf
ln -s /run/units/extmerge@.service /run/units/multi-user.target.wants/extmerge@vg-snap.service
boot_systemd
becomes ActiveState 'inactive' 60
[[ $(property Result) == success && $(property ExecMainStatus) == 0 && $(property NRestarts) == 0 ]] ||
  fail "it ended with $(property Result), $(property ExecMainStatus), after $(property NRestarts) restarts"
nothing_left
origin_is /run/view
[[ $("$EXTMERGE" status $vg/$snap_lv) =~ state\ +done ]] || fail "it is not done"

# reboots_without PATTERN: reboots during a merge. Disks that match the pattern are then missing.
reboots_without() {
  local tries=0
  power_cut
  # The node of the killed merge holds the layer until the kernel has taken its table down.
  until vgchange -an $vg &> /run/said; do
    ((++tries < 100)) || fail "vgchange: $(< /run/said)"
    pause 0.1
  done
  lvm_config "\"r|$1|\","
  sed -i 's/512k/8M/' /run/extmerge.conf
  boot_systemd
}
generation=2
begin_another() {
  stamp scatter /dev/$vg/$snap_lv $generation $((7 + generation)) 10
  generation=$((generation + 1))
  kernel_view $snap_lv /run/view
  sed -i 's/8M/512k/' /run/extmerge.conf
  ctl start extmerge@vg-snap
  becomes StatusText 'copying .*'
}

note "the disks of the group come late after a boot: tried again, and the merge is finished"
begin_another
reboots_without '/dev/ubd.*'
becomes NRestarts '[1-9].*'
becomes ExecMainStatus 11
[[ $(property ActiveState) == activating ]] || fail "it is $(property ActiveState)"
! ctl start extmerge@vg-snap 2> /run/said || fail "it was started without a group"
note "systemctl start: $(< /run/said)"
becomes SubState auto-restart
lvm_config
becomes ActiveState inactive 60
[[ $(property Result) == success && $(property ExecMainStatus) == 0 ]] ||
  fail "it ended with $(property Result), $(property ExecMainStatus)"
nothing_left
origin_is /run/view
quietly vgchange -ay $vg

note "a disk of the group is missing for longer than it tries: failed, and the merge can still be finished"
begin_another
printf '[Unit]\nStartLimitBurst=3\n' > /run/units/extmerge@.service.d/limit.conf
reboots_without /dev/ubdb
becomes ActiveState failed 60
[[ $(property ExecMainStatus) == 11 && $(property NRestarts) =~ ^[23]$ ]] ||
  fail "it ended with $(property ExecMainStatus) after $(property NRestarts) restarts"
[[ $("$EXTMERGE" status $vg/$snap_lv) =~ state\ +copying ]] || fail "there is nothing to resume"
lvm_config
rm /run/units/extmerge@.service.d/limit.conf
ctl daemon-reload
ctl reset-failed extmerge@vg-snap
ctl start extmerge@vg-snap || fail "it cannot be started"
becomes ActiveState inactive 60
[[ $(property Result) == success ]] || fail "it ended with $(property Result)"
nothing_left
origin_is /run/view
quietly vgchange -ay $vg

note "in use: tried again, until it is not"
stamp scatter /dev/$vg/$snap_lv 9 9 10
kernel_view $snap_lv /run/view
quietly lvchange -ay -K $vg/$origin_lv
exec {held}< /dev/$vg/$origin_lv
flock -x $held
ctl start --no-block extmerge@vg-snap
becomes NRestarts '[1-9].*'
exec {held}<&-
becomes ActiveState inactive 60
[[ $(property Result) == success ]] || fail "it ended with $(property Result)"
quietly lvchange -an $vg/$origin_lv
origin_is /run/view

note "what a person must know of is not tried again"
quietly lvremove -y $vg/$snap_lv
! ctl start extmerge@vg-snap 2> /dev/null || fail "it was started without a volume"
becomes ActiveState failed
[[ $(property ExecMainStatus) == 4 && $(property NRestarts) == 0 ]] ||
  fail "it ended with $(property ExecMainStatus) after $(property NRestarts) restarts"
power_cut
