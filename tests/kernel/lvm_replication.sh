#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
#
# docs/examples/replicate-snap.service and its timer, as they are, with all of a server's system. The other host is a network
# namespace. Its link goes down in the middle of a copy. The next run finishes that copy, and the one after it takes what was
# written since.
source "$(dirname "$0")/guest_lvm.sh"

[[ -v EXTMERGE_WHOLE_SYSTEM ]] || { echo "skipped: this test needs the whole system (boot -s)"; exit 77; }
for tool in ip nbdkit openssl unshare nsenter; do
  command -v $tool > /dev/null || { echo "skipped: there is no $tool here"; exit 77; }
done
modprobe -d /run veth || { echo "skipped: this kernel has no veth"; exit 77; }

unset EXTMERGE_STATE_DIR # the unit has the usual one
state_dir=/var/lib/extmerge
mkdir -p $state_dir && mount -t tmpfs -o mode=700 tmpfs $state_dir
cp "$EXTMERGE" /usr/sbin/extmerge
cp "$here"/../../docs/examples/replicate-snap.{service,timer} /etc/systemd/system/
mkdir -p /etc/systemd/system/replicate-snap.service.d
printf '[Service]\nEnvironment=LVM_SYSTEM_DIR=/run/lvm LVM_SUPPRESS_FD_WARNINGS=1\n' > /etc/systemd/system/replicate-snap.service.d/lab.conf
mkdir -p /etc/extmerge/tls
printf 'checkpoint-interval = 128k\nbuffer-size = 64k\n' > /etc/extmerge/extmerge.conf
systemctl daemon-reload

note "the other host: a network namespace with nbdkit"
unshare --net sleep infinity &
there=$!
pause 0.5
elsewhere() { nsenter --net --target $there "$@"; }
ip link add copy0 type veth peer name replica0 netns $there
ip address add 192.0.2.1/24 dev copy0
ip link set copy0 up
elsewhere ip address add 192.0.2.2/24 dev replica0
elsewhere ip link set replica0 up
echo 192.0.2.2 replica.example.com >> /etc/hosts
mkdir -p /run/tls
(
  cd /run/tls
  openssl req -x509 -newkey rsa:2048 -nodes -days 9 -subj /CN=authority -keyout ca-key.pem -out ca-cert.pem
  for name in server client; do
    openssl req -newkey rsa:2048 -nodes -subj /CN=replica.example.com -keyout $name-key.pem -out request.pem
    openssl x509 -req -in request.pem -CA ca-cert.pem -CAkey ca-key.pem -CAcreateserial -days 9 -out $name-cert.pem
  done
) > /run/openssl 2>&1 || fail "$(< /run/openssl)"
cp /run/tls/{ca-cert,client-cert,client-key}.pem /etc/extmerge/tls/

new_everything 64k 8200k 32M
find_origin
origin_before=$(origin_data | sha256sum)
dd if=/dev/urandom of=/run/replica bs=$((8200 * 1024)) count=1 status=none
elsewhere nbdkit --tls=require --tls-verify-peer --tls-certificates=/run/tls file /run/replica

# runs STATUS: the unit runs once and ends with that status.
runs() {
  systemctl start replicate-snap.service > /run/said 2>&1 || true
  [[ $(systemctl show --value --property=ExecMainStatus replicate-snap.service) == "$1" ]] ||
    fail "the unit did not end with $1: $(systemctl status --no-pager replicate-snap.service) $(journalctl --no-pager --unit=replicate-snap.service | tail -20)"
}
is_running() { [[ $(systemctl show --value --property=ActiveState replicate-snap.service) == activating ]]; }
replica_is() { cmp "$1" /run/replica || fail "the replica is not $1"; }
untouched() {
  [[ $(origin_data | sha256sum) == "$origin_before" ]] || fail "the origin has changed"
  nothing_left
}

note "the first run copies everything"
kernel_view $snap_lv /run/view
runs 0
replica_is /run/view
untouched

note "the timer starts the next one"
change_snap
systemctl start replicate-snap.timer
for ((i = 0; i < 900; ++i)); do
  ! cmp -s /run/view /run/replica || break
  pause 0.1
done
replica_is /run/view
systemctl stop replicate-snap.timer
while is_running; do pause 0.2; done
untouched

note "the link goes down in the middle of a copy"
change_snap
dd if=/dev/urandom of=/dev/$vg/$snap_lv bs=1M count=4 oflag=direct status=none
kernel_view $snap_lv /run/view
cp /run/view /run/view_at_the_break
echo 'rate-limit = 512k' >> /etc/extmerge/extmerge.conf
systemctl start --no-block replicate-snap.service
journal=$(echo $state_dir/*.journal)
until status=$("$EXTMERGE" status "$journal" 2> /dev/null) && [[ $status == *copying* && $status =~ durable\ +[1-9] ]]; do
  is_running || fail "the copy was done too soon: $(systemctl status --no-pager replicate-snap.service; "$EXTMERGE" status "$journal")"
  pause 0.1
done
elsewhere ip link set replica0 down
begun=$SECONDS
until systemctl is-failed --quiet replicate-snap.service; do
  ((SECONDS - begun < 90)) || fail "the unit waits for the link: $(systemctl status --no-pager replicate-snap.service)"
  pause 0.5
done
[[ $(systemctl show --value --property=ExecMainStatus replicate-snap.service) == 7 ]] || fail "it did not end with 7"
note "the unit failed $((SECONDS - begun)) seconds after the link"
! cmp -s /run/view /run/replica || fail "the copy was done before the link went down"

note "without the link, a run fails soon, and nothing changes"
cp /run/replica /run/replica_before
runs 4
replica_is /run/replica_before

note "with the link, a run finishes that copy, and the next one takes what came later"
sed -i '/rate-limit/d' /etc/extmerge/extmerge.conf
stamp scatter /dev/$vg/$snap_lv 50 11 30
kernel_view $snap_lv /run/view
elsewhere ip link set replica0 up
runs 0
replica_is /run/view_at_the_break
runs 0
replica_is /run/view
untouched
no_group
kill $there
