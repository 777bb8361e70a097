# SPDX-License-Identifier: GPL-3.0-or-later
"""Containers of disks, compressed images and pool metadata in place of a disk.

qemu-img and the compressors write them. extmerge refuses each before it writes a byte. A disk may
hold file systems, partition tables, LUKS or swap: extmerge merges into such a disk as always.
"""

import bz2
import gzip
import hashlib
import lzma
import os
import random
import re
import shutil
import subprocess
import unittest
import zipfile

from support import PoolTest, run


def tool(*arguments):
    return subprocess.run(arguments, capture_output=True, text=True, stdin=subprocess.DEVNULL,
                          timeout=120, check=False)


def contents(path):
    with open(path, "rb") as file:
        return file.read()


def digest(path):
    return hashlib.sha256(contents(path)).hexdigest()


def round_up(path, unit=512):
    os.truncate(path, -(-os.path.getsize(path) // unit) * unit)


def qemu_formats():
    """The formats that qemu-img knows, except those that need a server."""
    # Since QEMU 10 the heading says "image formats", and the list takes several lines.
    listed = re.search(r"Supported (?:image )?formats:\s*(.*?)(?:\n\n|$)", tool("qemu-img", "--help").stdout, re.DOTALL).group(1)
    remote = {"ftp", "ftps", "gluster", "http", "https", "iscsi", "iser", "nbd", "nfs", "nvme", "nvme-io_uring", "rbd",
              "ssh", "virtio-blk-vfio-pci", "virtio-blk-vhost-user", "virtio-blk-vhost-vdpa", "host_device", "host_cdrom", "luks"}
    filters = {"blkdebug", "blklogwrites", "blkverify", "compress", "copy-before-write", "copy-on-read",
               "io_uring", "null-aio", "null-co", "preallocate", "quorum", "replication", "snapshot-access", "throttle"}
    return sorted(set(listed.split()) - remote - filters)


class ContainerTest(PoolTest):
    def refuses(self, command, *arguments, origin_digest=None):
        before = origin_digest or digest(self.pool.origin)
        result = self.pool.run(command, *arguments)
        self.assert_failed(result, 4, "EXM-428")
        self.assertIn("--allow-container", result.stderr)
        self.assertEqual(digest(self.pool.origin), before)
        self.assertIsNone(self.pool.journal())
        return result.stderr

    def start_of_origin(self):
        """A smaller disk, for speed. extmerge reports a wrong kind of disk before any other fault."""
        path = self.pool.path("small")
        with open(self.pool.origin, "rb") as whole, open(path, "wb") as file:
            file.write(whole.read(1 << 20))
        return path

    def refuses_all(self):
        for command in (["plan"], ["merge", "--yes"], ["verify"]):
            words = self.refuses(*command)
        return words

    def converted(self, image, file_format, *options):
        """`image` in that format, or None if qemu-img does not write it."""
        path = self.pool.path("converted")
        if os.path.exists(path):
            os.remove(path)
        tool("qemu-img", "convert", "-f", "raw", "-O", file_format, *options, image, path)
        if not os.path.exists(path) or os.path.getsize(path) == 0:
            return None
        round_up(path)
        return path

    def test_every_format_that_qemu_img_writes_is_refused_as_the_origin_and_as_the_data(self):
        raw_origin, raw_data = self.pool.origin, self.pool.data
        untouched = digest(raw_origin)
        small = self.start_of_origin()
        refused = set()
        kinds = [(name,) for name in qemu_formats()]
        kinds += [("vmdk", "-o", "subformat=" + name) for name in
                  ("monolithicSparse", "monolithicFlat", "twoGbMaxExtentSparse",
                   "twoGbMaxExtentFlat", "streamOptimized")]
        kinds += [("vpc", "-o", "subformat=fixed"), ("vpc", "-o", "subformat=dynamic"),
                  ("qcow2", "-o", "compat=0.10"), ("qcow2", "-c"), ("vdi", "-o", "static=on")]
        for kind in kinds:
            with self.subTest(kind=kind):
                path = self.converted(small, *kind)
                if path is None or contents(path) == contents(small):
                    continue
                self.pool.origin = path
                words = self.refuses_all()
                self.pool.origin = raw_origin
                if "qemu-img convert" in words:
                    refused.add(kind[0])
                self.pool.data = path
                self.assertIn(self.pool.data, self.refuses("merge", "--yes", origin_digest=untouched))
                self.pool.data = raw_data
        self.assertLessEqual({"qcow", "qcow2", "qed", "vmdk", "vdi", "vpc", "vhdx", "parallels"},
                             refused)

    def test_the_cure_that_is_printed_makes_a_disk_of_it(self):
        raw = self.start_of_origin()
        for kind in (("qcow2",), ("vpc", "-o", "subformat=fixed,force_size=on"), ("vmdk",)):
            self.pool.origin = self.converted(raw, *kind)
            command = re.search(r"qemu-img convert [^)]*", self.refuses("plan")).group()
            new = self.pool.path("new")
            done = tool(*command.replace(" NEW", " " + new).split())
            self.assertEqual(done.returncode, 0, done.stderr)
            self.assertEqual(contents(new), contents(raw))

    def test_compressed_images_and_archives_are_refused(self):
        raw = self.start_of_origin()
        data = contents(raw)
        path = self.pool.path("compressed")

        def write(packed):
            with open(path, "wb") as file:
                file.write(packed)

        def write_zip():
            with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
                archive.write(raw, "disk.img")

        makers = {
            "gzip": lambda: write(gzip.compress(data)),
            "bzip2": lambda: write(bz2.compress(data)),
            "xz": lambda: write(lzma.compress(data)),
            "lzma": lambda: write(lzma.compress(data, format=lzma.FORMAT_ALONE)),
            "zip": write_zip,
        }
        for name, arguments in (("zstd", ["-q", "-f"]), ("lz4", ["-q", "-f"]), ("lzip", ["-f"]),
                                ("lzop", ["-f"])):
            if shutil.which(name):
                makers[name] = lambda name=name, arguments=arguments: write(subprocess.run(
                    [name, *arguments, "-c", raw], check=True, capture_output=True).stdout)
        self.assertIn("zstd", makers)
        for name, make in makers.items():
            with self.subTest(name=name):
                make()  # most are not a whole number of sectors long
                self.pool.origin = path
                self.assertIn(name, self.refuses_all())

    def test_the_pools_metadata_is_no_origin_and_no_data(self):
        copy = self.pool.path("copy")
        shutil.copy(self.pool.metadata, copy)
        for role in ("origin", "data"):
            raw = getattr(self.pool, role)
            setattr(self.pool, role, copy)
            self.assertIn("the metadata of a thin pool", self.refuses("merge", "--yes"))
            setattr(self.pool, role, raw)

    def test_allow_container_merges_and_an_undo_puts_the_container_back(self):
        path = self.converted(self.pool.origin, "qcow2")
        os.truncate(path, os.path.getsize(self.pool.origin))
        self.pool.origin = path
        before = digest(path)
        log = self.pool.path("undo-log")
        self.assert_ok(self.pool.run("plan", "--allow-container"))
        self.assert_ok(self.pool.run("merge", "--yes", "--allow-container", "--undo-log", log))
        self.assertNotEqual(digest(path), before)
        self.assert_ok(self.pool.run("verify", "--allow-container"))
        self.assert_ok(run("undo", "--yes", "--allow-container", self.pool.journal()))
        self.assertEqual(digest(path), before)

    def test_an_origin_that_became_a_container_is_neither_resumed_nor_undone(self):
        journal = self.unfinished(None, "--undo-log", self.pool.path("undo-log"))
        with open(self.pool.origin, "r+b") as file:
            file.write(b"QFI\xfb\0\0\0\x03")
        before = digest(self.pool.origin)
        self.assert_failed(run("resume", journal), 4, "EXM-428")
        self.assert_failed(run("undo", "--yes", journal), 4, "EXM-428")
        self.assertEqual(digest(self.pool.origin), before)

    def test_what_a_disk_holds_is_merged_into(self):
        """File systems and the like, made by the installed programs."""
        path = self.pool.path("disk")
        self.pool.origin = path
        secret = ["--object", "secret,id=s,data=a", "-o", "key-secret=s"]
        makers = {
            "nothing": ["true"],
            "ext4": ["mkfs.ext4", "-q", "-F", path],
            "ext4, 1 KiB": ["mkfs.ext4", "-q", "-F", "-b", "1024", path],
            "xfs": ["mkfs.xfs", "-q", path],
            "btrfs": ["mkfs.btrfs", "-q", path],
            "fat": ["mkfs.fat", path],
            "swap": ["mkswap", path],
            "gpt": ["sh", "-c", f"echo 'label: gpt\n,' | sfdisk -q {path}"],
            "mbr": ["sh", "-c", f"echo 'label: dos\n,' | sfdisk -q {path}"],
            "luks": ["qemu-img", "create", "-q", "-f", "luks", *secret, path, "320M"],
            "luks2": ["sh", "-c", f"echo a | cryptsetup -q --iter-time 10 luksFormat {path} -"],
            "squashfs": ["mksquashfs", "/etc/fstab", path, "-noappend", "-quiet"],
            "iso": ["genisoimage", "-quiet", "-o", path, "/etc/fstab"],
            "iso by xorriso": ["xorriso", "-as", "mkisofs", "-quiet", "-o", path, "/etc/fstab"],
        }
        made = set()
        for name, command in makers.items():
            with self.subTest(name=name):
                with open(path, "wb") as file:
                    file.truncate(320 << 20)
                # qemu-img measures how fast it derives a key, and fails on a busy machine.
                if not shutil.which(command[0]) or all(tool(*command).returncode for _ in range(10)):
                    continue
                if os.path.getsize(path) < 320 << 20:
                    os.truncate(path, 320 << 20)
                made.add(name)
                self.assert_ok(self.pool.run("plan"))
        self.assertLessEqual({"nothing", "ext4", "swap", "luks"}, made)

    def test_random_bytes_are_merged_into(self):
        chance = random.Random(5)
        size = os.path.getsize(self.pool.origin)
        for _ in range(5):
            with open(self.pool.origin, "r+b") as file:
                file.write(chance.randbytes(4096))
                file.seek(size - 4096)
                file.write(chance.randbytes(4096))
            self.assert_ok(self.pool.run("plan"))

    def test_on_a_block_device_it_is_the_same(self):
        raw = self.start_of_origin()
        makers = (lambda: self.converted(raw, "qcow2"),
                  lambda: self.converted(raw, "vpc", "-o", "subformat=fixed"))
        for make in makers:
            self.pool.origin = make()
            image = self.pool.origin
            made = tool("losetup", "--find", "--show", image)
            if made.returncode != 0:
                self.skipTest("no loop device can be made: " + made.stderr.strip())
            device = made.stdout.strip()
            try:
                before = digest(image)
                self.pool.origin = device
                for command in (["plan"], ["merge", "--yes"], ["verify"]):
                    result = self.pool.run(*command)
                    self.assert_failed(result, 4, "EXM-428")
                    self.assertIn(device, result.stderr)
                self.assertEqual(digest(image), before)
            finally:
                tool("losetup", "--detach", device)


if __name__ == "__main__":
    unittest.main()
