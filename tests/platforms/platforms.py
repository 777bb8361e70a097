#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""./run platforms: builds and tests this tree in other Debians on this machine.

Each suite has a root of its own, which mmdebstrap makes from this machine's mirror. The next run keeps the root and
replaces the tree in it. The tree lies in /root, a folder that only root may enter. The tests boot that suite's kernel
(User Mode Linux) over that root, and so use its LVM, udev and thin tools."""

import argparse
import fcntl
import os
import re
import shutil
import subprocess
import sys
import xml.etree.ElementTree

HERE = os.path.dirname(os.path.abspath(__file__))
SOURCE = os.path.dirname(os.path.dirname(HERE))
SUITES = ("bookworm", "trixie", "sid")
# Packages of a whole system, beside those that `./run packages` lists.
SYSTEM = ("ca-certificates", "dbus", "systemd", "systemd-sysv", "udev")
# Packages that only this suite has.
OF_SUITE = {"sid": ("borgbackup2",)}
COLUMNS = ("suite", "g++", "clang", "Linux", "LVM", "thin tools", "systemd", "passed", "failed", "skipped")

# The script runs in mount and process namespaces of its own, so that nothing stays mounted or running. The root is a
# mount of its own: without that a program in it sees a mount table without `/`. /tmp is on the root's disk.
ENTER = """set -e
root=$1; shift
mount --bind "$root" "$root"
mount -t proc proc "$root/proc"
mount --rbind /sys "$root/sys"
mount --rbind /dev "$root/dev"
cd "$root"
exec chroot . "$@"
"""


def folder():
    cache = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return os.path.abspath(os.environ.get("EXTMERGE_PLATFORMS") or os.path.join(cache, "extmerge-platforms"))


def say(text):
    print("\n==", text, flush=True)


class Root:
    def __init__(self, suite):
        self.suite = "sid" if suite == "unstable" else suite
        self.path = os.path.join(folder(), self.suite)
        self.tree = os.path.join(self.path, "root/extmerge")
        os.makedirs(folder(), mode=0o700, exist_ok=True)
        # pylint: disable=consider-using-with
        self.lock = open(self.path + ".lock", "w", encoding="utf-8")
        try:
            fcntl.flock(self.lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            sys.exit(f"platforms: another run uses {self.path}; wait for it")

    def make(self):
        made = self.path + ".made"
        if os.path.exists(made):
            return
        packages = subprocess.run([os.path.join(SOURCE, "run"), "packages"], check=True, capture_output=True,
                                  text=True).stdout.split()
        source = subprocess.run([os.path.join(HERE, "apt_source.py"), self.suite], check=True, capture_output=True,
                                text=True).stdout.strip()
        say(f"making {self.path} from {source}")
        # A killed mmdebstrap may have left mounts, and rm must not enter them.
        subprocess.run(["rm", "-rf", "--one-file-system", self.path], check=True)
        # A mirror with an old state is good enough for tests. mmdebstrap still checks signatures.
        subprocess.run(["mmdebstrap", "--variant=minbase", '--aptopt=Acquire::Check-Valid-Until "false"',
                        "--include=" + ",".join((*packages, *SYSTEM, *OF_SUITE.get(self.suite, ()))), self.suite, self.path, source], check=True)
        with open(made, "w", encoding="utf-8"):
            pass

    def copy_tree(self):
        """Copies the tree without .git, like an archive. Build folders stay, so that a second run is short."""
        os.makedirs(self.tree, exist_ok=True)
        for name in os.listdir(self.tree):
            if not name.startswith("build"):
                path = os.path.join(self.tree, name)
                shutil.rmtree(path) if os.path.isdir(path) and not os.path.islink(path) else os.remove(path)
        left_out = ["--exclude=./.git", "--exclude=./build", "--exclude=./build-*", "--exclude=__pycache__"]
        with subprocess.Popen(["tar", "-C", SOURCE, *left_out, "-c", "."], stdout=subprocess.PIPE) as archive:
            subprocess.run(["tar", "-C", self.tree, "--no-same-owner", "-x"], stdin=archive.stdout, check=True)
        if archive.returncode != 0:
            sys.exit("platforms: the tree cannot be copied")
        shutil.copy("/etc/resolv.conf", os.path.join(self.path, "etc/resolv.conf"))

    def run(self, *command, **options):
        kept = [f"{name}={value}" for name, value in os.environ.items() if name.lower() in ("http_proxy", "https_proxy", "no_proxy")]
        return subprocess.run(["unshare", "--mount", "--propagation", "private", "--pid", "--fork", "--kill-child",
                               "bash", "-c", ENTER, "enter", self.path, "env", "-i", "-C", "/root/extmerge",
                               "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "LANG=C.UTF-8", "TERM=dumb",
                               "EXTMERGE_INSTALLED_KERNEL=1", *kept,
                               *command], check=False, **options)

    def says(self, command):
        return self.run("sh", "-c", command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True).stdout.strip()

    def versions(self):
        def package(name):
            return self.says(f"dpkg-query --show --showformat='${{Version}}' {name}") or "-"
        clang = re.search(r"version (\S+)", self.says("clang --version"))
        return [self.suite, self.says("g++ -dumpfullversion"), clang[1] if clang else "-", self.says("linux.uml --version"),
                package("lvm2"), package("thin-provisioning-tools"), package("systemd")]

    def outcome(self):
        """Names of tests by outcome, None if there was no test."""
        report = os.path.join(self.tree, "build/tests.xml")
        if not os.path.exists(report):
            return None
        names = {"run": [], "fail": [], "notrun": [], "disabled": []}
        for case in xml.etree.ElementTree.parse(report).getroot().iter("testcase"):
            names.setdefault(case.get("status"), []).append(case.get("name"))
        return names

    def test(self, pattern):
        """Runs README's commands, or only the tests that fit the pattern. Returns a row and the failures."""
        report = os.path.join(self.tree, "build/tests.xml")
        wrong, total = [], {}
        everything = [["./run", "demo"], ["./run", "tests"], ["./run", "soak", "--no-bugs"]]
        for command in everything if pattern is None else [["./run", "tests", pattern]]:
            say(f"{self.suite}: {' '.join(command)}")
            if os.path.exists(report):
                os.remove(report)
            status = self.run(*command, stdin=subprocess.DEVNULL).returncode
            if status != 0:
                wrong.append(f"{' '.join(command)} ended with {status}")
            for outcome, names in (self.outcome() or {}).items():
                total.setdefault(outcome, []).extend(names)
        counts = ["-"] * 3
        if not total:
            wrong.append("no test was run")
        else:
            counts = [str(len(total[status])) for status in ("run", "fail", "notrun")]
            wrong += total["fail"]
            if total["notrun"]:
                print("skipped:", ", ".join(total["notrun"]))
        return self.versions() + counts, wrong


