#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
#
# A failing lvs with --reportformat json prints the reason on standard output, and nothing on standard error.
#
# Package: lvm2 2.03.31-2 (Debian 13). LVM 2.03.16 (Debian 12) writes the same words to standard error.
# Command: lvs --reportformat json nosuch
# Seen:    exit status 5; standard error is empty. The document on standard output has an empty "report", and a "log" with
#          "log_type":"error" and "log_message":"Volume group \"nosuch\" not found".
# With --config log/report_command_log=0, and without JSON, the words are on standard error again.
#
# So a program that shows standard error as the reason shows nothing. The program must set log/report_command_log in each call,
# or read the log of the document.
source "$(dirname "$0")/lab.sh"
packages trixie bash coreutils mount util-linux kmod grep sed lvm2=2.03.31-2 dmsetup=2:1.02.205-2 user-mode-linux=6.12um1+b22
guest << 'SCRIPT'
module dm-mod
lvm version | head -n 1
ask() {
  local status=0
  lvs "${@:2}" nosuch > /run/out 2> /run/err || status=$?
  echo "$1: status $status, $(wc -c < /run/err) bytes on standard error"
  sed "s/^ */$1 out: /" /run/out
  sed "s/^ */$1 err: /" /run/err
}
ask json --reportformat json
ask told --reportformat json --config log/report_command_log=0
ask text
SCRIPT
holds "in JSON, standard error is empty, although it fails" says '^json: status 5, 0 bytes on standard error'
holds "the reason is in the document" says '^json out: .*"log_type":"error".*Volume group \\"nosuch\\" not found'
holds "a setting brings it back to standard error" says '^told err: Volume group "nosuch" not found'
holds "without JSON it is there anyway" says '^text err: Volume group "nosuch" not found'
exit $changed
