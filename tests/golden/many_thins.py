# SPDX-License-Identifier: GPL-3.0-or-later
"""A pool of many thins. tests/bench/metadata_image.cc writes it and states the mappings."""

import os
import subprocess

BLOCK = 64 << 10
MAPPED = 10


class ManyThins:
    """Metadata in `folder`, with sparse files for the data and for an origin of eleven blocks."""

    def __init__(self, folder, count):
        self.count = count
        self.metadata = os.path.join(folder, "metadata.img")
        self.data = os.path.join(folder, "data.img")
        self.origin = os.path.join(folder, "origin.img")
        subprocess.run([os.environ["EXTMERGE_METADATA_IMAGE"], "thins", str(count),
                        self.metadata], check=True)
        for path, blocks in ((self.data, count * MAPPED), (self.origin, MAPPED + 1)):
            with open(path, "wb") as file:
                file.truncate(blocks * BLOCK)

    def source(self):
        """Names thin 1, the one to merge."""
        return ["--metadata", self.metadata, "--data", self.data, "--thin-id", "1", "--origin",
                self.origin, "--thin-size", f"{(MAPPED + 1) * BLOCK}b", "--live-root"]

    def harmed(self):
        """{thin id: number of blocks of thin 1 that it does not map}, for all other thins."""
        return {id: 0 if id % MAPPED == 0 else 1 for id in range(2, self.count + 1)}