def table(rows):
    """The rows as a table in the form of docs/platforms.md."""
    lines = [COLUMNS, ["---"] * len(COLUMNS), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def main():
    parser = argparse.ArgumentParser(prog="./run platforms", description="""builds and tests this tree in other Debians. Takes root.
        Roots are kept in $EXTMERGE_PLATFORMS (%(default)s): remove SUITE and SUITE.made there for a newer one.""" % {"default": folder()})
    parser.add_argument("--tests", metavar="REGEX", help="run only the tests whose names fit, without sanitizers and demo")
    parser.add_argument("suites", metavar="SUITE", nargs="*", help="of Debian (default: %s)" % " ".join(SUITES))
    asked = parser.parse_args()
    if os.geteuid() != 0:
        sys.exit("platforms: this takes root")
    sys.stdout.reconfigure(line_buffering=True)  # in step with what the programs print
    rows, wrong = [], {}
    for suite in asked.suites or SUITES:
        root = Root(suite)
        try:
            root.make()
        except subprocess.CalledProcessError as error:
            # The other suites are tested anyway.
            rows.append([root.suite] + ["-"] * (len(COLUMNS) - 1))
            wrong[root.suite] = [f"there is no root: {os.path.basename(error.cmd[0])} failed (its messages are above)"]
            continue
        root.copy_tree()
        row, wrong[root.suite] = root.test(asked.tests)
        rows.append(row)
    say("platforms")
    print(table(rows))
    for suite, what in wrong.items():
        for line in what:
            print(f"{suite}: {line}")
    return 1 if any(wrong.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
