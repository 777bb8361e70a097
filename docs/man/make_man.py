# SPDX-License-Identifier: GPL-3.0-or-later
"""Writes a man page, as input of scdoc(1), from its text here and the tables of docs/*.md.

    make_man.py PAGE.in VERSION

The web pages of docs/ state options, messages and exit statuses once. A page of the manual names
them:

    {{options}}          the options of docs/command-line.md, by group
    {{messages}}         all of docs/messages.md
    {{section PAGE NAME}}  a section of docs/PAGE
    {{page PAGE}}        all of docs/PAGE but its title and its section "Strengths"
"""

import pathlib
import re
import sys

DOCS = pathlib.Path(__file__).resolve().parents[1]


def escape(text):
    return re.sub(r"([\\*_`<>~])", r"\\\1", text)


# The place in the manual of each other page of docs/.
PAGES = {"command-line.md": "extmerge(8)", "messages.md": "MESSAGES in extmerge(8)",
         "lvm.md": "extmerge-recovery(7)", "copy.md": "COPIES in extmerge(8)", "crash-safety.md": "extmerge-recovery(7)",
         "journal-format.md": "extmerge-journal(5)"}


def link(found):
    page = found.group(2).split("#")[0]
    return PAGES.get(page, page) if found.group(1) == page else found.group(1)


def inline(text):
    """A line of Markdown for scdoc: code and strong text are bold, links are their words."""
    text = re.sub(r"\[([^\]]+)\]\(([^)]*)\)", link, text).replace("\\|", "|")
    parts = re.split(r"(`[^`]+`|\*\*[^*]+\*\*|(?<!\w)\*[^*]+\*(?!\w))", text)
    out = []
    for part in parts:
        if re.fullmatch(r"`[^`]+`", part):
            out.append("*" + escape(part[1:-1]) + "*")
        elif re.fullmatch(r"\*\*[^*]+\*\*", part):
            out.append("*" + escape(part[2:-2]) + "*")
        elif re.fullmatch(r"\*[^*]+\*", part):
            out.append("_" + escape(part[1:-1]) + "_")
        else:
            out.append(escape(part))
    # Two bold words side by side are one.
    return "".join(out).replace("**", "")


def cells(line):
    return [cell.strip() for cell in re.split(r"(?<!\\)\|", line.strip().strip("|"))]


def rows(lines):
    """The rows of the table that begins here, without its head."""
    table = [cells(line) for line in lines if line.startswith("|")]
    return [row for row in table[1:] if not re.fullmatch(r":?-+:?", row[0])]


def section(page, name):
    """The lines under a heading, up to the next of its level."""
    text = (DOCS / page).read_text(encoding="utf-8")
    found = re.search(r"(?ms)^(#+) %s\n(.*?)(?=^#{1,2} |\Z)" % re.escape(name), text)
    if not found:
        raise SystemExit(f"{page} has no section {name}")
    return found.group(2).strip("\n").split("\n")


def term(words, text, more=""):
    """A word and its meaning, indented."""
    return [words, "\t" + text, *(["", "\t" + more] if more else []), ""]


def options(_):
    out = []
    for line in section("command-line.md", "Options"):
        if line.startswith("### "):
            out += ["## " + line[4:].upper(), ""]
        elif line.startswith("| `-"):
            option, commands, meaning = cells(line)
            out += term("*" + escape(option.strip("`").replace("\\|", "|")) + "*",
                        inline(meaning), "Commands: " + commands + ".")
        elif line and not line.startswith("|"):
            out.append(inline(line))
        elif not line and out and out[-1]:
            out.append("")
    return out


def plain(lines):
    """Paragraphs, tables and literal text of Markdown; no comments and no pictures."""
    out, table, literal = [], [], []

    def close():
        if table:
            for row in rows(table):
                more = [cell for cell in row[2:] if cell]
                out.extend(term(inline(row[0]), inline(row[1]), inline(": ".join(more))))
            table.clear()
        if literal:
            while literal and not literal[-1]:
                literal.pop()
            out.extend(["```", *literal, "```", ""])
            literal.clear()

    in_list = False
    for line in lines:
        item = re.match(r"(\d+\.|-) +", line)
        in_list = bool(item) or (in_list and line.startswith(" "))
        if line.startswith("|"):
            table.append(line)
        elif not in_list and (line.startswith("    ") or (literal and not line)):
            literal.append(line[4:])
        elif not line.startswith(("<!--", "![")):
            close()
            if item:
                sign = "-" if item.group(1) == "-" else "."
                out.append(sign + " " + inline(line[item.end():]))
            elif in_list:
                out.append("  " + inline(line.lstrip()))
            elif line.startswith("###"):
                out.append("## " + escape(line.lstrip("# ").upper()))
            else:
                out.append(inline(line))
    close()
    return out


def messages(_):
    out = []
    for line in (DOCS / "messages.md").read_text(encoding="utf-8").split("\n"):
        if not line.startswith("| EXM-"):
            continue
        number, what, cause, cure = cells(line)
        out += term(f"*{number}* {inline(what)}", "Cause: " + inline(cause) + ".",
                    "Cure: " + inline(cure) + ".")
    return out


def page(name):
    text = (DOCS / name).read_text(encoding="utf-8")
    text = re.sub(r"(?ms)^## Strengths\n.*", "", text).split("\n", 1)[1]
    return plain(re.sub(r"(?m)^## ", "### ", text).split("\n"))


FILL = {"options": options, "messages": messages, "page": page,
        "section": lambda words: plain(section(*words.split(" ", 1)))}


def main():
    source, version = sys.argv[1:]
    for line in pathlib.Path(source).read_text(encoding="utf-8").rstrip("\n").split("\n"):
        filled = re.fullmatch(r"\{\{(\w+)(?: (.*))?\}\}", line)
        if filled:
            print("\n".join(FILL[filled.group(1)](filled.group(2))).strip("\n"))
        else:
            print(line.replace("@VERSION@", version))


if __name__ == "__main__":
    main()
