"""How many payloads a second one core turns into values, and into readings, per format.

    python benchmarks/decode_rate.py [--seconds 0.15] [--rounds 5] [--result FILE]

Two tables: formats that become readings, and everything that `gateway decode` knows, from its own list.

"Decode" ends with the typed values of the frame; "to a reading" goes on to the canonical unit, the plausibility check,
the time scale and the `Reading` itself, as a source does it. Frames are made by the sandbox's encoders, which share no
code with the decoders. Seconds are the thread's own processor time, so that a busy
machine changes little. Median of several runs, garbage collector on.
"""

from __future__ import annotations

import argparse
import os
import platform
import random
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from zoneinfo import ZoneInfo

from gateway.devices import describe
from gateway.devices.blood_pressure import parse_blood_pressure_measurement
from gateway.devices.body_composition import parse_body_composition_measurement
from gateway.devices.cgm import parse_cgm_measurement
from gateway.devices.glucose import parse_glucose_measurement, parse_glucose_measurement_context
from gateway.devices.heart_rate import parse_heart_rate_measurement
from gateway.devices.passerelle_json import DECODER, decode_reading_message, parse_reading_message
from gateway.devices.pulse_oximeter import parse_plx_spot_check
from gateway.devices.thermometer import parse_temperature_measurement
from gateway.devices.weight_scale import parse_weight_measurement
from gateway.devices.xiaomi_scale import parse_mi_body_composition, parse_mi_scale_v1
from gateway.errors import MalformedFrame
from gateway.model import DeviceId, Provenance, Reading, SourceKind
from gateway.normalise.cgm import cgm_readings
from gateway.normalise.contact import Contact
from gateway.normalise.glucose import glucose_readings
from gateway.normalise.scale import body_composition_readings, weight_readings
from gateway.normalise.vital_signs import (
    blood_pressure_readings,
    heart_rate_readings,
    spot_check_readings,
    temperature_readings,
)
from gateway.reading_json import dump_reading, parse_reading
from gateway.sandbox.frames import (
    encode_body_composition,
    encode_cgm_measurement,
    encode_glucose_context,
    encode_glucose_measurement,
    encode_weight_measurement,
)
from gateway.sandbox.frames_vital_signs import (
    encode_blood_pressure,
    encode_heart_rate,
    encode_spot_check,
    encode_temperature,
)
from gateway.sandbox.records import CgmSample, MeterContext, MeterRecord, WeighIn
from gateway.sandbox.records_vital_signs import CuffReading, HeartBeat, SpotCheck, Temperature

__all__ = ["FORMATS", "Described", "Format", "described", "main", "measure", "page"]

RESULT = Path(__file__).with_name("results") / "decode_rate.md"
Words = Callable[[str, bytes], Mapping[str, object]]
_LONGEST = 24
_NO_CRC = b"\xff\xff"
"""Stands where a CRC would be, in a sensor that makes none."""
_RECEIVED = datetime(2026, 3, 20, 9, 0, tzinfo=UTC)
_WALL = datetime(2026, 3, 20, 7, 12, 30)  # noqa: DTZ001 - a device's clock has no zone
_CONTACT = Contact(DeviceId("device"), ZoneInfo("Europe/Paris"), _RECEIVED, SourceKind.BLUETOOTH)
_OVER_MQTT = Contact(DeviceId("device"), ZoneInfo("Europe/Paris"), _RECEIVED, SourceKind.MQTT, is_live=True)
_PROVENANCE = Provenance(SourceKind.MQTT, DECODER)
_SESSION = _RECEIVED - timedelta(days=3)

