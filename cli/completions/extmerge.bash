# SPDX-License-Identifier: GPL-3.0-or-later
#
# Completion of extmerge(8) for bash. Which options a command takes, the program says itself.

_extmerge_options() { # COMMAND
  extmerge "$1" --help 2>/dev/null | sed -n 's/^ \{2,6\}\(-., \)\{0,1\}\(--[a-z-]*\).*/\1\2/p' | tr -s ', ' '\n'
}

# Thin volumes as VG/LV; nothing where LVM may not be asked.
_extmerge_volumes() {
  lvs --noheadings --options lv_full_name --select 'lv_layout=~thin && lv_layout!~pool' 2>/dev/null | tr -d ' '
}

_extmerge_journals() { # STATE_DIR
  local journal
  for journal in "$1"/*.journal; do
    [[ -e $journal ]] && printf '%s\n' "$journal"
  done
}

_extmerge_files() {
  compopt -o filenames 2>/dev/null
  mapfile -t -O "${#COMPREPLY[@]}" COMPREPLY < <(compgen -f -- "$current")
}

# The values of an option; fails where it has none that could be listed.
_extmerge_values() { # OPTION
  case $1 in
    --metadata | --data | --origin | --journal | -j | --undo-log | --log-file | --map) _extmerge_files ;;
    --export)
      if [[ ${COMP_WORDS[1]} == plan ]]; then _extmerge_words "bmap borg ddrescue json"; else _extmerge_words "ddrescue"; fi
      ;;
    --since)
      _extmerge_words "origin $(_extmerge_journals "${EXTMERGE_STATE_DIR:-/var/lib/extmerge}")"
      [[ $current == [./]* ]] && _extmerge_files
      ;;
    --state-dir)
      compopt -o filenames 2>/dev/null
      mapfile -t COMPREPLY < <(compgen -d -- "$current")
      ;;
    --beyond-origin) _extmerge_words "refuse drop extend" ;;
    --compare) _extmerge_words "auto always never" ;;
    --verify) _extmerge_words "none sample changed full" ;;
    --with) _extmerge_words "$(_extmerge_volumes)" ;;
    --progress) _extmerge_words "auto bar line json none" ;;
    --units) _extmerge_words "b s k m g t p e h r B S K M G T P E H R" ;;
    --log-level) _extmerge_words "error warn info debug trace" ;;
    --thin-id | --thin-size | --checkpoint-interval | --rate-limit | --io-size | --io-depth | --buffer-size | \
      --threads | --progress-frequency | --until | --timeout) ;;
    *) return 1 ;;
  esac
}

_extmerge_words() { mapfile -t COMPREPLY < <(compgen -W "$1" -- "$current"); }

_extmerge() {
  COMPREPLY=()
  local commands="plan merge copy resume verify status undo abort help"
  local current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD - 1]} command=${COMP_WORDS[1]}

  if ((COMP_CWORD == 1)); then
    _extmerge_words "$commands --help --version"
    return
  fi
  # bash takes --option=value for three words.
  if [[ $current == "=" ]]; then
    current="" previous=${COMP_WORDS[COMP_CWORD - 1]}
    _extmerge_values "$previous"
    return
  fi
  [[ $previous == "=" ]] && previous=${COMP_WORDS[COMP_CWORD - 2]}
  # --export takes two words.
  if [[ $previous == @(bmap|borg|ddrescue|json) ]]; then
    _extmerge_files
    return
  fi
  if [[ $previous == -* ]] && _extmerge_values "$previous"; then return; fi
  case $command in
    help)
      _extmerge_words "$commands"
      return
      ;;
    plan | merge | copy | resume | verify | status | undo | abort) ;;
    *) return ;;
  esac
  if [[ $current == -* ]]; then
    _extmerge_words "$(_extmerge_options "$command")"
    return
  fi

  local state=${EXTMERGE_STATE_DIR:-/var/lib/extmerge} i
  for ((i = 2; i < COMP_CWORD; ++i)); do
    [[ ${COMP_WORDS[i]} == --state-dir ]] || continue
    state=${COMP_WORDS[i + 1]}
    [[ $state == "=" ]] && state=${COMP_WORDS[i + 2]}
  done
  case $command in
    resume | status | undo | abort) _extmerge_words "$(_extmerge_journals "$state") $(_extmerge_volumes)" ;;
    *) _extmerge_words "$(_extmerge_volumes)" ;;
  esac
  # A journal anywhere, an active volume by its device.
  [[ $current == [./]* ]] && _extmerge_files
}

complete -F _extmerge extmerge
