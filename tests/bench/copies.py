# SPDX-License-Identifier: GPL-3.0-or-later
"""Copies of a thin to an image and to an NBD export: what the section `copies` runs.

A peer that does the same job writes to the same image, in turn with extmerge, and it writes other
data. So each program finds all bytes of the image different. A new nbdkit serves the image in
each round. Every program flushes before it ends. Before each round all files are on the disk and
out of the page cache.
"""

import contextlib
import os
import re
import shutil
import subprocess
import tempfile
import time

from measure import Contest, Table, run
from pools import GIB, MIB, Pool, RoundsPool, Shape, random_file
from rounds import EXTMERGE, bound, report_of

MOST_MEMORY = 128  # MiB
UNITS = {"bytes": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}
HEADERS = 28 + 20  # bytes of an NBD request, and of its structured reply


def knows_copies():
    if subprocess.run([EXTMERGE, "copy", "--help"], check=False, capture_output=True).returncode == 0:
        return True
    print("skipped: %s does not know copy" % EXTMERGE)
    return False


def make_cold(*paths):
    """Writes the files to the disk and drops them from the page cache."""
    for path in paths:
        file = os.open(path, os.O_RDWR)
        os.fsync(file)
        os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(file)


@contextlib.contextmanager
def served(image, socket, *words):
    """The URI of the image behind `nbdkit file`. The words are a filter and its parameters."""
    server = subprocess.Popen(["nbdkit", "--foreground", "--exit-with-parent", "--unix", socket, *words[:1], "file", image, *words[1:]],
                              stdin=subprocess.DEVNULL)
    try:
        while not os.path.exists(socket):
            if server.poll() is not None:
                raise RuntimeError("nbdkit ended with %d" % server.returncode)
            time.sleep(0.01)
        yield "nbd+unix:///?socket=" + socket
    finally:
        server.terminate()
        server.wait()
        with contextlib.suppress(FileNotFoundError):
            os.remove(socket)


class CopyPool(Pool):
    """A pool and the peers' sources: thin 1 as a qcow2 image without a backing file, thin 1's data
    in one piece, and an image that is as long as the thin. Both targets have this length, too.
    extmerge's own target is a copy of the origin first."""

    def _make(self):
        shape = self.shape
        super()._make()
        self._make_overlay(1, shape.runs())
        subprocess.run(["qemu-img", "rebase", "-u", "-f", "qcow2", "-b", "", self.overlay(1)], check=True)
        shutil.copyfile(self.path("data"), self.path("piece"))
        os.truncate(self.path("piece"), shape.mapped)
        for name in ("whole", "target_of_peers"):
            random_file(self.path(name), shape.origin)
        shutil.copyfile(self.path("origin"), self.path("target"))
        subprocess.run(["sync"], check=True)

    def make_cold(self):
        make_cold(*(self.path(name) for name in ("data", "origin", "overlay1.qcow2", "piece", "whole", "target", "target_of_peers")))


class Copies:
    def __init__(self, folder, repeats):
        self.folder, self.repeats = folder, repeats
        self.pool = CopyPool(folder, Shape(), with_overlays=False)
        self.target = self.pool.path("target")

    # --- commands ---------------------------------------------------------------

    def copy(self, target, thin, *options):
        with tempfile.TemporaryDirectory(dir=self.folder) as state:
            result = run([EXTMERGE, "copy", "--yes", "--batch-mode", "--json", "--verify=none", "--state-dir", state, *options,
                          *self.pool.source(thin), target])
        report = report_of(result)
        wanted = self.pool.shape.origin if "--whole" in options else self.pool.shape.mapped
        if report["state"] != "done" or report["copy_bytes"] != wanted:
            raise RuntimeError("the copy was of another plan:\n" + result.said)
        return result

    def to_image(self, *options):
        """Copies thin 2. The peers write thin 1's data, or other data."""
        def once(number):
            self.pool.make_cold()
            return self.copy(self.target, 2, *options)
        return once

    def to_export(self, target, command):
        def once(number):
            self.pool.make_cold()
            with tempfile.TemporaryDirectory() as sockets, served(target, sockets + "/nbd") as uri:
                return command(uri)
        return once

    def convert(self, source, kind, *options):
        def once(number):
            self.pool.make_cold()
            return run(["qemu-img", "convert", "-n", "-t", "none", "-T", "none", *options, "-f", kind, "-O", "raw",
                        self.pool.path(source), self.pool.path("target_of_peers")])
        return once

    # --- tables -----------------------------------------------------------------

    def to_exports(self):
        """extmerge copies both thins in turn, so that it always writes other bytes."""
        commands = {"extmerge copy": self.to_export(self.target, lambda uri: self.copy(uri, self.pool.next_thin())),
                    "nbdcopy --flush": self.to_export(
                        self.pool.path("target_of_peers"), lambda uri: run(["nbdcopy", "--flush", self.pool.path("piece"), uri]))}
        self._contest("copy over NBD: 2 GiB of single 64 KiB blocks of 8 GiB; nbdcopy: 2 GiB in one piece", commands, least=1.0)

    def whole(self):
        commands = {"extmerge copy --whole": self.to_image("--whole"), "qemu-img convert": self.convert("whole", "raw")}
        self._contest("whole copy into an image: 8 GiB with 2 GiB mapped; qemu-img: 8 GiB of a raw image", commands, least=1.2)

    def to_images(self):
        """qemu-img writes zeros where the qcow2 image has no cluster. With --target-is-zero it writes only the clusters."""
        commands = {"extmerge copy": self.to_image(), "qemu-img convert": self.convert("overlay1.qcow2", "qcow2"),
                    "qemu-img convert --target-is-zero": self.convert("overlay1.qcow2", "qcow2", "--target-is-zero")}
        self._contest("copy into an image: 2 GiB of single 64 KiB blocks of 8 GiB; qemu-img: of a qcow2 image", commands, least=1.8)

    def _contest(self, title, commands, least):
        table = Table(title + ", on disk", ["command", "wall s", "cpu s", "MiB", "times"])
        contest = Contest(commands, self.repeats)
        ours, peer = list(commands)[:2]
        for name in commands:
            table.row(name, "%.2f" % contest.median(name), "%.2f" % contest.median(name, "cpu"),
                      "%.0f" % (contest.median(name, "memory") / MIB), "%.2f" % contest.times_faster(ours, name))
        bound("times as fast as " + peer, contest.times_faster(ours, peer), least=least)
        bound("MiB of memory", max(result.memory for result in contest.runs[ours]) / MIB, most=MOST_MEMORY)

    def remove(self):
        self.pool.remove()


