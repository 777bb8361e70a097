# SPDX-License-Identifier: GPL-3.0-or-later
"""apt_source.py finds the mirror and the keyring in each form of apt's sources."""

import os
import tempfile
import unittest

import apt_source

SOURCES = """\
# A mirror of one's own.
Types: deb deb-src
URIs: http://mirror.example/debian
Suites: trixie trixie-updates
Components: main contrib
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg

Types: deb
URIs: http://mirror.example/debian-security
Suites: trixie-security
Components: main
"""


class AptSource(unittest.TestCase):
    def from_file(self, name, text):
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, name)
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with open(path, "w", encoding="utf-8") as file:
                file.write(text)
            return apt_source.source("sid", apt_source.machine_entries(folder))

    def test_paragraphs(self):
        self.assertEqual(self.from_file("sources.list.d/debian.sources", SOURCES),
                         "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] http://mirror.example/debian sid main")

    def test_lines(self):
        for name in ("sources.list", "sources.list.d/debian.list"):
            self.assertEqual(self.from_file(name, "# deb http://old.example/debian sid main\n"
                                                  "deb-src http://source.example/debian sid main\n"
                                                  "deb http://security.example/debian-security bookworm-security main\n"
                                                  "deb [arch=amd64 signed-by=/k.gpg] http://m.example/debian bookworm main # first\n"),
                             "deb [signed-by=/k.gpg] http://m.example/debian sid main")

    def test_an_entry_that_is_switched_off_or_not_debians_does_not_count(self):
        self.assertIsNone(self.from_file("sources.list.d/a.sources", SOURCES.replace("Types: deb\n", "Enabled: no\nTypes: deb\n")
                                        .replace("Types: deb deb-src", "Enabled: no\nTypes: deb")))
        self.assertIsNone(self.from_file("sources.list.d/other.list", "deb https://packages.example/apt bookworm main\n"))

    def test_a_key_inside_the_sources_is_left_out(self):
        text = SOURCES.replace("Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg",
                               "Signed-By:\n -----BEGIN PGP PUBLIC KEY BLOCK-----\n .\n mDMEZ\n -----END PGP PUBLIC KEY BLOCK-----")
        self.assertEqual(self.from_file("sources.list.d/debian.sources", text), "deb http://mirror.example/debian sid main")


if __name__ == "__main__":
    unittest.main()
