#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""apt_source.py SUITE: prints the source line for this suite from this machine's mirror, with its keyring.

The script reads both forms of apt's own sources: *.list, a line for each, and *.sources, paragraphs of fields. Only an
entry for a suite of Debian itself counts, not one for updates or security fixes. Without such an entry it ends with 1."""

import glob
import re
import sys

SUITES = re.compile(r"(old)*stable|testing|unstable|sid|bullseye|bookworm|trixie|forky|duke")


def paragraphs(text):
    """The fields of each paragraph of a *.sources file, by their lower-case names."""
    for paragraph in re.split(r"\n\s*\n", text):
        fields, name = {}, None
        for line in paragraph.split("\n"):
            if line.startswith("#"):
                continue
            if line[:1].isspace() and name:
                fields[name] += "\n" + line.strip()
            elif ":" in line:
                name, value = line.split(":", 1)
                name = name.strip().lower()
                fields[name] = value.strip()
        yield fields


def entries_of_paragraphs(text):
    for fields in paragraphs(text):
        if "deb" in fields.get("types", "").split() and fields.get("enabled", "yes").lower() not in ("no", "false"):
            for uri in fields.get("uris", "").split():
                yield uri, fields.get("suites", "").split(), fields.get("components", "").split(), fields.get("signed-by", "")


def entries_of_lines(text):
    for line in text.split("\n"):
        parts = re.match(r"\s*deb\s+(?:\[([^\]]*)\]\s*)?([^\s#]+)\s+([^\s#]+)\s+([^#]*)", line)
        if parts:
            options = dict(option.split("=", 1) for option in (parts[1] or "").split() if "=" in option)
            yield parts[2], [parts[3]], parts[4].split(), options.get("signed-by", "")


def source(suite, entries):
    """The source line of the first entry that is Debian's. entries are (uri, suites, components, keyring)."""
    for uri, suites, components, keyring in entries:
        if "main" in components and "debian" in uri + keyring and any(map(SUITES.fullmatch, suites)):
            # A key inside the sources themselves has no path. mmdebstrap and apt know Debian's key.
            signed_by = f"[signed-by={keyring}] " if keyring.startswith("/") else ""
            return f"deb {signed_by}{uri} {suite} main"
    return None


def machine_entries(folder="/etc/apt"):
    for pattern, entries_of in (("sources.list", entries_of_lines), ("sources.list.d/*.list", entries_of_lines),
                                ("sources.list.d/*.sources", entries_of_paragraphs)):
        for path in sorted(glob.glob(f"{folder}/{pattern}")):
            with open(path, encoding="utf-8", errors="replace") as file:
                yield from entries_of(file.read())


if __name__ == "__main__":
    line = source(sys.argv[1], machine_entries())
    print(line or sys.exit("apt's sources on this machine name no mirror of Debian (/etc/apt/sources.list)"))
