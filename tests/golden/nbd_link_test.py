# SPDX-License-Identifier: GPL-3.0-or-later
"""extmerge copy to an NBD server over a line that goes down, and to one that stops to answer. All cases run at once, because
they wait for half a minute each."""

import concurrent.futures
import os
import shutil
import signal
import subprocess
import time
import unittest

from nbd_servers import NbdServersTest
from pools import EXTMERGE, Pool


class Line:
    """Two network namespaces with a line between them."""

    def __init__(self, test):
        self.test = test
        (here, there) = (self.namespace(), self.namespace())
        self.here = ["nsenter", "--net", "--target", str(here.pid)]
        self.there = ["nsenter", "--net", "--target", str(there.pid)]
        for words in (self.here + ["ip", "link", "add", "copy0", "type", "veth", "peer", "name", "replica0", "netns", str(there.pid)],
                      self.here + ["ip", "addr", "add", "192.0.2.1/24", "dev", "copy0"],
                      self.here + ["ip", "link", "set", "copy0", "up"],
                      self.there + ["ip", "addr", "add", "192.0.2.2/24", "dev", "replica0"]):
            subprocess.run(words, check=True)
        # The other host takes little data before its server reads it.
        subprocess.run(self.there + ["sh", "-c", "echo 4096 16384 16384 > /proc/sys/net/ipv4/tcp_rmem"], check=True)
        self.set("up")

    def namespace(self):
        holder = subprocess.Popen(["unshare", "--net", "sleep", "600"])
        self.test.addCleanup(holder.wait)
        self.test.addCleanup(holder.terminate)
        here = os.readlink("/proc/self/ns/net")
        for _ in range(200):
            if os.readlink(f"/proc/{holder.pid}/ns/net") != here:
                return holder
            time.sleep(0.05)
        self.test.fail("there is no namespace")

    def set(self, state):
        subprocess.run(self.there + ["ip", "link", "set", "replica0", state], check=True)


class NbdLinkTest(NbdServersTest):
    def setUp(self):
        super().setUp()
        if os.geteuid() != 0 or not shutil.which("ip"):
            self.skipTest("a network namespace needs root and iproute2")
        self.pool = Pool("deep-64k")

    def serve_on(self, line, image):
        server = subprocess.Popen(line.there + ["nbdkit", "--foreground", "--exit-with-parent", "--ipaddr", "192.0.2.2", "--port",
                                                "10809", "--filter=delay", "file", image, "delay-write=20ms"],
                                  stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        # nbdkit heeds SIGTERM only when its clients are gone.
        self.addCleanup(self.stop, server, signal.SIGKILL)
        while not subprocess.run(line.there + ["ss", "-Hlnt", "sport", "=", "10809"], capture_output=True, check=True).stdout:
            time.sleep(0.05)
        return server

    def begin(self, name):
        """Starts a copy over a line of its own, and waits until part of it is durable."""
        line = Line(self)
        image = self.image(self.pool, name)
        shutil.copyfile(self.pool.origin, image)
        server = self.serve_on(line, image)
        journal = os.path.join(self.folder, name + ".journal")
        run = subprocess.Popen(line.here + [EXTMERGE, "copy", "--yes", "--checkpoint-interval=64K", "--journal", journal,
                                            *self.pool.source(1, self.pool.origin), "nbd://192.0.2.2"], env=self.environment(),
                               stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        self.addCleanup(run.communicate)
        self.addCleanup(run.kill)
        while not os.path.exists(journal) or self.extmerge_json("status", journal)["durable_bytes"] == 0:
            self.assertIsNone(run.poll())
        return line, server, run, image, journal

    def finish(self, server, run, image):
        said = run.communicate(timeout=120)[1]
        self.assertEqual(run.returncode, 0, said)
        self.stop(server)
        self.assert_equal_bytes(image, self.pool.expected(1))

    def end_and_resume(self, line, server, run, image, journal):
        said = run.communicate(timeout=120)[1]
        self.assertEqual(run.returncode, 7, said)
        self.assertRegex(said, "EXM-70[23].*192.0.2.2")
        self.assertIn("the connection to the server is lost", said)
        self.assertIn("extmerge resume", said)
        # The other host comes back with a new server.
        self.stop(server, signal.SIGKILL)
        server = self.serve_on(line, image)
        line.set("up")
        again = subprocess.run(line.here + [EXTMERGE, "resume", journal], env=self.environment(), capture_output=True, text=True,
                               check=False)
        self.assertEqual(again.returncode, 0, again.stderr)
        self.stop(server)
        self.assert_equal_bytes(image, self.pool.expected(1))

    def a_line_that_is_back_soon(self):
        line, server, run, image, _ = self.begin("soon")
        line.set("down")
        time.sleep(2)
        self.assertIsNone(run.poll())
        line.set("up")
        self.finish(server, run, image)

    def a_line_that_stays_down(self):
        line, server, run, image, journal = self.begin("down")
        line.set("down")
        self.end_and_resume(line, server, run, image, journal)

    def a_line_that_goes_down_while_the_server_has_no_room(self):
        """TCP asks for room then, and has nothing to repeat."""
        line, server, run, image, journal = self.begin("full")
        server.send_signal(signal.SIGSTOP)
        probing = line.here + ["ss", "-Hnto", "dport", "=", "10809"]
        for _ in range(200):
            if "persist" in subprocess.run(probing, capture_output=True, text=True, check=True).stdout:
                break
            time.sleep(0.05)
        else:
            self.fail("the server still has room")
        line.set("down")
        self.end_and_resume(line, server, run, image, journal)

    def a_server_that_pauses(self):
        """The kernel of its host answers."""
        _, server, run, image, _ = self.begin("pauses")
        server.send_signal(signal.SIGSTOP)
        time.sleep(45)
        self.assertIsNone(run.poll())
        server.send_signal(signal.SIGCONT)
        self.finish(server, run, image)

    def test_lines(self):
        cases = (self.a_line_that_is_back_soon, self.a_line_that_stays_down,
                 self.a_line_that_goes_down_while_the_server_has_no_room, self.a_server_that_pauses)
        with concurrent.futures.ThreadPoolExecutor(len(cases)) as threads:
            running = {case: threads.submit(case) for case in cases}
            for case, outcome in running.items():
                with self.subTest(case.__name__):
                    outcome.result()


if __name__ == "__main__":
    unittest.main()
