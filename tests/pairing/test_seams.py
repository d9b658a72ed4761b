"""What a person is told about a device and may allow it, from the radio to the page, in a whole gateway over Bumble."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
from house_kit import gateway_on, house_settings, visitor_of

from gateway.sandbox.peripherals import VirtualBroadcaster
from gateway.sandbox.radio import VirtualAir

LOCKED = "C0:FF:EE:00:00:75"


@pytest.fixture
async def air() -> AsyncIterator[VirtualAir]:
    async with VirtualAir() as air:
        yield air


async def test_what_is_recognised_and_not_read_says_why(air: VirtualAir, tmp_path: Path) -> None:
    """A scale with a key of its maker's: the reason and the way round in both languages, and nothing to pair."""
    scale = VirtualBroadcaster(air, LOCKED, "MJTZC01", 0xFE95)
    await scale.start()
    await scale.tell(b"\x48\x59")
    async with gateway_on(air, house_settings(tmp_path)) as running, visitor_of(running) as visitor:
        (row,) = (await visitor.until(lambda state: state["neighbours"]))["neighbours"]
        assert ("unreadable", "Xiaomi S200, S400, S800") == (row["status"], row["title"])
        assert "xiaomi.encrypted" == row["not_read"]["name"]
        assert (400, "unreadable") == (lambda a: (a[0], a[1]["error"]))(await visitor.act("pair", address=LOCKED))
        async with aiohttp.ClientSession() as session:
            for language in ("fr", "en"):
                async with session.get(f"{running.url}/bluetooth?lang={language}") as answer:
                    text = (await answer.text()).replace("&#39;", "'")
                assert row["not_read"]["reason"][language] in text
                assert row["not_read"]["route"][language] in text
                assert 'value="pair"' not in text
