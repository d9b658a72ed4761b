"""The configuration file: wrong settings stop the start, with their path."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from gateway.errors import ConfigurationError
from gateway.model import DeviceId, DeviceKind, PersonId, Unit
from gateway.settings import Settings, load_settings, read_secret

HUB = Path(__file__).parents[1] / "config" / "hub.toml"
Load = Callable[[str], Settings]

MAPPING = "[[mqtt.mappings]]\ntopic = 'house/+/weight'\n"
DESTINATION = """
[[people]]
id = "camille"
name = "Camille"
[[destinations]]
id = "mes"
name = "Mon espace santé"
base_url = "https://mes.example/api"
token_url = "https://mes.example/token"
solution_oid = "2.999.5.1"
patient_authority_oid = "2.999.5.1.1"
"""


@pytest.fixture
def load(tmp_path: Path) -> Load:
    """Loads a text as configuration file."""

    def load_text(text: str) -> Settings:
        path = tmp_path / "hub.toml"
        path.write_text(text, encoding="utf-8")
        return load_settings(path)

    return load_text


def _problems(load: Load, text: str) -> list[tuple[str, str]]:
    with pytest.raises(ConfigurationError) as caught:
        load(text)
    return list(caught.value.problems)


def test_the_defaults_are_the_safe_choice(load: Load) -> None:
    """An empty file gives a gateway that listens to this machine only, encrypts, and sends nothing anywhere."""
    settings = load("")
    assert Settings(store=settings.store) == settings
    assert ("127.0.0.1", True, False, False) == (
        settings.web.host,
        settings.mqtt.tls,
        settings.mqtt.enabled,
        settings.bluetooth.enabled,
    )
    assert () == settings.destinations


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("colour = 'red'", "colour"),
        ("[web]\nprot = 8080", "web.prot"),
        ("[[people]]\nid = 'a'\nname = 'A'\nzone = 'Europe/Paris'", "people[0].zone"),
        (
            DESTINATION + "[[destinations.accounts]]\nperson='camille'\npatient_id='p'\nclient_id='c'\n"
            "client_secret_file='s'\nclient_secret='oops'",
            "destinations[0].accounts[0].client_secret",
        ),
    ],
)
def test_an_unknown_key_stops_the_start(load: Load, text: str, path: str) -> None:
    """A mistyped key is named with its path; it is never ignored."""
    assert [(path, "unknown key; check its spelling against config/hub.toml")] == _problems(load, text)


def test_every_fault_is_listed_at_once(load: Load) -> None:
    """One start tells all faults, so that nobody mends a file line by line."""
    text = "[gateway]\ntime_zone='Paris'\nlanguage='de'\n[mqtt]\nport=0\n[bluetooth]\nquiet_s=0\n"
    assert ["gateway.time_zone", "gateway.language", "mqtt.port", "bluetooth.quiet_s"] == [
        path for path, _ in _problems(load, text)
    ]


@pytest.mark.parametrize(
    ("text", "path", "words"),
    [
        ("[gateway]\ntime_zone = '../../etc/passwd'", "gateway.time_zone", "IANA"),
        ("[gateway]\ntime_zone = ''", "gateway.time_zone", "IANA"),
        ("[gateway]\nlog_level = 'loud'", "gateway.log_level", "debug"),
        ("[store]\nqueue_batches = 0", "store.queue_batches", "greater than or equal to 1"),
        ("[store]\nraw_retention_days = 0", "store.raw_retention_days", "greater than or equal to 1"),
        ("[web]\nhost = '0.0.0.0'", "web", "access_code_file"),
        ("[web]\nport = 65536", "web.port", "65535"),
        ("[mqtt]\ntls = false\nhost = 'broker.example'", "mqtt", "tls may only be off"),
        ("[mqtt]\ncert_file = 'c.pem'", "mqtt", "go together"),
        ("[mqtt]\nkey_file = 'k.pem'", "mqtt", "go together"),
        ("[mqtt]\npassword_file = 'p'", "mqtt", "needs username"),
        ("[mqtt]\nprotocol = '4'", "mqtt.protocol", "3.1.1"),
        ("[mqtt]\ntopic_root = 'a/b'", "mqtt.topic_root", "lower-case"),
        ("[mqtt]\nmax_payload_bytes = 255", "mqtt.max_payload_bytes", "256"),
        ("[mqtt]\nkeepalive_s = 4", "mqtt.keepalive_s", "5"),
        (MAPPING + "device = 'Scale'\nmetric = 'body_mass'\nunit = 'kg'", "mqtt.mappings[0].device", "lower-case"),
        (MAPPING + "device = 'scale'", "mqtt.mappings[0]", "give metric, or several under [[mqtt.mappings.values]]"),
        (MAPPING + "device = 'scale'\nmetric = 'weight'\nunit = 'kg'", "mqtt.mappings[0].metric", "body_mass"),
        (MAPPING + "device = 'scale'\nmetric = 'body_mass'", "mqtt.mappings[0]", "body_mass needs either unit or"),
        (
            MAPPING + "device = 'scale'\nmetric = 'body_mass'\nunit = '%'",
            "mqtt.mappings[0]",
            "unit '%' does not measure body_mass; use one of kg, lb, jin",
        ),
        (
            MAPPING + "device = 'scale'\nmetric = 'body_mass'\nunit = 'kg'\npath = 'a..b'",
            "mqtt.mappings[0].path",
            "the path 'a..b' has an empty step",
        ),
        (
            MAPPING + "device = 'scale'\nmetric = 'body_mass'\nunit = 'kg'\n"
            "[[mqtt.mappings.values]]\nmetric = 'impedance'\nunit = 'Ohm'",
            "mqtt.mappings[0]",
            "not both",
        ),
        (
            MAPPING + "device = 'scale'\n[[mqtt.mappings.values]]\nmetric = 'impedance'\nunit = 'kg'",
            "mqtt.mappings[0].values[0]",
            "use one of Ohm",
        ),
        (
            MAPPING + "device = 'scale'\n" + 2 * "[[mqtt.mappings.values]]\nmetric = 'impedance'\nunit = 'Ohm'\n",
            "mqtt.mappings[0]",
            "a metric appears twice",
        ),
        ("[[mqtt.mappings]]\ndevice = 'd'\ntopic = '#'", "mqtt.mappings[0].topic", "names what it is about"),
        ("[[mqtt.mappings]]\ndevice = 'd'\ntopic = '$SYS/x'", "mqtt.mappings[0].topic", "names what it is about"),
        ("[[mqtt.mappings]]\ndevice = 'd'\ntopic = 'a/#/b'", "mqtt.mappings[0].topic", "as the last level"),
        ("[[mqtt.mappings]]\ndevice = 'd'\ntopic = 'a/b+'", "mqtt.mappings[0].topic", "a whole level"),
        ("[[mqtt.mappings]]\ndevice = 'd'\ntopic = ''", "mqtt.mappings[0].topic", "1 to 65535"),
        (
            MAPPING + "device = 'scale'\nmetric = 'body_mass'\nunit = 'kg'",
            "",
            "mqtt.mappings[0].device: nothing called 'scale' under [[devices]]",
        ),
        (
            2 * (MAPPING + "device = 'scale'\nmetric = 'body_mass'\nunit = 'kg'\n"),
            "mqtt",
            "mappings[1]: the topics 'house/+/weight' overlap 'house/+/weight' of mappings[0]",
        ),
        ("[bluetooth]\nconnect_timeout_s = 61", "bluetooth.connect_timeout_s", "60"),
        ("[[people]]\nid = 'Camille'\nname = 'C'", "people[0].id", "lower-case"),
        ("[[people]]\nid = 'c'\nname = ''", "people[0].name", "at least 1"),
        ("[[people]]\nid = 'c'\nname = 'C'\nglucose_unit = 'kg'", "people[0].glucose_unit", "mg/dL"),
        ("[[people]]\nid = 'c'\nname = 'C'\n[[people]]\nid = 'c'\nname = 'D'", "", "people: c appears twice"),
        ("[[devices]]\nid = 'd'\nkind = 'toaster'\nname = 'D'", "devices[0].kind", "glucose_meter"),
        ("[[devices]]\nid = 'd'\nkind = 'scale'\nname = 'D'\nperson = 'x'", "", "devices.d.person: nobody called 'x'"),
        ("[[devices]]\nid='d'\nkind='scale'\nname='D'\naddress='aa:bb:cc:dd:ee:ff'", "devices[0].address", "pattern"),
        ("[[devices]]\nid='d'\nkind='scale'\nname='D'\nscale_user=1", "devices[0]", "go together"),
        ("[[devices]]\nid='d'\nkind='cgm'\nname='D'\ncgm_interval_min=61", "devices[0].cgm_interval_min", "60"),
        ("[[devices]]\nid='d'\nkind='scale'\nname='D'\ncgm_interval_min=5", "devices[0]", "of kind cgm"),
        (
            "[[devices]]\nid='d'\nkind='scale'\nname='D'\nscale_user=255\nscale_consent_file='s'",
            "devices[0].scale_user",
            "254",
        ),
        (
            "[[devices]]\nid='d'\nkind='scale'\nname='D'\n[[devices]]\nid='d'\nkind='cgm'\nname='E'",
            "",
            "devices: d appears twice",
        ),
        (
            "[[devices]]\nid='d'\nkind='scale'\nname='D'\naddress='C0:FF:EE:00:00:01'\n"
            "[[devices]]\nid='e'\nkind='cgm'\nname='E'\naddress='C0:FF:EE:00:00:01'",
            "",
            "device addresses: C0:FF:EE:00:00:01 appears twice",
        ),
        (DESTINATION.replace("2.999.5.1.1", "2.999.05"), "destinations[0].patient_authority_oid", "pattern"),
        (DESTINATION.replace('2.999.5.1"', '3.1"'), "destinations[0].solution_oid", "pattern"),
        (DESTINATION + "terminology = '2023'", "destinations[0].terminology", "2024"),
        (DESTINATION + "kind = 'dmp'", "destinations[0].kind", "mes"),
        (DESTINATION + "lease_s = 40", "destinations[0]", "more than twice"),
        (
            DESTINATION + "[[destinations.accounts]]\nperson='noe'\npatient_id='p'\nclient_id='c'\n"
            "client_secret_file='s'",
            "",
            "destinations.mes.accounts: nobody called 'noe'",
        ),
    ],
)
def test_a_wrong_value_is_named_with_its_path(load: Load, text: str, path: str, words: str) -> None:
    """Every rule that a file can break names where it was broken and what to write instead."""
    problems = _problems(load, text)
    assert [path] == [where for where, _ in problems]
    assert words in problems[0][1]


@pytest.mark.parametrize(
    ("url", "is_good"),
    [
        ("https://mes.example/api", True),
        ("http://localhost:8090/api", True),
        ("http://127.0.0.1/api", True),
        ("http://[::1]:8090/api", True),
        ("http://[::1]/api", True),
        ("http://mes.example/api", False),
        ("http://localhost.example/api", False),
        ("http://localhost@mes.example/api", False),
        ("http://mes.example?@localhost/api", False),
        ("http://mes.example#@localhost/api", False),
        ("ftp://localhost/api", False),
        ("https:///api", False),
        ("mes.example", False),
        ("", False),
    ],
)
def test_health_data_leaves_encrypted(load: Load, url: str, is_good: bool) -> None:
    """A destination is reached by https; plain http only on this machine, whatever the address pretends."""
    for field in ("base_url", "token_url"):
        text = re.sub(rf"{field} = .*", f'{field} = "{url}"', DESTINATION)
        if is_good:
            assert url == getattr(load(text).destinations[0], field)
        else:
            assert [("destinations[0]", True)] == [(path, field in words) for path, words in _problems(load, text)]


def test_relative_paths_count_from_the_file(load: Load, tmp_path: Path) -> None:
    """Where the gateway was started from does not change which files it uses."""
    settings = load(
        "[store]\npath='here.db'\n[web]\naccess_code_file='/etc/code'\n"
        + DESTINATION
        + "[[destinations.accounts]]\nperson='camille'\npatient_id='p'\nclient_id='c'\nclient_secret_file='s/mes'"
    )
    assert (tmp_path / "here.db", Path("/etc/code"), tmp_path / "s" / "mes") == (
        settings.store.path,
        settings.web.access_code_file,
        settings.destinations[0].accounts[0].client_secret_file,
    )


@pytest.mark.parametrize(
    ("content", "words"), [(None, "cannot read"), (b"[web", "not valid TOML"), (b"a = '\xff'", "not UTF-8")]
)
def test_a_file_that_cannot_be_read(tmp_path: Path, content: bytes | None, words: str) -> None:
    """A missing or garbled file is a sentence, not a traceback."""
    path = tmp_path / "hub.toml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigurationError, match=words):
        load_settings(path)


def _uncommented(text: str) -> str:
    """Every setting that stands behind `# `, in front of it."""
    return re.sub(r"(?m)^# *(\[\[|[a-z_]+ = )", r"\1", text)


def test_the_shipped_file_loads() -> None:
    """config/hub.toml is a sound configuration as it is."""
    settings = load_settings(HUB)
    assert (True, "Europe/Paris") == (settings.bluetooth.enabled, settings.gateway.time_zone)


def test_the_shipped_examples_load(load: Load) -> None:
    """Every example in config/hub.toml is sound when its remark sign is taken away, defaults included."""
    text = _uncommented(HUB.read_text(encoding="utf-8"))
    settings = load(text)
    assert ["camille"] == [person.id for person in settings.people]
    assert ["meter", "bathroom-scale"] == [device.id for device in settings.devices]
    assert ["camille"] == [account.person for account in settings.destinations[0].accounts]
    assert settings.people[0].glucose_unit is Unit.MG_DL
    assert (settings.mqtt.password_file, settings.web.access_code_file) != (None, None)


def test_shown_defaults_are_the_defaults(load: Load) -> None:
    """What config/hub.toml shows behind a remark sign as a default is what the program does."""
    shown = load(_uncommented(HUB.read_text(encoding="utf-8")))
    defaults = Settings()
    for section, name in (
        ("gateway", "clock"),
        ("gateway", "log_format"),
        ("gateway", "log_level"),
        ("store", "raw_retention_days"),
        ("bluetooth", "revisit_s"),
        ("mqtt", "tls"),
        ("mqtt", "topic_root"),
    ):
        assert getattr(getattr(defaults, section), name) == getattr(getattr(shown, section), name), f"{section}.{name}"


def test_household_gives_domain_values(load: Load) -> None:
    """People get the house's zone unless they have their own; a device's zone is its owner's."""
    settings = load(
        "[gateway]\ntime_zone='Europe/Paris'\n"
        "[[people]]\nid='a'\nname='A'\n[[people]]\nid='b'\nname='B'\ntime_zone='America/Martinique'\n"
        "[[devices]]\nid='d'\nkind='cgm'\nname='D'\nperson='b'\n[[devices]]\nid='e'\nkind='scale'\nname='E'\n"
    )
    people, devices = settings.household()
    paris, martinique = ZoneInfo("Europe/Paris"), ZoneInfo("America/Martinique")
    assert [(PersonId("a"), paris), (PersonId("b"), martinique)] == [(p.person_id, p.time_zone) for p in people]
    assert [(DeviceKind.CGM, PersonId("b")), (DeviceKind.SCALE, None)] == [(d.kind, d.person_id) for d in devices]
    assert [martinique, paris, paris] == [settings.time_zone_of(DeviceId(name)) for name in ("d", "e", "never-seen")]


