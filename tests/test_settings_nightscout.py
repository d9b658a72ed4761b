"""`[nightscout]`: wrong settings stop the start."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.errors import ConfigurationError
from gateway.settings import load_settings


def _problems(tmp_path: Path, text: str) -> list[tuple[str, str]]:
    path = tmp_path / "hub.toml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigurationError) as caught:
        load_settings(path)
    return list(caught.value.problems)


@pytest.mark.parametrize("host", ["0.0.0.0", "192.168.1.10", "::", "hub.example"])
def test_secrets_do_not_travel_in_the_clear_unless_a_person_says_so(tmp_path: Path, host: str) -> None:
    """Beyond this machine a certificate is needed, or a sentence that names the risk."""
    text = f'[nightscout]\nenabled = true\nhost = "{host}"\n'
    ((path, sentence),) = _problems(tmp_path, text)
    assert "nightscout" == path
    assert 'plaintext = "private_network"' in sentence
    (tmp_path / "hub.toml").write_text(text + 'plaintext = "private_network"\n', encoding="utf-8")
    assert load_settings(tmp_path / "hub.toml").nightscout.enabled
    (tmp_path / "hub.toml").write_text(text + 'cert_file = "c.pem"\nkey_file = "k.pem"\n', encoding="utf-8")
    assert tmp_path / "c.pem" == load_settings(tmp_path / "hub.toml").nightscout.cert_file


@pytest.mark.parametrize(
    ("line", "path"),
    [
        ('cert_file = "c.pem"', "nightscout"),
        ("max_body_bytes = 10", "nightscout.max_body_bytes"),
        ("ports = 1337", "nightscout.ports"),
        ('plaintext = "yes"', "nightscout.plaintext"),
    ],
)
def test_a_fault_is_named_by_its_path(tmp_path: Path, line: str, path: str) -> None:
    """As everywhere in the file."""
    assert [path] == [found for found, _ in _problems(tmp_path, f"[nightscout]\n{line}\n")]


def test_the_defaults_are_the_safe_choice(tmp_path: Path) -> None:
    """Off, and on this machine only."""
    (tmp_path / "hub.toml").write_text("", encoding="utf-8")
    settings = load_settings(tmp_path / "hub.toml").nightscout
    assert (False, "127.0.0.1", "refuse") == (settings.enabled, settings.host, settings.plaintext)
