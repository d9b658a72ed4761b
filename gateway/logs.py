"""Log lines: events with fields, never health data, names or secrets."""

from __future__ import annotations

import logging
import sys
from collections.abc import MutableMapping
from typing import Any, Final, Literal

import structlog

__all__ = ["FORBIDDEN_FIELDS", "configure_logs", "drop_private_fields"]

FORBIDDEN_FIELDS: Final = frozenset(
    {
        "access_token",
        "address",
        "body",
        "client_secret",
        "display_name",
        "glucose",
        "glucose_mg_dl",
        "mass_kg",
        "password",
        "patient_id",
        "payload",
        "person_name",
        "resource",
        "secret",
        "serial",
        "token",
        "value",
        "weight",
    }
)
_LONGEST = 64


def drop_private_fields(_logger: object, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Remove fields that may identify or describe a person; escape and cut text that came from outside."""
    for name in list(event):
        if name not in {"event", "exception", "timestamp", "level", "where"}:
            event[name] = _clean(name, event[name])
    return event


def _clean(name: object, content: object) -> object:
    if name in FORBIDDEN_FIELDS:
        return "(withheld)"
    if isinstance(content, str):
        return _plain(content)
    if isinstance(content, dict):
        return {inner: _clean(inner, value) for inner, value in content.items()}
    if isinstance(content, list | tuple):
        return [_clean(None, value) for value in content]
    return content


def _plain(text: str) -> str:
    visible = "".join(c if c.isprintable() else repr(c)[1:-1] for c in text[: _LONGEST + 1])
    return visible if len(visible) <= _LONGEST else visible[: _LONGEST - 1] + "…"


def configure_logs(style: Literal["console", "json"], level: str) -> None:
    """Set up structlog for the process; lines go to standard error."""
    renderer: structlog.typing.Processor = (
        structlog.processors.JSONRenderer()
        if style == "json"
        else structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    )
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            drop_private_fields,
            structlog.processors.format_exc_info,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        logger_factory=lambda *_: structlog.PrintLogger(sys.stderr),
        cache_logger_on_first_use=False,
    )
