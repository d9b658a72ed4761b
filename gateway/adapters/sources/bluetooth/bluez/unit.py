"""What an installed systemd unit takes away from its service. Reads the unit's files; asks systemd nothing.

Source: systemd.unit(5) (search path, drop-ins), systemd.syntax(7), systemd.exec(5).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from gateway.adapters.sources.bluetooth.bluez.host import UnitFacts

__all__ = ["parse_unit", "read_unit"]

_FOLDERS: Final = ("etc/systemd/system", "run/systemd/system", "usr/lib/systemd/system", "lib/systemd/system")
_TRUE: Final = frozenset({"1", "yes", "true", "on", "self", "identity", "full"})


def read_unit(root: Path, name: str) -> UnitFacts | None:
    """The unit called `name` with its drop-ins; None: it is not installed, or not to be read."""
    found = next((root / folder / name for folder in _FOLDERS if (root / folder / name).is_file()), None)
    if found is None:
        return None
    drop_ins = {
        path.name: path for folder in reversed(_FOLDERS) for path in (root / folder / f"{name}.d").glob("*.conf")
    }
    try:
        texts = [path.read_text(encoding="utf-8", errors="replace") for path in (found, *_sorted(drop_ins))]
    except OSError:
        return None
    return parse_unit(f"/{found.relative_to(root)}", texts)


def _sorted(paths: dict[str, Path]) -> list[Path]:
    return [paths[name] for name in sorted(paths)]


def parse_unit(path: str, texts: Sequence[str]) -> UnitFacts:
    """The section [Service] of `texts`, the unit's own first; total: a line that makes no sense is passed over."""
    single: dict[str, str] = {}
    lists: dict[str, list[str]] = {}
    for key, value in (setting for text in texts for setting in _settings(text)):
        single[key] = value
        if value:
            lists.setdefault(key, []).extend(value.split())
        else:
            lists[key] = []  # an empty line forgets what was said before
    families = lists.get("RestrictAddressFamilies") or None
    hidden = lists.get("InaccessiblePaths", []) + lists.get("TemporaryFileSystem", [])
    groups = [*lists.get("SupplementaryGroups", []), single.get("Group", "")]
    return UnitFacts(
        path=path,
        user=single.get("User") or None,
        groups=frozenset(group for group in groups if group),
        address_families=None
        if families is None
        else frozenset(family.lstrip("~") for family in families if family != "none"),
        is_deny_list=families is not None and families[0].startswith("~"),
        private_users=single.get("PrivateUsers", "").lower() in _TRUE,
        hidden_paths=tuple(path.lstrip("+-").split(":")[0] for path in hidden),
    )


def _settings(text: str) -> Iterator[tuple[str, str]]:
    section = ""
    for raw in text.replace("\\\n", " ").splitlines():
        line = raw.strip()
        if line.startswith("["):
            section = line
        elif section == "[Service]" and "=" in line and line[0] not in "#;":
            key, _, value = line.partition("=")
            yield key.strip(), value.strip()
