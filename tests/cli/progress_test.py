# SPDX-License-Identifier: GPL-3.0-or-later
"""The kinds of progress, on a terminal and elsewhere."""

import fcntl
import json
import os
import pty
import re
import shlex
import shutil
import struct
import subprocess
import termios
import time
import unittest

from support import EXTMERGE, PoolTest, environment


class ProgressTest(PoolTest):
    on_disk = True  # a journal in memory has a note of its own
    RATE = "--rate-limit=3M"  # about 2.3 s

    def on_terminal(self, *arguments, columns=100, **changes):
        """Merges with a terminal as stderr and returns what it showed."""
        master, terminal = pty.openpty()
        fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
        process = subprocess.Popen(
            [EXTMERGE, *self.pool.command("merge", "--yes", "--thin-size=32M", *arguments)],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=terminal,
            env=environment(**{"TERM": "xterm", **changes}))
        os.close(terminal)
        shown = b""
        while True:
            try:
                chunk = os.read(master, 4096)
            except OSError:
                break
            if not chunk:
                break
            shown += chunk
        os.close(master)
        self.assertEqual(process.wait(), 0, shown)
        return shown.decode()

    def elsewhere(self, *arguments):
        return self.assert_ok(self.pool.run("merge", "--yes", "--thin-size=32M",
                                            *arguments)).stderr

    def test_a_bar_is_drawn_four_times_a_second_on_a_terminal(self):
        started = time.monotonic()
        shown = self.on_terminal(self.RATE)
        seconds = time.monotonic() - started
        bars = re.findall(r"copying \[#*\+*-*\] +[\d.]+%", shown)
        self.assertGreater(len(bars), 1.5 * seconds)
        self.assertLess(len(bars), 5 * seconds)
        self.assertIn("ETA", shown)
        self.assertIn("durable", shown)

    def test_the_bar_fits_the_terminal(self):
        for columns in (40, 100):
            self.pool = self.make_pool()
            shown = self.on_terminal(self.RATE, columns=columns)
            for bar in re.findall(r"\r \x1b\[J\r([^\r\n]*)", shown):
                self.assertLess(len(bar), columns)

    def test_in_tmux_a_bar_survives_resizing(self):
        if not shutil.which("tmux"):
            self.skipTest("there is no tmux")
        tmux = ["tmux", "-S", self.pool.path("socket"), "-f", "/dev/null"]
        command = [EXTMERGE, *self.pool.command("merge", "--yes", "--thin-size=32M", "--rate-limit=1M")]
        subprocess.run([*tmux, "new-session", "-d", "-x", "100", "-y", "24",
                        "seq 9; " + shlex.join(command) + "; exec sleep 100"], check=True,
                       env=environment(TERM="xterm", LANG="C.UTF-8"))
        self.addCleanup(subprocess.run, [*tmux, "kill-server"], check=True)

        def screen(until):
            end = time.monotonic() + 10
            while True:
                lines = [line for line in subprocess.run(
                    [*tmux, "capture-pane", "-p", "-S", "-"], capture_output=True, text=True,
                    check=True).stdout.split("\n") if line]
                if until(lines):
                    return lines
                self.assertLess(time.monotonic(), end, lines)
                time.sleep(0.02)

        for columns in (100, 40, 16, 70, 120):
            subprocess.run([*tmux, "resize-window", "-x", str(columns), "-y", "24"], check=True)
            # The line is drawn for this width, and nothing is left of the line before.
            shape = {100: r"copying \[.*\].*durable .*B", 40: r"copying \[.{10,}\] .*ETA [\d:a-z]+",
                     16: r"copying +[\d.]+%", 70: r"copying \[.{10,}\] .* ETA [\d:a-z]+",
                     120: r"copying \[.*\].*durable .*B"}[columns]
            lines = screen(lambda seen: len(seen) == 10 and re.fullmatch(shape, seen[9]))
            self.assertEqual(lines[:9], list("123456789"))
            self.assertLess(len(lines[9]), columns)
        lines = screen(lambda seen: any(line.startswith("Merged") for line in seen))
        self.assertRegex(lines[9], r"copying \[#+\] 100\.0%")
        self.assertTrue(lines[10].startswith("Merged"), lines)

    def test_the_last_bar_is_complete(self):
        shown = self.on_terminal(self.RATE)
        last = re.findall(r"\r \x1b\[J\r([^\r\n]*)", shown)[-1]
        self.assertIn("100.0%", last)
        self.assertTrue(shown.endswith("\n"))

    def test_elsewhere_a_short_merge_shows_nothing(self):
        self.assertEqual(self.elsewhere(self.RATE), "")

    def test_lines_come_with_the_frequency_asked_for(self):
        lines = self.elsewhere(self.RATE, "--progress-frequency=1").splitlines()
        self.assertGreaterEqual(len(lines), 2)
        for line in lines:
            self.assertRegex(line, r"\Acopying  [\d.]+%  [\d.]+ \w+ / 6\.8 MiB  [\d.]+ \w+/s  "
                                   r"ETA (unknown|[\d:]+)  durable [\d.]+ \w+\Z")

    def test_the_frequency_makes_lines_on_a_terminal_too(self):
        shown = self.on_terminal(self.RATE, "--progress-frequency=1")
        self.assertNotIn("\x1b[J", shown)
        self.assertIn("copying  ", shown)

    def test_lines_can_be_asked_for_on_a_terminal(self):
        self.assertNotIn("\x1b", self.on_terminal("--progress=line"))

    def test_json_lines_are_as_cryptsetup_has_them(self):
        for words in (["--progress-json"], ["--progress=json"]):
            self.pool = self.make_pool()
            lines = [json.loads(line) for line in self.elsewhere(self.RATE, *words).splitlines()]
            self.assertGreaterEqual(len(lines), 3)
            for line in lines:
                self.assertEqual(list(line), ["device", "phase", "device_bytes", "device_size", "speed",
                                              "eta_ms", "time_ms"])
                self.assertIn(line["phase"], ("copying", "flushing", "comparing"))
                self.assertTrue(all(isinstance(v, str) for v in line.values()))
                self.assertEqual(line["device"], self.pool.origin)
            self.assertEqual(lines[0]["phase"], "copying")
            done = [int(line["device_bytes"]) for line in lines]
            self.assertEqual(done, sorted(done))
            self.assertEqual(lines[-1]["device_bytes"], lines[-1]["device_size"])
            self.assertEqual(lines[-1]["eta_ms"], "0")

    def test_none_and_quiet_show_nothing_even_on_a_terminal(self):
        for words in (["--progress=none"], ["-q"], ["--batch-mode"]):
            self.pool = self.make_pool()
            self.assertEqual(self.on_terminal(self.RATE, *words), "")

    def test_a_bar_can_be_forced_into_a_file(self):
        self.assertIn("copying [", self.elsewhere(self.RATE, "--progress=bar"))

    def test_a_dumb_terminal_gets_no_bar(self):
        self.assertEqual(self.on_terminal(self.RATE, TERM="dumb"), "")

    def failure_on_terminal(self, **changes):
        master, terminal = pty.openpty()
        process = subprocess.Popen([EXTMERGE, "plan"], stdin=subprocess.DEVNULL, stderr=terminal,
                                   env=environment(**{"TERM": "xterm", **changes}))
        process.wait()
        os.close(terminal)
        shown = os.read(master, 4096).decode()
        os.close(master)
        return shown

    def test_failures_are_red_unless_colours_are_not_wanted(self):
        self.assertIn("\x1b[31mEXM-101", self.failure_on_terminal())
        self.assertNotIn("\x1b", self.failure_on_terminal(NO_COLOR="1"))
        self.assertNotIn("\x1b", self.failure_on_terminal(TERM="dumb"))
        self.assertNotIn("\x1b", self.pool.run("plan", "--nonsense").stderr)

    def test_progress_never_touches_standard_output(self):
        result = self.pool.run("merge", "--yes", "-J", self.RATE, "--progress-json")
        self.assertEqual(json.loads(result.stdout)["state"], "done")


if __name__ == "__main__":
    unittest.main()
