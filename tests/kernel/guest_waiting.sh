# SPDX-License-Identifier: GPL-3.0-or-later
#
# For scripts about --when-closed, after guest_lvm.sh: extmerge in the background, while SNAP is open.

open_snap() { exec 9<> /dev/mapper/"$(dm_name $snap_lv)"; }
close_snap() { exec 9>&-; }
# in_background ARGUMENT...: starts extmerge without SNAP's open file, and keeps its messages in /run/finish.
in_background() {
  "$EXTMERGE" "$@" > /run/finish 2>&1 9>&- &
  finish=$!
}
# until_it_waits SOURCE: `extmerge status` takes SOURCE, a volume or a journal.
until_it_waits() {
  local i
  for ((i = 0; i < 600; ++i)); do
    [[ ! $("$EXTMERGE" status "$1" 2> /dev/null) =~ state\ +waiting ]] || return 0
    kill -0 $finish 2> /dev/null || break
    pause 0.1
  done
  cat /run/finish
  fail "it does not wait"
}
# ends STATUS PATTERN
ends() {
  local status=0
  wait $finish || status=$?
  if ((status != $1)) || ! grep -Eq -- "$2" /run/finish; then
    cat /run/finish
    fail "it ended with $status, not $1, or did not say '$2'"
  fi
}
# opened_again: opens SNAP as soon as extmerge has deactivated it. Fails if extmerge is faster.
opened_again() {
  local i
  for ((i = 0; i < 300; ++i)); do
    is_active $snap_lv || break
    pause 0.02
  done
  lvchange -ay -K $vg/$snap_lv 2> /dev/null || return 1
  open_snap
  [[ ! -b /dev/fd/9 ]] || return 0
  # extmerge has deactivated it again, and the shell has made a file in its place.
  close_snap
  rm /dev/mapper/"$(dm_name $snap_lv)"
  return 1
}
