# SPDX-License-Identifier: GPL-3.0-or-later
"""Measures whole processes: wall and processor seconds, peak memory, bytes read and written,
system calls.

Shared machines are noisy, so no figure is compared with one of another day. The commands of
a table run in turn, A B C A B C, and ratios are taken pair by pair.
"""

import collections
import os
import re
import signal
import statistics
import subprocess
import tempfile
import time


class Run:
    def __init__(self, wall, cpu, memory, read, written, said):
        self.wall, self.cpu = wall, cpu  # seconds
        self.memory, self.read, self.written = memory, read, written  # bytes
        self.said = said


def run(command, status=0, kill_after=None):
    """Runs the command to its end; it must end with `status`."""
    with tempfile.TemporaryFile() as said:
        begin = time.monotonic()
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=said,
                                   stderr=subprocess.STDOUT)
        if kill_after is not None:
            time.sleep(kill_after)
            os.kill(process.pid, signal.SIGKILL)  # Popen.kill() would reap a process that has ended
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        with open("/proc/%d/io" % process.pid) as counters:
            moved = dict(re.findall(r"^(read|write)_bytes: (\d+)", counters.read(), re.M))
        _, outcome, usage = os.wait4(process.pid, 0)
        wall = time.monotonic() - begin
        process.returncode = os.waitstatus_to_exitcode(outcome)
        said.seek(0)
        words = said.read().decode(errors="replace")
        if process.returncode != status:
            raise RuntimeError("%s ended with %d:\n%s" % (
                " ".join(command), process.returncode, words))
        return Run(wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024,
                   int(moved["read"]), int(moved["write"]), words)


def system_calls(command):
    """The number of the command's system calls, in all threads."""
    with tempfile.NamedTemporaryFile("r") as counts:
        subprocess.run(["strace", "-f", "-c", "-o", counts.name, *command], check=True,
                       stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                       stderr=subprocess.DEVNULL)
        for line in counts:
            total = re.match(r"\s*100\.00\s+\S+\s+(?:\S+\s+)?(\d+)\s+(?:\d+\s+)?total", line)
            if total:
                return int(total.group(1))
    raise RuntimeError("strace counted nothing")


def traffic(command):
    """{path: [bytes read, bytes written]}, counted from the command's system calls."""
    moved = collections.defaultdict(lambda: [0, 0])
    asynchronous = re.compile(r"aio_lio_opcode=IOCB_CMD_P(READ|WRITE), .*?aio_fildes=\d+<([^>]*)>, .*?aio_nbytes=(\d+)")
    synchronous = re.compile(r"p?(READ|WRITE)(?:64|V)?\(\d+<([^>]*)>.* = (\d+)$", re.I)
    # strace writes a file for each thread, so no call is split in two lines.
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(["strace", "-ff", "-y", "-v", "-s", "0", "-e", "trace=read,pread64,preadv,write,pwrite64,pwritev,io_submit",
                        "-o", folder + "/calls", *command], check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                       stderr=subprocess.DEVNULL)
        for entry in os.scandir(folder):
            with open(entry.path) as calls:
                for line in calls:
                    for kind, path, length in asynchronous.findall(line) + [call.groups() for call in [synchronous.match(line)] if call]:
                        moved[path][kind.upper() == "WRITE"] += int(length)
    return moved


class Contest:
    """Commands that do the same job, run in turn. Each is a function of the number of the
    round that returns a Run."""

    def __init__(self, commands, rounds=5):
        self.runs = {name: [] for name in commands}
        for number in range(rounds + 1):
            for name, command in commands.items():
                result = command(number)
                if number > 0:  # the first is a warm-up
                    self.runs[name].append(result)

    def median(self, name, figure="wall"):
        return statistics.median(getattr(r, figure) for r in self.runs[name])

    def times_faster(self, name, peer):
        """The peer's time divided by this one's, median over the rounds."""
        return statistics.median(p.wall / r.wall
                                 for r, p in zip(self.runs[name], self.runs[peer]))


class Table:
    """Rows of one section. Each row is printed at once, and kept."""

    def __init__(self, title, columns):
        print("\n%s" % title)
        self.columns = columns
        self.widths = [max(len(c), 9) for c in columns]
        self.widths[0] = 34
        self._print(columns)
        self.rows = []

    def _print(self, cells):
        print("  ".join(str(c).ljust(w) if i == 0 else str(c).rjust(w)
                        for i, (c, w) in enumerate(zip(cells, self.widths))).rstrip(), flush=True)

    def row(self, *cells):
        self.rows.append(cells)
        self._print(cells)
