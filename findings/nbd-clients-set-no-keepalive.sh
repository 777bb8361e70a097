#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
#
# The NBD clients of libnbd and QEMU leave TCP's keepalive off, and set no limit on the time without an answer.
#
# Package: libnbd-bin 1.14.2-1, qemu-utils 7.2, nbdkit 1.32.5-1 (Debian 12)
# Command: nbdcopy nbd://127.0.0.1 FILE, and qemu-img convert; ss -tno while they wait for the server's answer
# Seen:    the connections have no timer. One with keepalive, in the same moment, shows the timer.
#
# So nothing ends the wait of such a client if the line is cut while it has nothing to send: no packet will ever be missed. A program
# over libnbd has to set these options itself, on the socket of nbd_aio_get_fd().
source "$(dirname "$0")/lab.sh"
packages bookworm bash coreutils mount util-linux kmod grep sed python3 iproute2 libnbd-bin=1.14.2-1 nbdkit=1.32.5-1 qemu-utils user-mode-linux
guest << 'SCRIPT'
cd /run
ip link set lo up
nbdkit --filter=delay pattern 1M delay-read=20
nbdcopy nbd://127.0.0.1 /run/copied &
qemu-img convert -f raw -O raw nbd://127.0.0.1 /run/converted &
python3 -c '
import socket, time
kept = socket.create_connection(("127.0.0.1", 10809))
kept.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
time.sleep(30)' &
sleep 8 # they wait for the first answer
ss -tnopH state established dport = 10809
SCRIPT
holds "nbdcopy has no timer" eval 'says "\"nbdcopy\"" && ! says "\"nbdcopy\".*timer:"'
holds "qemu-img has no timer" eval 'says "\"qemu-img\"" && ! says "\"qemu-img\".*timer:"'
holds "ss shows the timer of a connection that has one" says '"python3".*timer:\(keepalive'
exit $changed
