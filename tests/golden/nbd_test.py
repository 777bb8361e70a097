# SPDX-License-Identifier: GPL-3.0-or-later
"""extmerge copy to NBD exports: of nbdkit, which fails, dies and counts on demand, and of qemu-nbd over qcow2 overlays whose
backing file is the origin. qemu-img compares what the chain shows with what the kernel read from the thin."""

import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import time
import unittest

from nbd_servers import NbdServersTest
from pools import EXTMERGE, Pool


class NbdTest(NbdServersTest):
    def test_whole_and_mapped(self):
        for name in ("equal-64k", "thin-larger-64k", "tail-64k", "block-192k"):
            pool = Pool(name)
            for whole in ((), ("--whole",)):
                image = self.image(pool, "image", None if whole else pool.origin)
                server, uri = self.serve("file", image)
                report = self.copy(pool, 1, uri, *whole, "--verify=full")
                self.assertEqual(report["target"], uri)
                self.stop(server)
                self.assert_equal_bytes(image, pool.expected(1))

    def test_a_chain_of_qcow2_overlays(self):
        pool = Pool("equal-64k")
        origin = self.image(pool, "origin", pool.origin)
        overlays, journal = [], None
        for thin_id in (1, 2):
            overlay = os.path.join(self.folder, f"{thin_id}.qcow2")
            below = overlays[-1] if overlays else origin
            subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", "-F", "qcow2" if overlays else "raw", "-b", below,
                            overlay], check=True)
            overlays.append(overlay)
            server, uri = self.serve("--format=qcow2", overlay, qemu=True)
            since = ("--since", journal) if journal else ()
            journal = self.copy(pool, thin_id, uri, *since)["journal"]
            self.stop(server)
            subprocess.run(["qemu-img", "compare", "-f", "qcow2", "-F", "raw", overlay, pool.expected(thin_id)], check=True,
                           stdout=subprocess.DEVNULL)
        # The first night is still in the first overlay.
        subprocess.run(["qemu-img", "compare", "-f", "qcow2", "-F", "raw", overlays[0], pool.expected(1)], check=True,
                       stdout=subprocess.DEVNULL)
        allocated = [int(re.search(r"disk size: ([\d.]+) MiB", subprocess.run(
            ["qemu-img", "info", overlay], capture_output=True, text=True, check=True).stdout).group(1).split(".")[0])
            for overlay in overlays]
        self.assertLess(allocated[1], allocated[0])

    def test_a_round_sends_what_changed(self):
        pool = Pool("equal-64k")
        image = self.image(pool, "image", pool.origin)
        stats = os.path.join(self.folder, "stats")
        server, uri = self.serve("file", image)
        self.copy(pool, 1, uri)
        self.stop(server)
        server, again = self.serve("--filter=stats", "file", image, f"statsfile={stats}")
        os.rename(again.split("=")[1], uri.split("=")[1])  # the same address
        report = self.copy(pool, 2, uri, "--since-last")
        self.stop(server)
        with open(stats, encoding="utf-8") as file:
            text = file.read()
        # In MiB, GiB or KiB; the plugin's own line comes before the table of request sizes.
        unit = {"bytes": 1, "KiB": 1 << 10, "MiB": 1 << 20}
        written = re.search(r"^write: \d+ ops, [\d.]+ s, ([\d.]+) (bytes|KiB|MiB),", text, re.MULTILINE)
        self.assertIsNotNone(written, text)
        sent = float(written.group(1)) * unit[written.group(2)]
        self.assertLessEqual(sent, 1.02 * report["copy_bytes"], text)
        self.assert_equal_bytes(image, pool.expected(2))

    def test_a_server_that_dies_in_the_middle(self):
        pool = Pool("deep-64k")
        image = self.image(pool, "image", pool.origin)
        server, uri = self.serve("--filter=delay", "file", image, "delay-write=20ms")
        command = [EXTMERGE, "copy", "--yes", "--checkpoint-interval=64K", *pool.source(1, pool.origin), uri]
        with subprocess.Popen(command, env=self.environment(), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                              stderr=subprocess.PIPE, text=True) as run:
            journal = None
            while run.poll() is None:
                found = [name for name in os.listdir(self.state_dir) if name.endswith(".journal")]
                if found:
                    journal = os.path.join(self.state_dir, found[0])
                    if self.extmerge_json("status", journal)["durable_bytes"] > 0:
                        break
            self.stop(server, signal.SIGKILL)
            said = run.communicate(timeout=60)[1]
        self.assertEqual(run.returncode, 7, said)
        self.assertRegex(said, "EXM-70[23]")
        self.assertIn("extmerge resume", said)
        # Nobody answers there now.
        self.extmerge("resume", journal, status=4)
        os.remove(uri.split("=")[1])

        # A server with other contents at the same address: all that the journal claims is compared, and refused.
        other = self.image(pool, "other", pool.origin)
        server, again = self.serve("file", other)
        os.rename(again.split("=")[1], uri.split("=")[1])
        self.extmerge("resume", journal, status=6)
        self.assertIn("EXM-609", self.last_stderr)
        self.stop(server)
        self.assert_equal_bytes(other, self.image(pool, "replica", pool.origin))

        server, again = self.serve("file", image)
        os.rename(again.split("=")[1], uri.split("=")[1])
        self.extmerge("resume", journal)
        self.stop(server)
        self.assert_equal_bytes(image, pool.expected(1))

    def test_a_server_that_forgets(self):
        """nbdkit's cow filter loses what was written when it ends. The next copy notices, and so does verify."""
        pool = Pool("equal-64k")
        image = self.image(pool, "image", pool.origin)
        server, uri = self.serve("--filter=cow", "file", image)
        self.copy(pool, 1, uri, "--verify=full")
        self.stop(server)
        self.assert_equal_bytes(image, pool.origin)
        server, again = self.serve("--filter=cow", "file", image)
        os.rename(again.split("=")[1], uri.split("=")[1])
        self.assert_refused("EXM-414", "copy", "--yes", "--since-last", *pool.source(2, pool.origin), uri)
        self.assert_refused("EXM-801", "verify", *pool.source(1, pool.origin), uri)
        self.stop(server)
        self.assert_equal_bytes(image, pool.origin)

    def test_a_server_that_fails_writes_and_flushes(self):
        pool = Pool("equal-64k")
        for identifier, words in (
                ("EXM-702", ("--filter=error", "file", self.image(pool, "image"), "error-pwrite-rate=100%")),
                ("EXM-703", ("eval", f"get_size=echo {pool.thin_size}", "pread=head -c $3 /dev/zero", "pwrite=cat > /dev/null",
                             "can_write=exit 0", "can_flush=exit 0", "flush=echo EIO flushed >&2; exit 1"))):
            server, uri = self.serve(*words)
            self.extmerge("copy", "--yes", "--whole", *pool.source(1, pool.origin), uri, status=7)
            self.assertIn(identifier, self.last_stderr)
            self.stop(server)

    def test_zeros_are_not_sent(self):
        pool = Pool("thin-larger-64k")
        image = self.image(pool, "image")
        stats = os.path.join(self.folder, "stats")
        server, uri = self.serve("--filter=stats", "file", image, f"statsfile={stats}")
        self.copy(pool, 1, uri, "--whole")
        self.stop(server)
        with open(stats, encoding="utf-8") as file:
            self.assertRegex(file.read(), r"(?m)^zero: ")
        self.assert_equal_bytes(image, pool.expected(1))

    def test_refused(self):
        pool = Pool("equal-64k")
        source = pool.source(1, pool.origin)
        image = self.image(pool, "image", pool.origin)
        _, readonly = self.serve("--readonly", "file", image)
        os.truncate(self.image(pool, "short"), pool.thin_size - 4096)
        _, short = self.serve("file", os.path.join(self.folder, "short"))
        _, no_flush = self.serve("eval", f"get_size=echo {pool.thin_size}", "pread=head -c $3 /dev/zero", "pwrite=exit 0", "can_write=exit 0",
                                 "can_flush=exit 3")
        for identifier, uri in (("EXM-403", readonly), ("EXM-419", short), ("EXM-431", no_flush),
                                ("EXM-401", "nbd+unix:///?socket=/nowhere/socket"), ("EXM-401", "nbd://localhost:1"), ("EXM-101", "nbd://[")):
            self.assert_refused(identifier, "copy", "--yes", *source, uri)
            self.assert_refused(identifier, "copy", "--dry-run", *source, uri) if identifier != "EXM-101" else None
        self.assertEqual([name for name in os.listdir(self.state_dir) if name.endswith(".journal")], [])
        self.assert_equal_bytes(image, self.image(pool, "replica", pool.origin))

    def test_an_export_of_the_source(self):
        pool = Pool("equal-64k")
        for name in ("data.img", "origin.img"):
            images = {image: os.path.join(self.folder, image) for image in ("metadata.img", "data.img", "origin.img")}
            for image, path in images.items():
                shutil.copyfile(pool.path(image), path)
            server, uri = self.serve("file", images[name])
            self.assert_refused("EXM-405", "copy", "--yes", "--whole", "--metadata", images["metadata.img"], "--data",
                                images["data.img"], "--origin", images["origin.img"], "--thin-id", "1", "--thin-size",
                                f"{pool.thin_size}b", uri)
            self.stop(server)
            self.assert_equal_bytes(images[name], pool.path(name))

    def certificates(self):
        """Makes an authority with a certificate for a server at localhost and one for a client; the folders of a server, of a
        client, of one without a certificate, of one that trusts another authority, and of a server with another name."""
        pki = os.path.join(self.folder, "pki")

        def openssl(*words):
            subprocess.run(["openssl", *words], cwd=pki, check=True, capture_output=True)

        os.mkdir(pki)
        for authority in ("ca", "other"):
            openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "9", "-subj", f"/CN={authority}", "-keyout",
                    f"{authority}-key.pem", "-out", f"{authority}-cert.pem")
        for name, host in (("server", "localhost"), ("client", "client"), ("elsewhere", "elsewhere.example.com")):
            openssl("req", "-newkey", "rsa:2048", "-nodes", "-subj", f"/CN={host}", "-keyout", f"{name}-key.pem", "-out", "request.pem")
            openssl("x509", "-req", "-in", "request.pem", "-CA", "ca-cert.pem", "-CAkey", "ca-key.pem", "-CAcreateserial", "-days",
                    "9", "-out", f"{name}-cert.pem")
        folders = {}
        for folder, authority, kind, name in (("server", "ca", "server", "server"), ("client", "ca", "client", "client"),
                                              ("anonymous", "ca", None, None), ("misled", "other", "client", "client"),
                                              ("elsewhere", "ca", "server", "elsewhere")):
            folders[folder] = os.path.join(self.folder, "tls-" + folder)
            os.mkdir(folders[folder])
            shutil.copyfile(os.path.join(pki, f"{authority}-cert.pem"), os.path.join(folders[folder], "ca-cert.pem"))
            for part in ("cert", "key") if kind else ():
                shutil.copyfile(os.path.join(pki, f"{name}-{part}.pem"), os.path.join(folders[folder], f"{kind}-{part}.pem"))
        return folders

    def serve_at_port(self, *words):
        """Starts nbdkit at a free port; its process and the port."""
        with socket.create_server(("localhost", 0)) as free:
            port = free.getsockname()[1]
        server = subprocess.Popen(["nbdkit", "--foreground", "--exit-with-parent", "--ipaddr", "localhost", "--port", str(port), *words],
                                  stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.addCleanup(self.stop, server)
        for _ in range(200):
            with contextlib.suppress(OSError), socket.create_connection(("localhost", port)):
                return server, port
            time.sleep(0.05)
        self.fail("nbdkit does not listen")

    def test_tls(self):
        """Both sides show certificates. Whatever is wrong with them, nothing is written."""
        folders = self.certificates()
        pool = Pool("equal-64k")
        source = pool.source(1, pool.origin)
        image = self.image(pool, "image", pool.origin)
        serving = ["--tls=require", "--tls-verify-peer", "--tls-certificates=" + folders["server"], "file", image]
        server, port = self.serve_at_port(*serving)
        _, open_port = self.serve_at_port("--tls=off", "file", image)
        _, elsewhere = self.serve_at_port("--tls=require", "--tls-certificates=" + folders["elsewhere"], "file", image)
        for identifier, uri in (
                ("EXM-201", f"nbds://localhost:{port}/?tls-certificates={folders['anonymous']}"),
                ("EXM-201", f"nbds://localhost:{port}/?tls-certificates={folders['misled']}"),
                ("EXM-201", f"nbds://localhost:{port}/?tls-certificates=/nowhere"),
                ("EXM-201", f"nbds://localhost:{port}/"),
                ("EXM-201", f"nbds://localhost:{open_port}/?tls-certificates={folders['client']}"),
                ("EXM-201", f"nbds://localhost:{elsewhere}/?tls-certificates={folders['client']}"),
                ("EXM-431", f"nbd://localhost:{port}/")):
            with self.subTest(uri):
                self.assert_refused(identifier, "copy", "--yes", *source, uri)
                self.assertRegex(self.last_stderr, r"^extmerge: [^\n]*\n  [^\n]*\n$")
                self.assertIn("TLS", self.last_stderr)
        self.assertEqual([name for name in os.listdir(self.state_dir) if name.endswith(".journal")], [])
        self.assert_equal_bytes(image, self.image(pool, "replica", pool.origin))

        uri = f"nbds://localhost:{port}/?tls-certificates={folders['client']}"
        self.copy(pool, 1, uri)
        self.extmerge("verify", *source, uri)
        self.stop(server)
        self.assert_equal_bytes(image, pool.expected(1))

    def test_one_client_at_a_time(self):
        """qemu-nbd takes one client by default. extmerge needs no second connection."""
        pool = Pool("equal-64k")
        image = self.image(pool, "image", pool.origin)
        server, uri = self.serve("--format=raw", image, qemu=True)
        self.copy(pool, 1, uri)
        self.stop(server)
        self.assert_equal_bytes(image, pool.expected(1))


if __name__ == "__main__":
    unittest.main()