def test_the_order_of_glucose_sources_is_the_persons(load: Load) -> None:
    """Devices by name, also such as are not configured; a name that cannot be one is refused."""
    text = "[[people]]\nid='a'\nname='A'\nglucose_sources=['phone', 'sensor-1']\n[[people]]\nid='b'\nname='B'\n"
    people, _ = load(text).household()
    assert [("phone", "sensor-1"), ()] == [person.glucose_sources for person in people]
    with pytest.raises(ConfigurationError, match=r"people\[0\].glucose_sources"):
        load(text.replace("phone", "My Phone"))


def test_a_secret_is_for_its_owner_only(tmp_path: Path) -> None:
    """A secret file is the first line of a file of mode 0600; others are refused without showing what they hold."""
    path = tmp_path / "secret"
    path.write_text("  hunter2 \nsecond line\n", encoding="utf-8")
    path.chmod(0o600)
    secret = read_secret(path)
    assert "hunter2" == secret.get_secret_value()
    assert "hunter2" not in f"{secret!r}{secret}"
    for mode in (0o640, 0o604, 0o620, 0o601):
        path.chmod(mode)
        with pytest.raises(ConfigurationError, match="chmod 600") as caught:
            read_secret(path)
        assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "words"), [(None, "cannot read"), (b"", "empty"), (b"\nx", "empty"), (b"\xff", "cannot read")]
)
def test_a_secret_that_is_none(tmp_path: Path, content: bytes | None, words: str) -> None:
    """A missing, empty or garbled secret file is refused."""
    path = tmp_path / "secret"
    if content is not None:
        path.write_bytes(content)
        path.chmod(0o600)
    with pytest.raises(ConfigurationError, match=words):
        read_secret(path)