class ExportRounds:
    """Snapshot 2 is copied to an export, then again and again the 1 % of blocks that snapshot 3 has
    changed. The filter `stats` of nbdkit counts the requests of these later copies."""

    def __init__(self, folder, repeats):
        self.folder, self.repeats = folder, repeats
        self.pool = RoundsPool(folder, Shape(mapped=2 * GIB, origin=4 * GIB))
        self.pool.take_second()
        self.image = self.pool.path("image")
        self.sent = {}
        shutil.copyfile(self.pool.path("origin"), self.image)

    def measure(self):
        changed = self.pool.changed_bytes()
        table = Table("a round over NBD: 2 GiB of single 64 KiB blocks are copied, then the 1 %% that changed (%.1f MiB)" % (changed / MIB),
                      ["command", "wall s", "cpu s", "MiB", "MiB read", "written", "requests", "per byte"])
        commands = {"extmerge copy --since-last": (), "the same, --verify=none": ("--verify=none",)}
        contest = Contest({name: self._round(name, options) for name, options in commands.items()}, self.repeats)
        for name in commands:
            read, written, requests = self.sent[name]
            table.row(name, "%.3f" % contest.median(name), "%.2f" % contest.median(name, "cpu"),
                      "%.0f" % (contest.median(name, "memory") / MIB), "%.2f" % (read / MIB), "%.2f" % (written / MIB), requests,
                      "%.3f" % self._on_the_wire(name))
        for name in commands:
            bound(name + ": bytes on the wire, of those changed", self._on_the_wire(name), most=1.1)
        bound("MiB of memory", max(result.memory for name in commands for result in contest.runs[name]) / MIB, most=MOST_MEMORY)

    def _on_the_wire(self, name):
        read, written, requests = self.sent[name]
        return (read + written + requests * HEADERS) / self.pool.changed_bytes()

    def _round(self, name, options):
        def once(number):
            with tempfile.TemporaryDirectory(dir=self.folder) as state, tempfile.TemporaryDirectory() as sockets:
                socket, counts = sockets + "/nbd", sockets + "/stats"
                with served(self.image, socket) as uri:
                    self._copy(state, self.pool.FIRST, uri)
                make_cold(self.image, self.pool.path("data"))
                with served(self.image, socket, "--filter=stats", "statsfile=" + counts) as uri:
                    result = self._copy(state, self.pool.SECOND, uri, "--since-last", *options)
                self.sent[name] = counted(counts)
                if report_of(result)["copy_bytes"] != self.pool.changed_bytes():
                    raise RuntimeError("the copy was of another plan:\n" + result.said)
                run([EXTMERGE, "verify", "--state-dir", state, *self.pool.source(self.pool.SECOND), self.image])
            return result
        return once

    def _copy(self, state, thin, uri, *options):
        return run([EXTMERGE, "copy", "--yes", "--batch-mode", "--json", "--state-dir", state, *options, *self.pool.source(thin), uri])

    def remove(self):
        self.pool.remove()


def counted(path):
    """(bytes read, bytes written, requests of any kind) in a file of nbdkit's filter `stats`."""
    with open(path) as file:
        lines = re.findall(r"^(\w+): (\d+) ops, [\d.]+ s, ([\d.]+) (bytes|KiB|MiB|GiB),", file.read(), re.M)
    moved = {name: float(amount) * UNITS[unit] for name, _, amount, unit in lines if name != "total"}
    requests = sum(int(ops) for name, ops, _, _ in lines if name != "total")
    return moved.get("read", 0), moved.get("write", 0), requests
