from __future__ import annotations

import asyncio
from pathlib import Path

import aiohttp
from mqtt_kit import captured, play

from gateway.adapters.sources.mqtt.client import MqttConnection
from gateway.app import Running, run_gateway
from gateway.model import DecisionSource, DeviceId, Metric, PersonId
from gateway.sandbox.broker import run_mosquitto
from gateway.settings import Settings


async def test_from_somebody_elses_radio_to_the_page(tmp_path: Path) -> None:
    """In the whole gateway a scale of the file is found by its address and its owner; the neighbour's is only shown."""
    running: asyncio.Future[Running] = asyncio.get_running_loop().create_future()
    async with run_mosquitto(tmp_path / "broker") as broker:
        settings = Settings.model_validate(
            {
                "store": {"path": tmp_path / "passerelle.db"},
                "web": {"port": 0},
                "mqtt": {
                    "enabled": True,
                    "host": "127.0.0.1",
                    "port": broker.port,
                    "tls": False,
                    "dialects": [{"dialect": "theengs"}],
                },
                "people": [{"id": "camille", "name": "Camille"}],
                "devices": [
                    {
                        "id": "bath",
                        "kind": "scale",
                        "name": "Balance",
                        "person": "camille",
                        "address": "5C:CA:D3:70:D4:A2",
                    }
                ],
            }
        )
        session = await MqttConnection.open(settings.mqtt, settings.mqtt.dialects[0].filters, lambda _c, _m: None)
        await session.close()  # the broker keeps what comes until the gateway is there
        lines = [*captured("theengs/neighbour"), *captured("theengs/weigh_in")]
        await play(broker, [line._replace(qos=1) for line in lines])
        task = asyncio.create_task(run_gateway(settings, started=running.set_result))
        async with asyncio.timeout(30):
            gateway = await running
            with gateway.changes.follow() as changed:
                while len(readings := await gateway.store.readings(device_id=DeviceId("bath"))) < 2:
                    await changed.wait()
                    changed.clear()
                inbox = gateway.inbox.attributions
                while not (asks := await inbox.waiting()) or asks[0].decision is None:  # it was captured long ago
                    await changed.wait()
                    changed.clear()
                await gateway.inbox.assign([asks[0].number], PersonId("camille"), DecisionSource.PAGE)
                readings = await gateway.store.readings(device_id=DeviceId("bath"))
            async with aiohttp.ClientSession() as client, client.get(str(gateway.url)) as answer:
                page = await answer.text()
        task.cancel()
        await asyncio.wait([task])
    assert {(Metric.BODY_MASS, PersonId("camille")), (Metric.IMPEDANCE, PersonId("camille"))} == {
        (each.reading.metric, each.person_id) for each in readings
    }
    assert "0C:1C:B1:00:00:02" in page
