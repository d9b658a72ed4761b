"""Exports of other programs, each format in a module of its own; all of them in `FORMATS`."""

from __future__ import annotations

from gateway.devices.files.clarity import CLARITY
from gateway.devices.files.glooko import GLOOKO
from gateway.devices.files.libreview import LIBREVIEW
from gateway.devices.files.nightscout_export import NIGHTSCOUT
from gateway.devices.files.openscale import OPENSCALE
from gateway.devices.files.shape import DateOrder, FileContents, FileFormat, FileOptions, FileRow, FileSource
from gateway.devices.files.table import to_text
from gateway.devices.files.tidepool import TIDEPOOL
from gateway.devices.files.withings import WITHINGS

__all__ = [
    "FORMATS",
    "DateOrder",
    "FileContents",
    "FileFormat",
    "FileOptions",
    "FileRow",
    "FileSource",
    "recognise",
    "to_text",
]

FORMATS: tuple[FileFormat, ...] = (LIBREVIEW, CLARITY, GLOOKO, OPENSCALE, WITHINGS, NIGHTSCOUT, TIDEPOOL)


def recognise(text: str) -> FileFormat | None:
    """The format of a file by its beginning; None: none of ours."""
    return next((candidate for candidate in FORMATS if candidate.recognises(text)), None)
