# SPDX-License-Identifier: GPL-3.0-or-later
"""Draws time and memory by size as SVG. Both axes are logarithmic: a straight line that rises by
one decade a decade is linear."""

import math

WIDTH, HEIGHT, MARGIN, GAP = 360, 260, 56, 40
COLORS = {"seconds": "#1b6ca8", "MiB": "#c0561f"}


def draw(path, panels):
    """panels: (title, [(size, seconds, mebibytes)]), side by side."""
    width = len(panels) * (WIDTH + MARGIN + GAP) + GAP
    height = HEIGHT + 2 * MARGIN
    parts = ['<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" '
             'font-family="sans-serif" font-size="12">' % (width, height),
             '<rect width="%d" height="%d" fill="white"/>' % (width, height)]
    for number, (title, points) in enumerate(panels):
        parts += _panel(number * (WIDTH + MARGIN + GAP) + MARGIN, MARGIN, title, points)
    parts.append("</svg>\n")
    with open(path, "w") as file:
        file.write("\n".join(parts))


def _decades(values):
    return (math.floor(math.log10(min(values)) + 1e-9), math.ceil(math.log10(max(values)) - 1e-9))


def _panel(left, top, title, points):
    low_x, high_x = _decades([p[0] for p in points])
    low_y, high_y = _decades([v for p in points for v in p[1:]])

    def x(value):
        return left + (math.log10(value) - low_x) / max(high_x - low_x, 1) * WIDTH

    def y(value):
        return top + HEIGHT - (math.log10(value) - low_y) / max(high_y - low_y, 1) * HEIGHT

    parts = ['<text x="%d" y="%d" font-weight="bold">%s</text>' % (left, top - 16, title)]
    for decade in range(low_x, high_x + 1):
        parts.append('<line x1="%.1f" x2="%.1f" y1="%d" y2="%d" stroke="#ddd"/>'
                     % (x(10 ** decade), x(10 ** decade), top, top + HEIGHT))
        parts.append('<text x="%.1f" y="%d" text-anchor="middle">%g</text>'
                     % (x(10 ** decade), top + HEIGHT + 18, 10 ** decade))
    for decade in range(low_y, high_y + 1):
        parts.append('<line x1="%d" x2="%d" y1="%.1f" y2="%.1f" stroke="#ddd"/>'
                     % (left, left + WIDTH, y(10 ** decade), y(10 ** decade)))
        parts.append('<text x="%d" y="%.1f" text-anchor="end">%g</text>'
                     % (left - 6, y(10 ** decade) + 4, 10 ** decade))
    for index, (unit, color) in enumerate(COLORS.items(), start=1):
        line = " ".join("%.1f,%.1f" % (x(p[0]), y(p[index])) for p in points)
        parts.append('<polyline points="%s" fill="none" stroke="%s" stroke-width="2"/>'
                     % (line, color))
        for p in points:
            parts.append('<circle cx="%.1f" cy="%.1f" r="3.5" fill="%s"/>'
                         % (x(p[0]), y(p[index]), color))
            parts.append('<text x="%.1f" y="%.1f" text-anchor="middle" fill="%s">%.3g</text>'
                         % (x(p[0]), y(p[index]) - 8, color, p[index]))
        parts.append('<text x="%d" y="%d" fill="%s">%s</text>'
                     % (left + 8 + (index - 1) * 70, top + 16, color, unit))
    return parts
