# SPDX-License-Identifier: GPL-3.0-or-later
"""transcripts.py SCENES PAGE: runs the commands of a page and compares their output with the page.

A block of commands is indented by four. In front of it the page has a comment:

    <!-- scene: NAME -->        first `SCENES scene NAME` is run
    <!-- scene: NAME needs: PROGRAM -->  the same, left out with all that goes on from it where there is no such program
    <!-- goes on -->            the block continues in the scene before
    <!-- each: NAME NAME - -->  a scene for each line; `-` continues in the scene before
    <!-- images: NAME -->       not for this script: tests/cli/pages_test.py runs it among that pool's images
    <!-- fresh clone -->        not for this script: .ci/run runs it

Lines that begin with `$ ` are commands, the others their output; `...` stands for anything. In a block
without `$ ` each line is a command that must succeed. A command whose output has an EXM- id must fail,
any other command must succeed. Numbers, sizes, times and random names in the output may differ. A
question is answered with y.
"""

import os
import pty
import re
import shutil
import subprocess
import sys

# Lines that a page leaves out: the lab keeps no backups, and its files are in memory.
NOISE = re.compile(r"WARNING: This metadata update is NOT backed up|is on a file system in memory|^\s*$")


# Ids become letters, because numbers may differ and ids may not.
LETTERS = str.maketrans("0123456789", "ABCDEFGHIJ")


def alike(line):
    """The line without the parts that may differ from run to run."""
    line = re.sub(r"extmerge_(rest_|layer_)?[0-9a-f]{8}", "FREEZE", line)
    line = re.sub(r"\b[0-9a-f]{16,32}\b", "DIGITS", line)
    line = re.sub(r"\b(EXM-|thin )(\d+)", lambda found: found.group(1) + found.group(2).translate(LETTERS), line)
    line = re.sub(r"\d+(\.\d+)?( (B|KiB|MiB|GiB|kB|MB|GB)(/s)?| s)?\b", "N", line)
    return re.sub(r"\s+", " ", line).strip()


def blocks(page):
    """The scene, the lines and the place of each block that has a comment."""
    with open(page, encoding="utf-8") as file:
        lines = file.read().split("\n")
    for at, line in enumerate(lines):
        found = re.fullmatch(r"<!-- (?:(scene|each|images): (.*)|(goes on|fresh clone)) -->", line)
        if not found:
            continue
        start = at + 1
        while not lines[start]:
            start += 1
        end = start
        while lines[end].startswith("    ") or (not lines[end] and lines[end + 1].startswith("    $")):
            end += 1
        block = [line[4:] for line in lines[start:end] if line]
        assert block, f"line {at + 1}: there is no block"
        yield found.group(1) or found.group(3), (found.group(2) or "").split(), block, at + 1


def commands(block):
    """Each command and its expected output. None means that the command must succeed."""
    if not any(line.startswith("$ ") for line in block):
        yield from ((line, None) for line in block)
        return
    command, said = None, []
    for line in block:
        if line.startswith("$ "):
            if command:
                yield command, said
            command, said = line[2:], []
        elif command.endswith("\\"):
            command += "\n" + line
        else:
            said.append(line)
    yield command, said


def set_up(scenes, name):
    if name == "-":
        return
    print(f"-- scene: {name}", flush=True)
    subprocess.run([scenes, "scene", name], check=True)


def with_todays_freeze(command):
    if "extmerge_" not in command:
        return command
    freeze = subprocess.run(["lvs", "--noheadings", "-o", "lv_name", "-S", "lv_tags=extmerge.freeze"],
                            capture_output=True, text=True, check=True).stdout.strip()
    return re.sub(r"extmerge_[0-9a-f]{8}", freeze, command)


def run(command, **changes):
    """Runs the command on a terminal. Returns everything that the terminal shows, and the exit status."""
    child, terminal = pty.fork()
    if child == 0:
        os.environ.update({"TERM": "dumb", "NO_COLOR": "1", **changes})
        os.execvp("bash", ["bash", "-c", command])
    shown = b""
    while True:
        try:
            read = os.read(terminal, 65536)
        except OSError:
            break
        if not read:
            break
        shown += read
        if read.rstrip().endswith(b"[y/N]"):
            os.write(terminal, b"y\n")
    # The command must have ended: a closed terminal would send it a hangup.
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    os.close(terminal)
    return shown.decode(errors="replace").replace("\r", ""), status


def is_what_was_said(shown, said):
    pattern = "".join(r"(?:(?!extmerge: EXM-).*\n)*?" if line.strip() == "..." else re.escape(alike(line)) + "\n" for line in said)
    lines = "".join(alike(line) + "\n" for line in shown.split("\n") if not NOISE.search(line))
    return re.fullmatch(pattern, lines) is not None


def main():
    scenes, page = sys.argv[1:]
    ran, lacks = 0, None
    for kind, names, block, at in blocks(page):
        if kind in ("images", "fresh clone"):
            continue
        if kind != "goes on":
            lacks = names[2] if names[1:2] == ["needs:"] and not shutil.which(names[2]) else None
        if lacks:
            print(f"-- skipped, there is no {lacks}: the block at line {at}", flush=True)
            continue
        if kind == "scene":
            set_up(scenes, names[0])
        for index, (command, said) in enumerate(commands(block)):
            if kind == "each":
                set_up(scenes, names[index])
            print(f"-- {command}", flush=True)
            shown, status = run(with_todays_freeze(command))
            ran += 1
            fails = said is not None and any("EXM-" in line for line in said)
            right = (status != 0) == fails and (said is None or is_what_was_said(shown, said))
            if not right:
                print(shown, flush=True)
                sys.exit(f"FAILED: {page}, the block at line {at}: '{command}' ended with {status} and said that" +
                         ("" if said is None else "; the page says:\n" + "\n".join(said)))
    if ran == 0:
        sys.exit(f"FAILED: {page} has no commands")
    print(f"-- {ran} commands of {page} do what it says")


if __name__ == "__main__":
    main()
