# SPDX-License-Identifier: GPL-3.0-or-later
#
# Completion of extmerge(8) for fish. Which options a command takes, the program says itself.

set --global __extmerge_commands plan merge copy resume verify status undo abort help

function __extmerge_command
    set --local words (commandline --tokenize --current-process --cut-at-cursor)
    test (count $words) -ge 2; and contains -- $words[2] $__extmerge_commands; and echo $words[2]
end

function __extmerge_options
    set --local command (__extmerge_command); or return
    extmerge $command --help 2>/dev/null | string replace --filter --regex \
        '^ +(?:-\w, )?(--[a-z-]+)(?:\[\S+\])?(?: ddrescue FILE| [A-Z][A-Za-z|]*)? +(.*)$' '$1\t$2'
end

function __extmerge_takes
    __extmerge_options | string match --quiet --regex -- "^--$argv[1]\t"
end

function __extmerge_volumes
    lvs --noheadings --options lv_full_name --select 'lv_layout=~thin && lv_layout!~pool' 2>/dev/null | string trim
end

function __extmerge_journals
    set --local state /var/lib/extmerge
    set --query EXTMERGE_STATE_DIR; and set state $EXTMERGE_STATE_DIR
    for journal in $state/*.journal
        echo $journal
    end
end

complete --command extmerge --no-files
complete --command extmerge --condition 'not __extmerge_command >/dev/null' --arguments 'plan\t"show what a merge would copy"
merge\t"merge a thin into its external origin"
copy\t"copy a thin to another device"
resume\t"resume an unfinished merge or copy"
verify\t"compare the origin with the thin"
status\t"show how far a merge is"
undo\t"put back what a merge overwrote"
abort\t"give up an unfinished merge"
help\t"how to use a command"'
complete --command extmerge --condition 'string match --quiet -- "-*" (commandline --current-token)' --arguments '(__extmerge_options)'
complete --command extmerge --condition 'contains -- (__extmerge_command) plan merge copy verify resume status undo abort' --arguments '(__extmerge_volumes)'
complete --command extmerge --condition 'contains -- (__extmerge_command) resume status undo abort' --arguments '(__extmerge_journals)'
complete --command extmerge --condition 'contains -- (__extmerge_command) help' --arguments '$__extmerge_commands'

for option in metadata data origin journal undo-log log-file state-dir map
    complete --command extmerge --condition "__extmerge_takes $option" --long-option $option --require-parameter --force-files
end
complete --command extmerge --condition "__extmerge_takes journal" --short-option j --require-parameter --force-files
complete --command extmerge --condition "__extmerge_takes beyond-origin" --long-option beyond-origin --exclusive --arguments 'refuse drop extend'
complete --command extmerge --condition "__extmerge_takes compare" --long-option compare --exclusive --arguments 'auto always never'
complete --command extmerge --condition "__extmerge_takes verify" --long-option verify --exclusive --arguments 'none sample changed full'
complete --command extmerge --condition "__extmerge_takes with" --long-option with --exclusive --arguments '(__extmerge_volumes)'
complete --command extmerge --condition "__extmerge_takes progress" --long-option progress --exclusive --arguments 'auto bar line json none'
complete --command extmerge --condition "__extmerge_takes units" --long-option units --exclusive --arguments 'b s k m g t p e h r B S K M G T P E H R'
complete --command extmerge --condition "__extmerge_takes log-level" --long-option log-level --exclusive --arguments 'error warn info debug trace'
complete --command extmerge --condition "__extmerge_takes export" --long-option export --exclusive --arguments 'bmap borg ddrescue json'
complete --command extmerge --condition "__extmerge_takes since" --long-option since --require-parameter --force-files --arguments origin
