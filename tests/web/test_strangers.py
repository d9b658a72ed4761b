"""What is heard and not recorded is shown."""

from __future__ import annotations

from pathlib import Path

import aiohttp
import pytest
from web_kit import NOW, serve

from gateway.ports import Stranger


@pytest.mark.parametrize(("language", "words"), [("fr", "non enregistrés : 7"), ("en", "not recorded: 7")])
async def test_a_neighbours_scale_is_shown(tmp_path: Path, language: str, words: str) -> None:
    """The page counts the scales that nobody enrolled and names the first five; without any it says nothing."""
    strangers = tuple(Stranger(f"0C:1C:B1:00:00:0{number}", "theengs", 3, NOW) for number in range(7))
    async with aiohttp.ClientSession() as client:
        async with serve(tmp_path, language=language, strangers=strangers) as site, client.get(site.url) as answer:
            text = await answer.text()
        assert words in text
        assert [True] * 5 + [False] * 2 == [stranger.address in text for stranger in strangers]
        async with serve(tmp_path, language=language) as site, client.get(site.url) as answer:
            assert words[:15] not in await answer.text()