_METER_CONTEXT = MeterContext(meal=1, carbohydrate_g=Decimal(42), health=5, medication_mg=Decimal(500))
_TEST = MeterRecord(1234, _WALL, Decimal(112), time_offset_min=60, status=0, context=_METER_CONTEXT)
_2A18 = encode_glucose_measurement(_TEST)
_2A34 = encode_glucose_context(1234, _METER_CONTEXT)
_SAMPLES = [
    CgmSample(4000 + 5 * i, Decimal(118 + i), trend_mg_dl_min=Decimal("0.4"), quality_percent=Decimal(97), status=0)
    for i in range(8)
]
_2AA7 = encode_cgm_measurement(_SAMPLES[0], crc=True)
_2AA7_EIGHT = b"".join(encode_cgm_measurement(sample, crc=True) for sample in _SAMPLES)
_WEIGH_IN = WeighIn(
    Decimal("71.35"),
    user=1,
    time_stamp=_WALL,
    bmi=Decimal("23.2"),
    height_m=Decimal("1.755"),
    fat_percent=Decimal("21.4"),
    basal_metabolism_kj=6500,
    muscle_percent=Decimal("41.2"),
    body_water_mass_kg=Decimal("40.1"),
    impedance_ohm=Decimal("512.3"),
)
_2A9D = encode_weight_measurement(_WEIGH_IN)
(_2A9C,) = encode_body_composition(_WEIGH_IN)
_2A35 = encode_blood_pressure(
    CuffReading(Decimal(128), Decimal(83), Decimal(98), time_stamp=_WALL, pulse_per_min=Decimal(64), user=1, status=0)
)
_2A37 = encode_heart_rate(HeartBeat(72, has_contact=True, rr_intervals_1024=(853, 851)))
_2A1C = encode_temperature(Temperature(Decimal("36.8"), time_stamp=_WALL, site=6))
_2A5E = encode_spot_check(SpotCheck(Decimal(97), Decimal(64), _WALL, measurement_status=0x0080, device_status=0))
_181D = bytes.fromhex("224632e9070203040506")
_181B = bytes.fromhex("0226e9070203040506e7014632")
_MQTT = (
    b'{"schema":"passerelle.reading/1","record":"w-1042","time":"2026-03-20T07:12:30+01:00","measurements":'
    b'[{"metric":"body_mass","value":71.35,"unit":"kg"}]}'
)
_LINE_READING: Reading = weight_readings(parse_weight_measurement(_2A9D), _CONTACT).readings[0]
_LINE = dump_reading(_LINE_READING)


@dataclass(frozen=True, slots=True)
class Format:
    """One line of the table; `decode` and `read` handle one payload, `read` gives `readings` readings."""

    name: str
    octets: int
    decode: Callable[[], object] | None
    read: Callable[[], object] | None
    readings: int = 0


def _glucose() -> object:
    return parse_glucose_measurement(_2A18), parse_glucose_measurement_context(_2A34)


def _glucose_reading() -> object:
    return glucose_readings(
        parse_glucose_measurement(_2A18), parse_glucose_measurement_context(_2A34), _CONTACT, frame=0
    )


def _cgm(frame: bytes) -> object:
    return [cgm_readings(record, _SESSION, _CONTACT, frame=0) for record in parse_cgm_measurement(frame, has_crc=True)]


FORMATS: tuple[Format, ...] = (
    Format("2a18 glucose with its context 2a34", len(_2A18) + len(_2A34), _glucose, _glucose_reading, 1),
    Format(
        "2aa7 sensor, 1 record, CRC",
        len(_2AA7),
        lambda: parse_cgm_measurement(_2AA7, has_crc=True),
        lambda: _cgm(_2AA7),
        1,
    ),
    Format(
        "2aa7 sensor, 8 records, CRC",
        len(_2AA7_EIGHT),
        lambda: parse_cgm_measurement(_2AA7_EIGHT, has_crc=True),
        lambda: _cgm(_2AA7_EIGHT),
        8,
    ),
    Format(
        "2a9d weight with BMI and height",
        len(_2A9D),
        lambda: parse_weight_measurement(_2A9D),
        lambda: weight_readings(parse_weight_measurement(_2A9D), _CONTACT, frame=0),
        3,
    ),
    Format(
        "2a9c body composition",
        len(_2A9C),
        lambda: parse_body_composition_measurement(_2A9C),
        lambda: body_composition_readings(parse_body_composition_measurement(_2A9C), _CONTACT, frame=0),
        len(body_composition_readings(parse_body_composition_measurement(_2A9C), _CONTACT).readings),
    ),
    Format(
        "2a35 blood pressure with pulse",
        len(_2A35),
        lambda: parse_blood_pressure_measurement(_2A35),
        lambda: blood_pressure_readings(parse_blood_pressure_measurement(_2A35), _CONTACT, frame=0),
        4,
    ),
    Format(
        "2a37 heart rate, 2 intervals",
        len(_2A37),
        lambda: parse_heart_rate_measurement(_2A37),
        lambda: heart_rate_readings(parse_heart_rate_measurement(_2A37), _CONTACT, frame=0),
        1,
    ),
    Format(
        "2a1c temperature",
        len(_2A1C),
        lambda: parse_temperature_measurement(_2A1C),
        lambda: temperature_readings(parse_temperature_measurement(_2A1C), _CONTACT, frame=0),
        1,
    ),
    Format(
        "2a5e spot check",
        len(_2A5E),
        lambda: parse_plx_spot_check(_2A5E),
        lambda: spot_check_readings(parse_plx_spot_check(_2A5E), _CONTACT, frame=0),
        2,
    ),
    Format("181d service data of a Mi scale", len(_181D), lambda: parse_mi_scale_v1(_181D), None),
    Format("181b service data of a Mi scale", len(_181B), lambda: parse_mi_body_composition(_181B), None),
    Format(
        "our JSON over MQTT",
        len(_MQTT),
        lambda: parse_reading_message(_MQTT, DeviceId("device")),
        lambda: decode_reading_message(_MQTT, _OVER_MQTT, _PROVENANCE, frame=0),
        1,
    ),
    Format("JSON line, read", len(_LINE), None, lambda: parse_reading(_LINE, received_at=_RECEIVED), 1),
    Format("JSON line, written", len(_LINE), None, lambda: dump_reading(_LINE_READING), 1),
)