def test_a_scale_may_be_shared() -> None:
    """One owner, several people or the whole house; slots and names of the scale's users are somebody's."""
    people = [{"id": "a", "name": "A"}, {"id": "b", "name": "B"}, {"id": "c", "name": "C"}]
    scale = {"id": "scale", "kind": "scale", "name": "Scale"}

    def shared(**more: object) -> Settings:
        return Settings.model_validate({"people": people, "devices": [{**scale, **more}]})

    _, (device,) = shared(people=["a", "b"], users={"1": "a", "Bibi": "b"}).household()
    assert (None, ("a", "b"), True) == (device.person_id, device.candidates, device.is_by_evidence)
    _, (device,) = shared(person="a").household()
    assert ("a", ("a",), True) == (device.person_id, device.candidates, device.is_by_evidence)
    _, (device,) = shared().household()
    assert (None, (), True) == (device.person_id, device.candidates, device.is_by_evidence)
    for wrong in (
        {"people": ["a", "z"]},
        {"people": ["a"], "person": "b"},
        {"people": ["a", "a"]},
        {"person": "a", "users": {"1": "b"}},
        {"users": {"1": "z"}},
        {"kind": "cgm", "people": ["a"]},
    ):
        with pytest.raises(ValueError, match=r"people|person|users|scale"):
            shared(**wrong)
