#!/usr/bin/env python3
"""Write docs/devices/*.md from gateway/devices/models: scripts/device-pages.py [--check]

With --check nothing is written; the exit status is 1 when a page is missing, stale, or one too many.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import fields
from enum import Enum
from pathlib import Path

from gateway.devices.drivers import Driver
from gateway.devices.models import FAMILIES, Family, NotRead
from gateway.devices.quirks import Quirks

FOLDER = Path(__file__).resolve().parent.parent / "docs" / "devices"
WORDS = {
    "bonding": "link",
    "hangs_up_unbonded": "hangs up without a bond",
    "keeps_one_bond": "keeps one bond only",
    "wake_s": "awake, seconds (a general figure, not measured)",
    "link_end": "who ends the link",
    "clock": "its clock",
    "numbering": "record numbers",
    "sends_whole_memory": "sends its whole memory for `all`",
    "is_dual": "glucose and ketone",
    "first_user_slot": "first slot",
    "is_low_trust": "could be imitated by anybody nearby",
}


def pages() -> dict[str, str]:
    """Name -> text of each page."""
    return {f"{family.slug}.md": "\n".join(_lines(family)) + "\n" for family in FAMILIES} | {"README.md": _index()}


def _index() -> str:
    rows = []
    for family in FAMILIES:
        read = ", ".join(f"`{driver.name}`" for driver in family.drivers) or "none"
        rows.append(f"| [{family.title}]({family.slug}.md) | {read} | {'yes' if family.not_read else ''} |")
    head = (
        "# Families\n\nMade from `gateway/devices/models` by `scripts/device-pages.py`; a test fails when a page is"
        " stale. No device was in the room: nothing here was verified with hardware.\n\n"
        "| family | drivers | models that cannot be read |\n|---|---|---|\n"
    )
    return head + "\n".join(rows) + "\n"


def _lines(family: Family) -> Iterator[str]:
    yield f"# {family.title}"
    yield ""
    yield f"Recognised by {family.seen_by} [{family.seen_certainty.value}]."
    for driver in family.drivers:
        yield from ("", f"## {driver.title}", "")
        yield from _driver(driver)
    for entry in family.not_read:
        yield from ("", f"## {entry.title}: not read", "")
        yield from _not_read(entry)
    yield from ("", "## Known oddities", "", "| what | source |", "|---|---|")
    for note in family.notes:
        yield f"| {note.text} | [{note.certainty.value}] |"
    yield from ("", "[S]: the standard. [C]: captures, or drivers that people use. [1 report]: a hint.")
    yield from ("", "## What works, and how that was shown", "", "| what | how | tests |", "|---|---|---|")
    for check in family.checks:
        tests = "<br>".join(f"`{test}`" for test in check.tests)
        yield f"| {check.what} | {check.shown.value} | {tests} |"


def _driver(driver: Driver) -> Iterator[str]:
    way = "listened to, never connected to" if driver.open is None else "connected to"
    yield from (f"Driver `{driver.name}`; {way}.", "", "| | |", "|---|---|")
    for field in fields(Quirks):
        value = getattr(driver.quirks, field.name)
        if value != field.default or field.name in {"bonding", "clock"}:
            yield f"| {WORDS[field.name]} | {_word(value)} |"
    if driver.pairing is not None:
        for title, steps in (("Pour l’associer", driver.pairing.fr), ("To pair it", driver.pairing.en)):
            yield from ("", f"{title} :" if title.startswith("Pour") else f"{title}:", "")
            yield from (f"{place}. {step}" for place, step in enumerate(steps, start=1))


def _not_read(entry: NotRead) -> Iterator[str]:
    reason, route = entry.reason, entry.route
    yield f"{reason[1]} {route[1] if route else ''}".rstrip()
    yield ""
    yield f"{reason[0]} {route[0] if route else ''}".rstrip()


def _word(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Enum):
        return str(value.value).replace("_", " ")
    return f"{value:g}" if isinstance(value, float) else str(value)


def main() -> int:
    """Write, or check."""
    made = pages()
    there = {path.name: path.read_text(encoding="utf-8") for path in FOLDER.glob("*.md")} if FOLDER.is_dir() else {}
    if "--check" in sys.argv[1:]:
        return int(made != there)
    FOLDER.mkdir(exist_ok=True)
    for name in there.keys() - made.keys():
        (FOLDER / name).unlink()
    for name, text in made.items():
        (FOLDER / name).write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
