"""Nightscout: the JSON of `/api/v1/entries.json`, of a site's export or of a database dump, a list of entries.

The entries are those of the HTTP intake and are named as there: a site's export and the uploads of an app to the
gateway are told apart by their device alone.

Source: cgm-remote-monitor, `lib/api/entries`.
"""

from __future__ import annotations

from collections import Counter

import simplejson

from gateway.devices.files.shape import FileContents, FileFormat, FileOptions, FileRow, FileSource
from gateway.devices.nightscout.entries import parse_entries
from gateway.devices.passerelle_fields import Refused, strict_json
from gateway.model import DeviceKind

__all__ = ["NIGHTSCOUT"]

_SOURCE = FileSource(None, DeviceKind.CGM, "Nightscout")
_LOOKED_AT = 4000
_LONGEST_RAW = 65_536


def _recognises(text: str) -> bool:
    head = text[:_LOOKED_AT]
    return text.lstrip()[:1] in ("[", "{") and ('"sgv"' in head or '"mbg"' in head) and '"date' in head


def _parse(text: str, _options: FileOptions) -> FileContents:
    document = strict_json(text.encode("utf-8", "surrogatepass"))
    if isinstance(document, dict) and isinstance(document.get("result"), list):
        document = document["result"]
    if not isinstance(document, list):
        raise Refused("not a Nightscout export: it is no list of entries")
    rows: list[FileRow] = []
    ignored: Counter[str] = Counter()
    for entry in parse_entries(document):
        if entry.is_ignored:
            ignored["calibration"] += 1
            continue
        raw = simplejson.dumps(entry.document, use_decimal=True)[:_LONGEST_RAW]
        records = () if entry.record is None else (entry.record,)
        rows.append(FileRow(entry.index + 1, _SOURCE, records, entry.problem, raw))
    return FileContents(tuple(rows), dict(ignored))


NIGHTSCOUT = FileFormat("nightscout", "Nightscout (JSON)", _recognises, _parse)
