# SPDX-License-Identifier: GPL-3.0-or-later
"""Completion in the shells themselves: bash and zsh on a terminal of their own, fish by its `complete`."""

import os
import pty
import re
import select
import shutil
import subprocess
import tempfile
import time
import unittest

from support import COMMANDS, EXTMERGE, SOURCE, environment, run

FOLDER = os.path.join(SOURCE, "cli/completions")


def options_of(command):
    return set(re.findall(r"(?m)^ +(?:-\w, )?(--[\w-]+)", run(command, "--help").stdout))


def seen(text):
    """The text without the characters that the shell has erased again."""
    return re.sub(r"[^\n]\x08", "", text.replace("\r", ""))


class CompletionTest(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix="extmerge-test-")
        self.addCleanup(shutil.rmtree, self.folder)
        self.state = os.path.join(self.folder, "state")
        os.mkdir(self.state)
        for name in ("one.journal", "two.journal", "two.journal.lock"):
            with open(os.path.join(self.state, name), "w", encoding="utf-8"):
                pass
        programs = os.path.join(self.folder, "bin")
        os.mkdir(programs)
        os.symlink(EXTMERGE, os.path.join(programs, "extmerge"))
        with open(os.path.join(programs, "lvs"), "w", encoding="utf-8") as lvs:
            lvs.write("#!/bin/sh\necho '  vg/snap'\necho '  vg/other'\n")
        os.chmod(lvs.name, 0o755)
        self.environment = environment(
            PATH=programs + ":" + os.environ["PATH"], EXTMERGE_STATE_DIR=self.state, HOME=self.folder,
            TERM="dumb", PS1="READY> ", ZDOTDIR=self.folder, XDG_CONFIG_HOME=self.folder,
            XDG_DATA_HOME=self.folder)

    def need(self, shell):
        if not shutil.which(shell):
            self.skipTest("there is no " + shell)

    def journals(self):
        return {os.path.join(self.state, name) for name in ("one.journal", "two.journal")}

    def bash(self, line):
        """The offers for the last word of a line. `=` is a word of its own, as in bash."""
        words = re.findall(r"=|[^ =]+", line) + ([""] if line.endswith((" ", "=")) else [])
        script = ('source "$0"; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _extmerge; '
                  'printf "%s\\n" "${COMPREPLY[@]}"')
        result = subprocess.run(["bash", "--norc", "-c", script, os.path.join(FOLDER, "extmerge.bash"), *words],
                                capture_output=True, text=True, check=True, env=self.environment,
                                cwd=self.folder)
        self.assertEqual(result.stderr, "")
        return set(result.stdout.split())

    def fish(self, line):
        result = subprocess.run(
            ["fish", "--no-config", "-c", "source $argv[1]; complete --do-complete $argv[2]",
             os.path.join(FOLDER, "extmerge.fish"), line],
            capture_output=True, text=True, check=True, env=self.environment, cwd=self.folder)
        self.assertEqual(result.stderr, "")
        return {each.split("\t")[0] for each in result.stdout.split("\n") if each}

    def type_into(self, command, first, line, wanted):
        """Types a line into a shell on a terminal. Returns what the shell has shown once `wanted` is there."""
        child, terminal = pty.fork()
        if child == 0:
            os.chdir(self.folder)
            os.execvpe(command[0], command, self.environment)
        self.addCleanup(os.close, terminal)
        self.addCleanup(os.waitpid, child, 0)
        self.addCleanup(os.kill, child, 9)
        shown = ""
        for typed, until in ((first + "; echo set\\ up\n", "\nset up"), (line, wanted)):
            os.write(terminal, typed.encode())
            shown, end = "", time.monotonic() + 20
            while until not in seen(shown) and time.monotonic() < end:
                if select.select([terminal], [], [], 0.1)[0]:
                    shown += os.read(terminal, 65536).decode(errors="replace")
            self.assertIn(until, seen(shown))
        return shown

    def test_bash_offers_commands(self):
        self.assertEqual(self.bash("extmerge "), {*COMMANDS, "help", "--help", "--version"})
        self.assertEqual(self.bash("extmerge me"), {"merge"})
        self.assertEqual(self.bash("extmerge help un"), {"undo"})

    def test_bash_offers_each_command_its_options(self):
        for command in COMMANDS:
            offered = {word for word in self.bash(f"extmerge {command} -") if word.startswith("--")}
            self.assertEqual(offered, options_of(command), command)
        self.assertEqual(self.bash("extmerge merge --undo"), {"--undo-log"})
        self.assertIn("-n", self.bash("extmerge merge -"))

    def test_bash_offers_values(self):
        for line in ("extmerge merge --compare ", "extmerge merge --compare="):
            self.assertEqual(self.bash(line), {"auto", "always", "never"})
        self.assertEqual(self.bash("extmerge merge vg/snap --compare=a"), {"auto", "always"})
        self.assertEqual(self.bash("extmerge merge --threads "), set())
        with open(os.path.join(self.folder, "metadata.img"), "w", encoding="utf-8"):
            pass
        for line in ("plan --metadata meta", "plan --map meta", "status --export=ddrescue meta",
                     "status --export ddrescue meta"):
            self.assertEqual(self.bash("extmerge " + line), {"metadata.img"}, line)
        self.assertEqual(self.bash("extmerge status --export "), {"ddrescue"})

    def test_bash_offers_volumes_and_journals(self):
        self.assertEqual(self.bash("extmerge merge "), {"vg/snap", "vg/other"})
        self.assertEqual(self.bash("extmerge merge --yes vg/s"), {"vg/snap"})
        self.assertEqual(self.bash("extmerge resume "), {"vg/snap", "vg/other"} | self.journals())
        self.environment["EXTMERGE_STATE_DIR"] = "/nonexistent"
        self.assertEqual(self.bash(f"extmerge undo --state-dir {self.state} {self.state}/o"),
                         {self.state + "/one.journal"})

    def test_bash_completes_what_is_typed(self):
        source = "source " + os.path.join(FOLDER, "extmerge.bash")
        bash = ["bash", "--norc", "--noprofile", "-i"]
        self.type_into(bash, source, "extmerge merge --comp\tal\t", "--compare always")

    def test_zsh_completes_what_is_typed(self):
        self.need("zsh")
        source = f"fpath=({FOLDER} $fpath); autoload -Uz compinit; compinit -u -D"
        zsh = ["zsh", "-f", "-i"]
        self.type_into(zsh, source, "extmerge me\t--undo-l\t", "merge --undo-log")
        self.type_into(zsh, source, "extmerge merge --compare=al\t", "--compare=always")
        self.type_into(zsh, source, "extmerge undo " + self.state + "/tw\t", "two.journal")
        self.type_into(zsh, source, "extmerge plan vg/s\t", "vg/snap")

    def test_fish_offers_all_of_it(self):
        self.need("fish")
        self.assertEqual(self.fish("extmerge "), {*COMMANDS, "help"})
        for command in COMMANDS:
            offered = {word for word in self.fish(f"extmerge {command} --") if word.startswith("--")}
            self.assertEqual({word.rstrip("=") for word in offered}, options_of(command), command)
        self.assertEqual(self.fish("extmerge merge --compare a"), {"auto", "always"})
        self.assertEqual(self.fish("extmerge merge "), {"vg/snap", "vg/other"})
        self.assertEqual(self.fish("extmerge resume "), {"vg/snap", "vg/other"} | self.journals())

    def test_values_are_those_that_the_program_takes(self):
        for name in ("extmerge.bash", "_extmerge", "extmerge.fish"):
            with open(os.path.join(FOLDER, name), encoding="utf-8") as file:
                text = file.read()
            for command, option in (("merge", "compare"), ("merge", "verify"), ("merge", "progress"),
                                    ("plan", "beyond-origin"), ("plan", "log-level"), ("plan", "units")):
                values = re.search(r"(?:--long-option |--)%s\b[^\n]*[\"'(]([\w ]+)[\"')]" % option, text).group(1)
                self.assertGreater(len(values.split()), 2, (name, option))
                for value in values.split():
                    result = run(command, f"--{option}={value}", "--log-file", self.folder + "/log",
                                 "/nonexistent", *(["--yes"] if command == "merge" else []))
                    self.assertEqual(result.returncode, 4, (name, option, value, result.stderr))


if __name__ == "__main__":
    unittest.main()
