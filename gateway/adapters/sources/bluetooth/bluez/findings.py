"""What the doctor's rules answer with."""

from __future__ import annotations

import enum
from dataclasses import dataclass

__all__ = ["Finding", "Severity", "fault", "fine", "note"]


class Severity(enum.StrEnum):
    """How bad a finding is."""

    FINE = "fine"
    NOTE = "note"
    """Works, or cannot be known from here; worth reading."""
    FAULT = "fault"
    """Bluetooth cannot be used until this is put right."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One answer of the doctor.

    Attributes:
        code: a stable word, for machines.
        severity: how bad.
        text: a sentence in English.
        fixes: lines to type or to write; where there are several, the text says which is for whom.
    """

    code: str
    severity: Severity
    text: str
    fixes: tuple[str, ...] = ()


def fault(code: str, text: str, *fixes: str) -> Finding:
    """Bluetooth cannot be used until this is put right."""
    return Finding(code, Severity.FAULT, text, fixes)


def note(code: str, text: str, *fixes: str) -> Finding:
    """Worth reading."""
    return Finding(code, Severity.NOTE, text, fixes)


def fine(code: str, text: str) -> Finding:
    """As it should be."""
    return Finding(code, Severity.FINE, text)
