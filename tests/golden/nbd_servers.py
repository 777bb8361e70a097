# SPDX-License-Identifier: GPL-3.0-or-later
"""NBD servers of tests: nbdkit and qemu-nbd."""

import os
import shutil
import signal
import subprocess
import time

from pools import GoldenTest


class NbdServersTest(GoldenTest):
    def setUp(self):
        super().setUp()
        for tool in ("nbdkit", "qemu-nbd", "qemu-img"):
            if not shutil.which(tool):
                self.skipTest(f"there is no {tool}")
        # A path of a socket has at most 107 bytes.
        self.sockets = os.path.join("/tmp", f"extmerge-nbd-{os.getpid()}")
        os.makedirs(self.sockets, exist_ok=True)
        self.addCleanup(shutil.rmtree, self.sockets, ignore_errors=True)
        self.servers = 0

    def serve(self, *words, qemu=False):
        """Starts a server on a new socket; its process and its URI."""
        self.servers += 1
        path = os.path.join(self.sockets, str(self.servers))
        command = (["qemu-nbd", "--persistent", "--socket", path, *words] if qemu else
                   ["nbdkit", "--foreground", "--exit-with-parent", "--unix", path, *words])
        server = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.addCleanup(self.stop, server)
        for _ in range(200):
            if os.path.exists(path):
                return server, f"nbd+unix:///?socket={path}"
            self.assertIsNone(server.poll(), f"{command} ended")
            time.sleep(0.05)
        self.fail(f"{command} does not listen")

    def stop(self, server, how=signal.SIGTERM):
        if server.poll() is None:
            server.send_signal(how)
        server.wait(timeout=30)

    def image(self, pool, name, contents=None):
        path = os.path.join(self.folder, name)
        if contents:
            shutil.copyfile(contents, path)
        else:
            with open(path, "wb") as file:
                file.write(b"\xee" * pool.thin_size)
        os.truncate(path, pool.thin_size)
        return path

    def copy(self, pool, thin_id, target, *more):
        return self.extmerge_json("copy", "--yes", *pool.source(thin_id, pool.origin), *more, target)