def rate(work: Callable[[], object], seconds: float, rounds: int) -> float:
    """Calls a second, median of `rounds` runs of about `seconds` each."""
    count = 1
    while (took := _timed(work, count)) < seconds / 10:
        count *= 4
    count = max(1, round(count * seconds / took))
    return statistics.median(count / _timed(work, count) for _ in range(rounds))


def _timed(work: Callable[[], object], count: int) -> float:
    began = time.thread_time()
    for _ in range(count):
        work()
    return time.thread_time() - began


def measure(seconds: float, rounds: int) -> list[tuple[Format, float | None, float | None]]:
    """Each format with its payloads a second: decoded, and made readings."""
    return [
        (
            each,
            None if each.decode is None else rate(each.decode, seconds, rounds),
            None if each.read is None else rate(each.read, seconds, rounds),
        )
        for each in FORMATS
    ]


@dataclass(frozen=True, slots=True)
class Described:
    """One line of the second table: a format that `gateway decode` knows, and a payload of it."""

    uuid: str
    name: str
    payload: bytes
    describe: Words


def described() -> list[Described]:
    """Every characteristic and service data in the list of `gateway decode`, each with the fullest payload found."""
    tables: tuple[tuple[dict[str, str], Words], ...] = (
        (describe.CHARACTERISTICS, describe.describe_characteristic),
        (describe.SERVICE_DATA_FORMATS, describe.describe_service_data),
    )
    return [
        Described(uuid, name, fullest(uuid, words), words) for names, words in tables for uuid, name in names.items()
    ]


def fullest(uuid: str, words: Words) -> bytes:
    """The payload with most fields among many tried by chance, the same ones each time.

    Raises:
        LookupError: none of them was accepted.
    """
    dice = random.Random(uuid)  # the same on every machine
    best, most = None, -1
    for first in range(256):
        for octets in range(1, _LONGEST + 1):
            tails = (bytes(octets - 1), dice.randbytes(octets - 1), bytes(octets - 1) + _NO_CRC)
            for payload in (bytes((first,)) + tail for tail in tails):
                try:
                    fields = len(words(uuid, payload))
                except MalformedFrame:
                    continue
                if fields > most:
                    best, most = payload, fields
    if best is None:
        raise LookupError(f"no payload of {uuid} was found by trial; give one")
    return best


def processor() -> str:
    """The processor's own name."""
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def page(
    results: list[tuple[Format, float | None, float | None]],
    words: list[tuple[Described, float]],
    seconds: float,
    rounds: int,
) -> str:
    """The results as Markdown, measured in `rounds` runs of about `seconds` each."""

    def cell(figure: float | None) -> str:
        return "-" if figure is None else f"{figure:,.0f}"

    lines = [
        "# Decoding",
        "",
        f"`python benchmarks/decode_rate.py --seconds {seconds:g} --rounds {rounds}`, {datetime.now(UTC):%Y-%m-%d}, "
        f"{processor()}, {os.cpu_count()} cores, Python {platform.python_version()}; per second of processor time of "
        f"one thread, median of {rounds} runs of about {seconds:g} s each.",
        "",
        "| format | octets | decoded payloads/s | payloads/s to readings | readings of one payload | readings/s |",
        "|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {each.name} | {each.octets} | {cell(decoded)} | {cell(read)} | {each.readings or '-'} "
        f"| {cell(None if read is None else read * each.readings)} |"
        for each, decoded, read in results
    ]
    lines += [
        "",
        "A glucose sensor speaks once in five minutes and a scale once a day: the figures matter when a meter's memory "
        "or a provider's queue is read. A service-data payload of a Mi scale has no reading yet (`docs/devices.md`).",
        "",
        "## Everything that `gateway decode` knows",
        "",
        "Decoded and put into words as that command does. The payload is the one with most fields among some thousands "
        "tried by chance; special values and unknown codes are among them.",
        "",
        "| UUID | name | octets | payloads/s |",
        "|---|---|---|---|",
    ]
    lines += [f"| {each.uuid} | {each.name} | {len(each.payload)} | {figure:,.0f} |" for each, figure in words]
    return "\n".join([*lines, ""])


def main() -> None:
    """Measure and write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=0.15, help="of each run")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--result", type=Path, default=RESULT)
    options = parser.parse_args()
    words = [
        (each, rate(lambda each=each: each.describe(each.uuid, each.payload), options.seconds, options.rounds))  # type: ignore[misc]
        for each in described()
    ]
    text = page(measure(options.seconds, options.rounds), words, options.seconds, options.rounds)
    options.result.write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
