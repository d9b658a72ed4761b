"""What the whole gateway says when it cannot start."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from gateway.app import run_gateway
from gateway.errors import ConfigurationError
from gateway.settings import Settings


async def test_a_port_in_use_is_said_before_anything_is_collected(tmp_path: Path) -> None:
    """The person learns which setting to change, without a traceback, and the store is closed again."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        settings = Settings.model_validate(
            {"store": {"path": tmp_path / "passerelle.db"}, "web": {"port": taken.getsockname()[1]}}
        )
        with pytest.raises(ConfigurationError) as refused:
            await run_gateway(settings)
    path, sentence = refused.value.problems[0]
    assert "web.port" == path
    assert sentence.endswith("choose another port")


async def test_a_short_access_code_is_said(tmp_path: Path) -> None:
    """A code that could be guessed does not open the page to the network."""
    code = tmp_path / "code"
    code.touch(mode=0o600)
    code.write_text("1234\n", encoding="utf-8")
    settings = Settings.model_validate(
        {"store": {"path": tmp_path / "passerelle.db"}, "web": {"port": 0, "host": "0.0.0.0", "access_code_file": code}}
    )
    with pytest.raises(ConfigurationError, match="8 characters"):
        await run_gateway(settings)
