# SPDX-License-Identifier: GPL-3.0-or-later
"""Merges of one snapshot after another: what the section `rounds` runs."""

import json
import os
import shutil
import subprocess
import tempfile

from measure import run, traffic
from pools import KIB

EXTMERGE = os.environ.get("EXTMERGE", "extmerge")
METADATA_IMAGE = os.environ.get("EXTMERGE_METADATA_IMAGE", "metadata_image")


def knows_rounds():
    if "--since-last" in subprocess.run([EXTMERGE, "merge", "--help"], check=True, capture_output=True, text=True).stdout:
        return True
    print("skipped: %s does not know --since-last" % EXTMERGE)
    return False


def bound(what, figure, least=None, most=None):
    """Prints a figure beside the bound that it must reach."""
    reached = figure >= least if least is not None else figure <= most
    print("%s: %.3f, %s %g: %s" % (what, figure, "at least" if least is not None else "at most", least if least is not None else most,
                                   "reached" if reached else "MISSED"), flush=True)


def report_of(result):
    """The JSON document among what a command has printed; notes may surround it."""
    return json.JSONDecoder().raw_decode(result.said, result.said.index("{\n"))[0]


class Rounds:
    """One program's merges of both snapshots into the pool's origin. All programs write the same
    origin. Each has a state directory. Its journal remembers the time of the origin's last
    modification, so `go_back` restores that as well."""

    def __init__(self, folder, pool, program, *options):
        self.pool, self.program, self.options = pool, program, options
        self.state = tempfile.mkdtemp(dir=folder)
        self.kept = self.state + ".first"

    def merge_first(self):
        subprocess.run([self.program, "merge", "--yes", "--batch-mode", "--again", "--state-dir", self.state, *self.pool.source(self.pool.FIRST)],
                       check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.modified = os.stat(self.pool.path("origin")).st_mtime_ns
        shutil.copytree(self.state, self.kept)

    def go_back(self):
        self.pool.put_back(self.modified)
        shutil.rmtree(self.state)
        shutil.copytree(self.kept, self.state)
        os.sync()  # a sync of the program has nothing else to write

    def command(self):
        return [self.program, "merge", "--yes", "--batch-mode", "--json", "--verify=none", *self.options, "--state-dir", self.state,
                *self.pool.source(self.pool.SECOND)]

    def merge_second(self, number):
        self.go_back()
        result = run(self.command())
        report = report_of(result)
        wanted = self.pool.changed_bytes() if "--since-last" in self.options else self.pool.shape.mapped
        if report["state"] != "done" or report["copy_bytes"] != wanted:
            raise RuntimeError("the merge was of another plan:\n" + result.said)
        if self.options and report["round"] != self.options[0].strip("-").replace("-last", ""):
            raise RuntimeError("the merge was of another kind:\n" + result.said)
        return result

    def traffic(self):
        self.go_back()
        moved = traffic(self.command())
        run([EXTMERGE, "verify", *self.pool.source(self.pool.SECOND)])
        return moved

    def remove(self):
        shutil.rmtree(self.state)
        shutil.rmtree(self.kept)


class RoundsImage:
    """Metadata with two snapshots (`metadata_image rounds`), sparse data and a sparse origin.

    The state directory has a finished merge of snapshot 2. Its plan had one block, because a
    merge of millions of blocks takes hours. Then the whole pool has replaced the metadata, in the
    same file. A plan since the last merge reads only the pool."""

    def __init__(self, folder, mappings):
        self.mappings, self.folder = mappings, tempfile.mkdtemp(dir=folder)
        self.size = mappings * 64 * KIB
        for name, size in (("data", self.size + self.size // 100), ("origin", self.size)):
            with open(self.path(name), "wb") as file:
                file.truncate(size)
        self._make(1, 1)
        subprocess.run([EXTMERGE, "merge", "--yes", "--batch-mode", *self.source(2)], check=True, stdout=subprocess.DEVNULL,
                       stderr=subprocess.DEVNULL)
        self._make(mappings, 2)

    def _make(self, mappings, snapshots):
        subprocess.run([METADATA_IMAGE, "rounds", str(mappings), str(snapshots), self.path("metadata")], check=True)
        subprocess.run(["sync", self.path("metadata")], check=True)

    def path(self, name):
        return os.path.join(self.folder, name)

    def source(self, thin):
        return ["--metadata", self.path("metadata"), "--data", self.path("data"), "--thin-id", str(thin), "--origin", self.path("origin"),
                "--live-root", "--thin-size", str(self.size), "--state-dir", self.path("state")]

    def full(self, number):
        return self._plan("--full", "full", self.mappings)

    def since(self, number):
        return self._plan("--since-last", "since", self.mappings // 100)

    def _plan(self, option, kind, blocks):
        result = run([EXTMERGE, "plan", "--json", option, *self.source(3)])
        report = report_of(result)
        # A hundred that is not complete may have a block or not.
        if report["round"] != kind or abs(report["copy_blocks"] - blocks) > 1:
            raise RuntimeError("the plan is another one:\n" + result.said)
        return result

    def remove(self):
        shutil.rmtree(self.folder)
