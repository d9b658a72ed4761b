"""What an entry is called: its record key here, its `_id` and its `identifier` in answers.

An entry that brings an `identifier` (v3, or a UUID as `_id` as Trio and Loop send it) is named by it. One without is
named by what Nightscout itself tells entries apart by: type and instant, to the second. The `_id` of the answer is made
from the name alone, so that it is the same however often and by whichever version of the interface the entry comes; its
first four bytes are the second, as in a Mongo ObjectId, so that an `_id` leads back to where the entry lies in time. A
client that sends an entry with the `_id` or `identifier` that we gave it means the entry that we named.

Source: cgm-remote-monitor, `lib/server/entries.js` (`upsertQueryFor`, `normalizeEntryId`) and `lib/api3/generic`.
"""

from __future__ import annotations

import hashlib
import re
from datetime import UTC, datetime, timedelta

from gateway.errors import MalformedFrame
from gateway.model import Metric, Reading

__all__ = [
    "EPOCH",
    "derived_key",
    "given_identifier",
    "id_of",
    "instant_of_id",
    "named_key",
    "object_id",
    "record_identifier",
    "type_word",
]

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_NAMED = "i-"
_DERIVED = re.compile(r"(?:sgv|mbg)-[0-9]{1,12}")
_IDENTIFIER = re.compile(r"[!-~]{1,120}")
_OBJECT_ID = re.compile(r"[0-9a-f]{24}")
_WORDS = {Metric.GLUCOSE_INTERSTITIAL: "sgv", Metric.GLUCOSE_CAPILLARY: "mbg"}


def derived_key(type_: str, date_ms: int) -> str:
    """Record key of an entry that brings no name: `sgv-1732477171`."""
    return f"{type_}-{date_ms // 1000}"


def named_key(identifier: str) -> str:
    """Record key of an entry with an identifier of its own.

    Raises:
        MalformedFrame: not 1 to 120 printable ASCII characters without spaces.
    """
    if _IDENTIFIER.fullmatch(identifier) is None:
        raise MalformedFrame("identifier is not 1 to 120 printable ASCII characters without spaces")
    return _NAMED + identifier


def given_identifier(record_key: str) -> str | None:
    """The identifier that the source gave; None where we made the name."""
    return record_key[len(_NAMED) :] if record_key.startswith(_NAMED) else None


def object_id(record_key: str, at: datetime) -> str:
    """24 lower-case hexadecimal digits: the second of `at`, then a digest of the name."""
    second = (at - EPOCH) // timedelta(seconds=1) & 0xFFFFFFFF
    return f"{second:08x}{hashlib.sha256(record_key.encode()).hexdigest()[:16]}"


def record_identifier(reading: Reading) -> str:
    """The `identifier` of a stored reading, as v3 tells it: the given one, else its `_id`.

    A reading that did not come through Nightscout has the same record key as another device's perhaps: its whole
    identity goes into the digest.
    """
    given = given_identifier(reading.record_key)
    return given if given is not None else id_of(reading)


def id_of(reading: Reading) -> str:
    """The `_id` of a stored reading."""
    key = reading.record_key
    is_named_here = given_identifier(key) is not None or _DERIVED.fullmatch(key) is not None
    return object_id(key if is_named_here else reading.key, reading.effective_at)


def instant_of_id(text: str) -> datetime | None:
    """The second in which the entry of an `_id` lies; None: not an `_id` of ours."""
    if _OBJECT_ID.fullmatch(text) is None:
        return None
    return EPOCH + timedelta(seconds=int(text[:8], 16))


def type_word(metric: Metric) -> str:
    """`sgv` or `mbg`.

    Raises:
        ValueError: the metric is no glucose.
    """
    if metric not in _WORDS:
        raise ValueError(f"{metric.value} has no place in Nightscout's entries")
    return _WORDS[metric]
