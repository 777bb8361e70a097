#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""Draws docs/rooms.svg: the folders with sources, and which of them includes which.

Usage: docs/make_rooms.py > docs/rooms.svg. tests/tree holds the picture to the tree."""

import html
import pathlib
import re

TREE = pathlib.Path(__file__).resolve().parent.parent
# Every room (a folder with sources) and its height. A room may include itself and the rooms below it.
# cli/source/dm and cli/source/lvm are parts of cli/source, which puts them together.
ROOMS = {"io": 0, "persistent-data": 1,
         "merge/plan": 2, "merge/journal": 3, "merge/undo": 4, "merge/copy": 5, "merge": 6,
         "cli/source": 7, "cli/source/dm": 7, "cli/source/lvm": 7, "cli/show": 8, "cli": 9}
WORDS = {"io": "bytes and devices", "persistent-data": "dm-thin metadata, read only",
         "merge/plan": "runs, counts, siblings", "merge/journal": "the plan on disk, and progress",
         "merge/undo": "old bytes, saved and put back", "merge/copy": "the pipeline", "merge": "the algorithm",
         "cli/source": "what is merged", "cli/source/dm": "device-mapper", "cli/source/lvm": "volume groups",
         "cli/show": "reports, pictures, progress", "cli": "commands and options"}
# Left edge and row of each box; rows count from the top.
PLACES = {"cli": (290, 0), "cli/show": (20, 1), "cli/source": (290, 1), "cli/source/dm": (20, 2), "cli/source/lvm": (560, 2),
          "merge": (290, 3), "merge/copy": (20, 4), "merge/undo": (290, 4), "merge/journal": (560, 4), "merge/plan": (560, 5),
          "persistent-data": (290, 6), "io": (290, 7)}
PARTS = ("cli/source/dm", "cli/source/lvm")
WIDTH, HEIGHT, ROW = 250, 46, 84


def sources(room):
    return [path for path in sorted((TREE / room).iterdir()) if path.suffix in (".h", ".cc")]


def included(room):
    found = set()
    for path in sources(room):
        for name in re.findall(r'^#include "([^"]+)"', path.read_text(encoding="utf-8"), re.MULTILINE):
            found.add(str(pathlib.PurePosixPath(name).parent))
    return found - {room}


def arrows():
    """The arrows between rooms. An arrow is left out if a path over another room implies it."""
    graph = {room: included(room) for room in ROOMS}
    # cli/source stands for includes of its parts from other rooms.
    for part in PARTS:
        graph["cli/source"] |= graph[part] - {"cli/source", *PARTS}
        graph[part] &= {"cli/source", *PARTS}

    def reaches(start, end, without):
        seen, todo = set(PARTS), [other for other in graph[start] if (start, other) != without]
        while todo:
            room = todo.pop()
            if room == end:
                return True
            if room not in seen:
                seen.add(room)
                todo += graph[room]
        return False

    mutual = {(a, b) for a in graph for b in graph[a] if a in graph[b]}
    return sorted((a, b) for a in graph for b in graph[a]
                  if ((a, b) in mutual and a < b) or ((a, b) not in mutual and not reaches(a, b, (a, b)))), mutual


def centre(room):
    left, row = PLACES[room]
    return left + WIDTH / 2, row * ROW + 20


def line(start, end, both):
    (x1, y1), (x2, y2) = centre(start), centre(end)
    if y1 == y2:  # side by side
        side = 1 if x2 > x1 else -1
        x1, x2, y1, y2 = x1 + side * WIDTH / 2, x2 - side * WIDTH / 2, y1 + HEIGHT / 2, y2 + HEIGHT / 2
    else:
        y1 += HEIGHT
    marker = ' marker-start="url(#back)"' if both else ""
    return f'<path d="M{x1:g},{y1:g} L{x2:g},{y2:g}" marker-end="url(#to)"{marker}/>'


def draw():
    height = max(row for _, row in PLACES.values()) * ROW + HEIGHT + 40
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 830 {height}" font-family="sans-serif" font-size="13">',
           "<title>The rooms of the source tree: an arrow leads from a room to a room that it includes</title>",
           '<defs><marker id="to" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="8" markerHeight="8" orient="auto">'
           '<path d="M0,0 L8,4 L0,8 z" fill="#557"/></marker>'
           '<marker id="back" viewBox="0 0 8 8" refX="0" refY="4" markerWidth="8" markerHeight="8" orient="auto">'
           '<path d="M8,0 L0,4 L8,8 z" fill="#557"/></marker></defs>',
           '<rect width="100%" height="100%" fill="#fff"/>', '<g stroke="#557" fill="none">']
    found, mutual = arrows()
    out += [line(a, b, (a, b) in mutual) for a, b in found]
    out.append("</g>")
    for room, (left, row) in PLACES.items():
        top = row * ROW + 20
        count = len(sources(room))
        out += [f'<rect x="{left}" y="{top}" width="{WIDTH}" height="{HEIGHT}" rx="6" fill="#eef2fa" stroke="#557"/>',
                f'<text x="{left + 10}" y="{top + 19}" font-weight="bold">{room}/</text>',
                f'<text x="{left + WIDTH - 10}" y="{top + 19}" text-anchor="end" fill="#557">{count} files</text>',
                f'<text x="{left + 10}" y="{top + 37}">{html.escape(WORDS[room])}</text>']
    out.append("</svg>")
    return "\n".join(out) + "\n"


if __name__ == "__main__":
    print(draw(), end="")
