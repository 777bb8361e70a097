# SPDX-License-Identifier: GPL-3.0-or-later
"""extmerge as a service of systemd: its reports by sd_notify, and its messages in systemd's journal."""

import os
import re
import socket
import subprocess
import unittest

from support import EXTMERGE, PoolTest, environment

UNIT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../cli/packaging/extmerge@.service.in")

LATER_THAN_247 = {"RestartSteps", "RestartMaxDelaySec", "RestartMode", "OpenFile", "LogFilterPatterns",
                  "PrivateIPC", "RestrictFileSystems", "ExecSearchPath", "ExtraFileDescriptor"}
# Disks and device-mapper's control node are devices, ProtectClock denies them before systemd 253; ProcSubset hides swaps.
HIDES = {"PrivateDevices", "DevicePolicy", "DeviceAllow", "ProtectClock", "ProcSubset"}


class UnitTest(unittest.TestCase):
    def test_its_settings_are_those_of_systemd_247_and_hide_no_device(self):
        with open(UNIT, encoding="ascii") as file:
            settings = dict(re.findall(r"^([A-Za-z]+)=(.*)$", file.read(), re.MULTILINE))
        self.assertIn("ExecStart", settings)
        self.assertEqual(set(settings) & (LATER_THAN_247 | HIDES), set())

    def test_it_tries_again_after_what_may_be_over_in_a_minute(self):
        with open(UNIT, encoding="ascii") as file:
            prevented = re.search(r"^RestartPreventExitStatus=(.*)$", file.read(), re.MULTILINE)[1]
        self.assertEqual(prevented.split(), ["1", "2", "4", "6", "8", "9", "10"])


class ServiceTest(PoolTest):
    def notified(self, *arguments):
        """Runs extmerge to its end. Returns its result and the messages to NOTIFY_SOCKET."""
        path = self.pool.path("notify")
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
            manager.bind(path)
            manager.settimeout(0)
            process = self.pool.start(*arguments, env=environment(NOTIFY_SOCKET=path))
            told = []
            while True:
                ended = process.poll() is not None
                try:
                    while True:
                        told.append(manager.recv(65536).decode())
                except BlockingIOError:
                    if ended:
                        break
                    try:
                        process.wait(0.05)
                    except subprocess.TimeoutExpired:
                        pass
            os.remove(path)
            process.communicate()
        return process.returncode, told

    def test_it_is_told_when_work_begins_and_how_far_it_is(self):
        status, told = self.notified(*self.pool.command("merge", "--yes", "--rate-limit", "3M"))
        self.assertEqual(status, 0)
        self.assertIn("READY=1", told)
        copying = [line for line in told if line.startswith("STATUS=copying")]
        self.assertGreaterEqual(len(copying), 1, told)
        self.assertRegex(copying[-1], r"\d+\.\d%  .* / .*  .*/s  ETA .*  durable ")
        self.assertTrue(all(re.match("READY=1$|STATUS=", line) for line in told), told)
        self.assertEqual(self.pool.origin_bytes(), self.pool.merged())

    def test_a_refused_one_never_was_ready(self):
        os.remove(self.pool.data)
        status, told = self.notified(*self.pool.command("merge", "--yes"))
        self.assertEqual(status, 4)
        self.assertNotIn("READY=1", told)
        self.assertNotIn("STATUS=copying", "".join(told))

    def test_one_that_has_nothing_to_do_was_ready(self):
        self.assert_ok(self.pool.run("merge", "--yes"))
        status, told = self.notified("undo", "--yes", self.pool.journal())
        self.assertEqual(status, 6)
        self.assertNotIn("READY=1", told)
        status, told = self.notified("status", self.pool.journal())
        self.assertEqual(status, 0)
        self.assertIn("READY=1", told)

    def test_a_manager_that_has_gone_is_no_failure(self):
        for path in ("/nonexistent/socket", "@nobody-listens-here", "x" * 200, ""):
            pool = self.make_pool()
            self.assert_ok(pool.run("merge", "--yes", env=environment(NOTIFY_SOCKET=path)))

    def test_the_journal_gets_levels_in_place_of_the_name(self):
        path = self.pool.path("stderr")
        for known in (True, False):
            with open(path, "w+b") as stream:
                file = os.fstat(stream.fileno())
                name = "%d:%d" % (file.st_dev, file.st_ino if known else file.st_ino + 1)
                process = subprocess.run([EXTMERGE, "resume", "/nonexistent"], stderr=stream,
                                         env=environment(JOURNAL_STREAM=name), check=False)
                self.assertEqual(process.returncode, 6)
            with open(path, encoding="utf-8") as stream:
                lines = stream.read().split("\n")
            if known:
                self.assertRegex(lines[0], "^<3>EXM-601: ")
                self.assertRegex(lines[1], "^<3>  ")
            else:
                self.assertRegex(lines[0], "^extmerge: EXM-601: ")


if __name__ == "__main__":
    unittest.main()
