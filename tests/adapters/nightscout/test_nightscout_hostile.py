"""What a neighbour in the network, or a program with odd habits, can send to the listener."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from nightscout_kit import ADA, NOON, entry, ms, site


async def test_a_state_of_a_loop_has_as_many_digits_as_its_program_computes(tmp_path: Path) -> None:
    """Swift's JSONEncoder writes a `Decimal` with up to 38 digits: taken in, and told exactly."""
    iob = "0.33333333333333333333333333333333333333"
    body = f'{{"device":"Trio","created_at":"2026-03-01T11:00:00Z","openaps":{{"iob":{{"iob":{iob}}}}}}}'
    async with site(tmp_path) as desk:
        assert 200 == (await desk.ask("POST", "/api/v1/devicestatus", data=body))[0]
        async with desk.client.get(
            f"{desk.listener.url}/api/v1/devicestatus", params={"secret": "a-secret-of-ada-23456789"}
        ) as answer:
            assert f'"iob":{iob}' in await answer.text()


async def test_what_was_taken_in_can_be_read_again(tmp_path: Path) -> None:
    """A number that is longer as we write it: no document closes a collection to those who read it."""
    body = b'{"eventType":"Note","created_at":"2026-03-01T11:00:00Z","carbs":123456789012345678901e30}'
    async with site(tmp_path) as desk:
        assert 200 == (await desk.ask("POST", "/api/v1/treatments", data=body))[0]
        status, told = await desk.ask("GET", "/api/v1/treatments")
        assert (200, [1.23456789012345678901e50]) == (status, [each["carbs"] for each in told])


@pytest.mark.parametrize("padding", [0, 300_000], ids=["small", "parsed in a thread"])
@pytest.mark.parametrize(("depth", "status"), [(90, 200), (120, 400), (980, 400), (986, 400)])
async def test_how_deep_a_body_may_be_does_not_depend_on_who_reads_it(
    tmp_path: Path, depth: int, status: int, padding: int
) -> None:
    """A body is refused as a whole or can be written and read: never a fault that the sender repeats for ever."""
    deep = "[" * depth + "]" * depth
    body = f'{{"eventType":"Note","created_at":"2026-03-01T11:00:00Z","date":{ms(NOON)},"sgv":104,"deep":{deep}}}'
    body += " " * padding
    async with site(tmp_path) as desk:
        for path in ("/api/v1/entries", "/api/v1/treatments"):
            assert status == (await desk.ask("POST", path, data=body))[0]
        assert 200 == (await desk.ask("GET", "/api/v1/treatments"))[0]
