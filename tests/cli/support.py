# SPDX-License-Identifier: GPL-3.0-or-later
"""Code that the tests of the built program share.

EXTMERGE is the program, EXTMERGE_TEST_DATA the folder with the unpacked pools
(tests/data). ctest sets both. Every test works on copies in a temporary folder
of its own, with a state directory in it.
"""

import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
import unittest

EXTMERGE = os.environ.get("EXTMERGE", "extmerge")
TEST_DATA = os.environ.get("EXTMERGE_TEST_DATA", "")
SOURCE = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

# A test in the background may ignore these signals. extmerge would inherit that.
for _number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
    if signal.getsignal(_number) == signal.SIG_IGN:
        signal.signal(_number, signal.SIG_DFL)

COMMANDS = ("plan", "merge", "copy", "resume", "verify", "status", "undo", "abort")


def environment(**changes):
    env = {key: value for key, value in os.environ.items()
           if key not in ("EXTMERGE_STATE_DIR", "NO_COLOR")}
    env["EXTMERGE_CONFIG"] = ""
    env.update(changes)
    return env


def run(*arguments, stdin=subprocess.DEVNULL, **options):
    """Runs extmerge to its end. Its stdout and stderr are text."""
    options.setdefault("env", environment())
    return subprocess.run([EXTMERGE, *arguments], stdin=stdin, capture_output=True, text=True,
                          timeout=120, **options)


def drop_root():
    os.setgid(65534)
    os.setuid(65534)


def run_as_another(*arguments, **options):
    """Runs extmerge as a user who is not root. Root opens the program: a checkout may lie in a folder of mode 0700."""
    if os.geteuid() != 0:
        return run(*arguments, **options)
    with open(EXTMERGE, "rb") as program:
        return run(*arguments, executable=f"/proc/self/fd/{program.fileno()}", pass_fds=[program.fileno()],
                   preexec_fn=drop_root, **options)


def folder_on_disk():
    """A folder on a disk. Debian 13 has /tmp in memory, and extmerge prints a note about a journal in memory."""
    for folder in (tempfile.gettempdir(), "/var/tmp", os.path.dirname(EXTMERGE)):
        kind = subprocess.run(["stat", "-f", "-c", "%T", folder], capture_output=True, text=True, check=False).stdout
        if kind.strip() not in ("tmpfs", "ramfs", ""):
            return folder
    raise unittest.SkipTest("every folder for temporary files is in memory")


class Pool:
    """Copies of the images of one pool, and a state directory."""

    def __init__(self, name="equal-64k", thin_id=1, parent=None):
        self.folder = tempfile.mkdtemp(prefix="extmerge-test-", dir=parent)
        self.fixture = os.path.join(TEST_DATA, name)
        self.state = os.path.join(self.folder, "state")
        self.thin_id = thin_id
        for image in ("metadata", "data", "origin"):
            path = os.path.join(self.folder, image)
            subprocess.run(["cp", "--sparse=always",
                            os.path.join(self.fixture, image + ".img"), path], check=True)
            setattr(self, image, path)

    def remove(self):
        shutil.rmtree(self.folder)

    def path(self, name):
        return os.path.join(self.folder, name)

    @property
    def source(self):
        return ["--metadata", self.metadata, "--data", self.data,
                "--thin-id", str(self.thin_id), "--origin", self.origin]

    def command(self, command, *arguments):
        """The arguments of `command` on this pool."""
        place = []
        if command in ("plan", "merge") and not any(
                a.startswith(("--state-dir", "--journal", "-j")) for a in arguments):
            place = ["--state-dir", self.state]
        return [command, *self.source, *place, *arguments]

    def run(self, command, *arguments, **options):
        return run(*self.command(command, *arguments), **options)

    def start(self, *arguments, **options):
        """Starts extmerge with exactly these arguments."""
        options.setdefault("env", environment())
        return subprocess.Popen([EXTMERGE, *arguments], stdin=subprocess.DEVNULL,
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                                **options)

    def journal(self):
        """The path of the one journal in the state directory, None if there is none."""
        if not os.path.isdir(self.state):
            return None
        names = [n for n in os.listdir(self.state) if n.endswith(".journal")]
        assert len(names) <= 1, names
        return os.path.join(self.state, names[0]) if names else None

    def status(self):
        return json.loads(run("status", "--json", self.journal()).stdout)

    def wait_for_copying(self, process, position=0, seconds=10):
        """Waits until the journal records more than `position`."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if self.journal() and self.status()["durable_bytes"] > position:
                return
            if process.poll() is not None:
                break
            time.sleep(0.02)
        raise AssertionError("the merge never got past %d: %s" % (position, process.poll()))

    def merged(self):
        """The bytes that the origin must have after the merge."""
        with open(os.path.join(self.fixture, "origin.img"), "rb") as file:
            origin = bytearray(file.read())
        name = "expected.img" if self.thin_id == 1 else "expected%d.img" % self.thin_id
        with open(os.path.join(self.fixture, name), "rb") as file:
            thin = file.read()
        both = min(len(origin), len(thin))
        origin[:both] = thin[:both]
        return bytes(origin)

    def origin_bytes(self):
        with open(self.origin, "rb") as file:
            return file.read()

    def untouched(self):
        with open(os.path.join(self.fixture, "origin.img"), "rb") as file:
            return file.read() == self.origin_bytes()


class PoolTest(unittest.TestCase):
    """A test with a fresh pool in self.pool. The pool is on a disk if a subclass sets on_disk."""

    pool_name = "equal-64k"
    on_disk = False

    def setUp(self):
        self.pool = self.make_pool(self.pool_name)

    def make_pool(self, name="equal-64k", thin_id=1):
        pool = Pool(name, thin_id, folder_on_disk() if self.on_disk else None)
        self.addCleanup(pool.remove)
        return pool

    def assert_failed(self, result, status, message_id):
        self.assertEqual(result.returncode, status, result.stderr)
        self.assertRegex(result.stderr, r"(?m)^extmerge: %s: .+\n  .+" % message_id)

    def assert_usage_error(self, result, *words):
        self.assert_failed(result, 1, "EXM-101")
        if "--json" in result.args or "-J" in result.args:
            self.assertEqual(json.loads(result.stdout)["error"]["id"], "EXM-101")
        else:
            self.assertEqual(result.stdout, "")
        for word in words:
            self.assertIn(word, result.stderr)

    def assert_ok(self, result):
        self.assertEqual(result.returncode, 0, result.stderr)
        return result

    def unfinished(self, pool=None, *options):
        """Stops a merge in its middle and returns its journal."""
        pool = pool or self.pool
        process = pool.start(*pool.command("merge", "--yes", "--rate-limit", "2M",
                                           "--checkpoint-interval", "256k",
                                           "--buffer-size", "64k", *options))
        pool.wait_for_copying(process)
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=10)
        self.assertEqual(pool.status()["state"], "copying")
        return pool.journal()
