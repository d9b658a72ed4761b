"""The configuration file: TOML read into strict pydantic models.

A mistyped key stops the start. Secrets are never in the file: it names files (mode 0600) that hold them.
"""

from __future__ import annotations

import stat
import tomllib
from datetime import tzinfo
from pathlib import Path
from typing import Annotated, Literal, Self, TypeVar
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr, ValidationError, model_validator
from pydantic_core import ErrorDetails

from gateway.errors import ConfigurationError
from gateway.model import Device, DeviceId, DeviceKind, Person, PersonId, Unit, is_identifier
from gateway.settings_mappings import MappingSettings
from gateway.settings_mqtt_dialects import DialectSettings, check_devices, check_filters
from gateway.settings_nightscout import NightscoutSettings
from gateway.settings_people import TravelSettings, Zone, zone_lived_in

__all__ = [
    "AccountSettings",
    "BluetoothSettings",
    "DestinationSettings",
    "DeviceSettings",
    "GatewaySettings",
    "MqttSettings",
    "NightscoutSettings",
    "PersonSettings",
    "ProxySettings",
    "Settings",
    "StoreSettings",
    "WebSettings",
    "load_settings",
    "read_secret",
]

Section = TypeVar("Section", bound=BaseModel)
_LOCAL_HOSTS = frozenset({"localhost", "127.0.0.1", "::1"})


def _identifier(text: str) -> str:
    if not is_identifier(text):
        raise ValueError("use 1 to 64 lower-case letters, digits, '-' and '_', beginning with a letter or digit")
    return text


Identifier = Annotated[str, AfterValidator(_identifier)]
Oid = Annotated[str, Field(pattern=r"^[0-2](\.(0|[1-9][0-9]*))+$")]
Adapter = Annotated[str, Field(pattern=r"^(hci[0-9]+|([0-9A-F]{2}:){5}[0-9A-F]{2})$")]
BluetoothAddress = Annotated[str, Field(pattern=r"^([0-9A-F]{2}:){5}[0-9A-F]{2}$")]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class GatewaySettings(_Section):
    """`[gateway]`"""

    time_zone: Zone = Field(default="Europe/Paris", description="Zone of the house, for devices without an owner.")
    language: Literal["fr", "en"] = Field(default="fr", description="Language of the pages when a browser has no wish.")
    clock: Literal["auto", "trusted"] = Field(
        default="auto", description="trusted: this machine's clock is right, although it cannot show why."
    )
    log_format: Literal["console", "json"] = Field(default="console", description="Log lines for people or machines.")
    log_level: Literal["debug", "info", "warning", "error"] = "info"


class StoreSettings(_Section):
    """`[store]`"""

    path: Path = Field(default=Path("/var/lib/passerelle/passerelle.db"), description="The database file.")
    queue_batches: int = Field(default=2000, ge=1, le=100_000, description="Batches that may wait for the disk.")
    raw_retention_days: int = Field(default=400, ge=1, description="How long raw payloads are kept.")


class WebSettings(_Section):
    """`[web]`"""

    enabled: bool = True
    host: str = Field(default="127.0.0.1", description="Address to listen on.")
    port: int = Field(default=8080, ge=0, le=65535)
    allowed_hosts: tuple[str, ...] = Field(
        default=("localhost", "127.0.0.1", "[::1]"), description="Names in the Host header that are answered."
    )
    access_code_file: Path | None = Field(
        default=None, description="File with the code that visitors must give; needed when other machines may visit."
    )

    @model_validator(mode="after")
    def _code_unless_local(self) -> Self:
        if self.enabled and self.host not in _LOCAL_HOSTS and self.access_code_file is None:
            raise ValueError(f"host {self.host!r} shows health data to other machines: give access_code_file too")
        return self


class MqttSettings(_Section):
    """`[mqtt]`"""

    enabled: bool = False
    host: str = "localhost"
    port: int = Field(default=8883, ge=1, le=65535)
    protocol: Literal["5", "3.1.1"] = Field(default="5", description="MQTT version.")
    tls: bool = Field(default=True, description="May only be off for a broker on this machine.")
    ca_file: Path | None = Field(default=None, description="CA of the broker; default: the system's.")
    cert_file: Path | None = Field(default=None, description="Client certificate, for mutual TLS.")
    key_file: Path | None = Field(default=None, description="Its key; mode 0600.")
    username: str | None = None
    password_file: Path | None = Field(default=None, description="File holding the password; mode 0600.")
    client_id: Identifier = Field(default="passerelle", description="Names the persistent session: one per gateway.")
    topic_root: Identifier = Field(default="gateway", description="First level of our topics.")
    receive_maximum: int = Field(default=2000, ge=1, le=65535, description="Unacknowledged messages at once.")
    max_payload_bytes: int = Field(default=65_536, ge=256, le=1_048_576)
    session_expiry_s: int = Field(default=30 * 86_400, ge=0, description="How long the broker keeps our session.")
    keepalive_s: int = Field(default=30, ge=5, le=3600)
    mappings: tuple[MappingSettings, ...] = ()
    dialects: tuple[DialectSettings, ...] = ()

    @model_validator(mode="after")
    def _one_meaning_per_topic(self) -> Self:
        dialects = [(f"dialects[{at}]", each.filters) for at, each in enumerate(self.dialects)]
        mappings = [(f"mappings[{at}]", (each.topic,)) for at, each in enumerate(self.mappings)]
        check_filters(self.topic_root, [*dialects, *mappings])
        return self

    @model_validator(mode="after")
    def _tls_unless_local(self) -> Self:
        if not self.tls and self.host not in _LOCAL_HOSTS:
            raise ValueError("tls may only be off for a broker on this machine (localhost)")
        if (self.cert_file is None) != (self.key_file is None):
            raise ValueError("cert_file and key_file go together")
        if self.password_file is not None and self.username is None:
            raise ValueError("password_file needs username")
        return self


class ProxySettings(_Section):
    """`[[bluetooth.proxies]]`: an ESP32 with ESPHome in another room."""

    name: Identifier = Field(description="Of your choice, for the page and the log.")
    host: str = Field(min_length=1, max_length=253, description="Address or name of the board.")
    port: int = Field(default=6053, ge=1, le=65535, description="Of its native API.")
    key_file: Path | None = Field(default=None, description="File with its encryption key; mode 0600.")


class BluetoothSettings(_Section):
    """`[bluetooth]`"""

    enabled: bool = False
    adapter: Adapter | None = Field(
        default=None, description="Its own address (better) or a name such as hci0; default: the first."
    )
    adapters: tuple[Adapter, ...] = Field(default=(), description="Several, instead of `adapter`.")
    local: bool = Field(default=True, description="Use this machine's own adapter; false with proxies alone.")
    proxies: tuple[ProxySettings, ...] = ()
    scanning: Literal["active", "passive"] = Field(
        default="active", description="passive saves the devices' batteries where BlueZ can, but hears fewer."
    )
    connections: int = Field(default=3, ge=1, le=16, description="Devices that an adapter is connected to at once.")
    just_works: Literal["by_family", "never"] = Field(
        default="by_family",
        description="Pairing without digits: where a family of devices has nothing better, or nowhere.",
    )
    connect_timeout_s: float = Field(default=15.0, gt=0, le=60)
    procedure_timeout_s: float = Field(default=30.0, gt=0, le=120, description="Silence that ends a procedure.")
    quiet_s: float = Field(
        default=3.0, gt=0, le=30, description="Silence after which a scale or a cuff has said everything."
    )
    live_interval_s: float = Field(
        default=60.0,
        ge=0,
        le=3600,
        description="One reading per interval of a stream (heart rate, saturation); 0: all.",
    )
    retry_s: float = Field(default=30.0, gt=0, description="Pause before a device that failed is tried again.")
    revisit_s: float = Field(default=300.0, ge=0, description="Pause before a device read well is connected again.")

    @model_validator(mode="after")
    def _one_way_to_name_adapters(self) -> Self:
        if self.adapter is not None and self.adapters:
            raise ValueError("give adapter or adapters, not both")
        if len(set(self.adapters)) != len(self.adapters):
            raise ValueError("adapters: one appears twice")
        names = [proxy.name for proxy in self.proxies]
        if len(set(names)) != len(names):
            raise ValueError("proxies: a name appears twice")
        if not self.local and not self.proxies:
            raise ValueError("local = false needs a proxy under [[bluetooth.proxies]]")
        return self


class PersonSettings(_Section):
    """`[[people]]`"""

    id: Identifier
    name: str = Field(min_length=1, max_length=80)
    time_zone: Zone | None = Field(default=None, description="Default: the house's.")
    travels: tuple[TravelSettings, ...] = ()
    glucose_unit: Literal[Unit.MG_DL, Unit.G_L, Unit.MMOL_L] = Unit.MG_DL
    glucose_sources: tuple[Identifier, ...] = Field(
        default=(),
        description="Devices in order of preference where several tell the same glucose; see glucose-sources.md."
        " Others follow: Bluetooth, HTTP, MQTT, files.",
    )


class DeviceSettings(_Section):
    """`[[devices]]`"""

    id: Identifier
    kind: DeviceKind
    name: str = Field(min_length=1, max_length=80)
    person: Identifier | None = Field(
        default=None, description="Owner. Without one its readings wait; a scale may then be anybody's of the house."
    )
    people: tuple[Identifier, ...] = Field(default=(), description="Who shares a scale, instead of `person`.")
    users: dict[str, Identifier] = Field(
        default={}, description="Table: whose a user slot (in digits) or a user name of the scale or its app is."
    )
    address: BluetoothAddress | None = Field(default=None, description="Bluetooth address, upper case.")
    manufacturer: str | None = Field(default=None, max_length=64)
    model: str | None = Field(default=None, max_length=64)
    serial: str | None = Field(default=None, max_length=64)
    scale_user: int | None = Field(default=None, ge=0, le=254, description="The person's slot on the scale.")
    scale_consent_file: Path | None = Field(default=None, description="File with that slot's consent code, 0..9999.")
    bind_key_file: Path | None = Field(
        default=None, description="File with the key of a device that encrypts what it tells everybody; mode 0600."
    )
    set_clock: bool = Field(default=False, description="May the gateway set the device's clock when it is wrong?")
    cgm_interval_min: int | None = Field(
        default=None, ge=1, le=60, description="Make a sensor notify every so many minutes; default: leave it alone."
    )

    @model_validator(mode="after")
    def _slot_and_code(self) -> Self:
        if (self.scale_user is None) != (self.scale_consent_file is None):
            raise ValueError("scale_user and scale_consent_file go together")
        if not self.kind.is_scale and (self.people or self.users):
            raise ValueError("people and users are for a scale; any other device has one person")
        if self.people and (self.person is not None or len(set(self.people)) != len(self.people)):
            raise ValueError("give person, or people with each person once")
        strangers = set(self.users.values()) - set(self.candidates)
        if self.candidates and strangers:
            raise ValueError(f"users: {', '.join(sorted(strangers))} does not own this scale")
        if self.bind_key_file is not None and self.address is None:
            raise ValueError("bind_key_file needs the device's address")
        if self.cgm_interval_min is not None and self.kind is not DeviceKind.CGM:
            raise ValueError("cgm_interval_min is for a device of kind cgm")
        return self

    @property
    def candidates(self) -> tuple[str, ...]:
        """Who may be on the scale; empty: everybody."""
        return self.people or ((self.person,) if self.person is not None else ())

    def slots_and_names(self) -> dict[str, PersonId]:
        """Whose the users of the scale are, the slot that the gateway itself uses included."""
        users = {name: PersonId(person) for name, person in self.users.items()}
        if self.scale_user is not None and self.person is not None:
            users.setdefault(str(self.scale_user), PersonId(self.person))
        return users


class AccountSettings(_Section):
    """`[[destinations.accounts]]`: one person's account in a health space."""

    person: Identifier
    patient_id: str = Field(min_length=1, max_length=128, description="The patient's id in the space (idPe).")
    client_id: str = Field(min_length=1, max_length=128)
    client_secret_file: Path = Field(description="File holding the client secret; mode 0600.")


class DestinationSettings(_Section):
    """`[[destinations]]`"""

    id: Identifier
    kind: Literal["mes"] = Field(default="mes", description="mes: API Mesures de santé of Mon espace santé.")
    name: str = Field(min_length=1, max_length=80)
    base_url: str = Field(description="Where /fhir begins, without it.")
    token_url: str
    solution_oid: Oid = Field(description="OID of this solution; meta.source of everything sent.")
    patient_authority_oid: Oid = Field(description="OID that patient_id values belong to (AssignAuth).")
    terminology: Literal["2024", "2025", "both"] = Field(
        default="both", description="Code of the mean interstitial glucose: MED-969, LOINC 99504-3, or both codings."
    )
    timeout_s: float = Field(default=20.0, gt=0, le=120)
    lease_s: float = Field(default=60.0, gt=0, le=600)
    accounts: tuple[AccountSettings, ...] = ()

    @model_validator(mode="after")
    def _https_unless_local(self) -> Self:
        for field, url in (("base_url", self.base_url), ("token_url", self.token_url)):
            parts = urlsplit(url)
            if not parts.hostname:
                raise ValueError(f"{field} is not an address; write for instance https://host.example/path")
            if parts.scheme != "https" and not (parts.scheme == "http" and parts.hostname in _LOCAL_HOSTS):
                raise ValueError(f"{field} must begin with https:// (http:// only for this machine)")
        if self.lease_s <= 2 * self.timeout_s:
            raise ValueError("lease_s must be more than twice timeout_s, or a slow answer could be sent twice")
        return self


class Settings(_Section):
    """The whole configuration."""

    gateway: GatewaySettings = GatewaySettings()
    store: StoreSettings = StoreSettings()
    web: WebSettings = WebSettings()
    mqtt: MqttSettings = MqttSettings()
    nightscout: NightscoutSettings = NightscoutSettings()
    bluetooth: BluetoothSettings = BluetoothSettings()
    people: tuple[PersonSettings, ...] = ()
    devices: tuple[DeviceSettings, ...] = ()
    destinations: tuple[DestinationSettings, ...] = ()

    @model_validator(mode="after")
    def _references(self) -> Self:
        for what, ids in (
            ("people", [p.id for p in self.people]),
            ("devices", [d.id for d in self.devices]),
            ("destinations", [d.id for d in self.destinations]),
            ("device addresses", [d.address for d in self.devices if d.address]),
        ):
            if len(set(ids)) != len(ids):
                twice = sorted({i for i in ids if ids.count(i) > 1})
                raise ValueError(f"{what}: {', '.join(twice)} appears twice")
        addresses = {device.id: device.address for device in self.devices}
        check_devices(self.mqtt.dialects, [each.device for each in self.mqtt.mappings], addresses)
        known = {p.id for p in self.people}
        for device in self.devices:
            for person in (*device.candidates, *device.users.values()):
                if person not in known:
                    raise ValueError(f"devices.{device.id}.person: nobody called {person!r} under [[people]]")
        for destination in self.destinations:
            for account in destination.accounts:
                if account.person not in known:
                    raise ValueError(
                        f"destinations.{destination.id}.accounts: nobody called {account.person!r} under [[people]]"
                    )
        return self

    def household(self) -> tuple[list[Person], list[Device]]:
        """The configured people and devices as domain values."""
        people = [
            Person(
                PersonId(p.id),
                p.name,
                zone_lived_in(p.time_zone or self.gateway.time_zone, p.travels),
                p.glucose_unit,
                tuple(DeviceId(device) for device in p.glucose_sources),
            )
            for p in self.people
        ]
        devices = [
            Device(
                device_id=DeviceId(d.id),
                kind=d.kind,
                display_name=d.name,
                person_id=PersonId(d.person) if d.person is not None else None,
                address=d.address,
                manufacturer=d.manufacturer,
                model=d.model,
                serial=d.serial,
                is_by_evidence=d.kind.is_scale,
                candidates=tuple(PersonId(each) for each in d.candidates) if d.kind.is_scale else (),
            )
            for d in self.devices
        ]
        return people, devices

    def time_zone_of(self, device_id: DeviceId) -> tzinfo:
        """Zone of the device's owner, else of the house."""
        owner = next((d.person for d in self.devices if d.id == device_id), None)
        zones = (person.time_zone for person in self.household()[0] if person.person_id == owner)
        return next(zones, ZoneInfo(self.gateway.time_zone))


def load_settings(path: Path) -> Settings:
    """Read and check a configuration file; relative paths in it count from its folder.

    Raises:
        ConfigurationError: one problem per fault, each with its path in the file.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigurationError([("", f"cannot read {path}: {error.strerror}")]) from error
    except UnicodeDecodeError as error:
        raise ConfigurationError([("", f"{path} is not UTF-8 text")]) from error
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError([("", f"{path} is not valid TOML: {error}")]) from error
    try:
        settings = Settings.model_validate(data)
    except ValidationError as error:
        raise ConfigurationError([(_path(e["loc"]), _sentence(e)) for e in error.errors()]) from error
    return _anchored(settings, path.parent)


def _path(location: tuple[int | str, ...]) -> str:
    text = ""
    for part in location:
        text += f"[{part}]" if isinstance(part, int) else (f".{part}" if text else str(part))
    return text


def _sentence(error: ErrorDetails) -> str:
    if error["type"] == "extra_forbidden":
        return "unknown key; check its spelling against config/hub.toml"
    return error["msg"].removeprefix("Value error, ")


def _anchored(settings: Settings, folder: Path) -> Settings:
    def fix(section: Section) -> Section:
        changes: dict[str, object] = {}
        for name in type(section).model_fields:
            value = getattr(section, name)
            if isinstance(value, Path) and not value.is_absolute():
                changes[name] = folder / value
            elif isinstance(value, BaseModel):
                changes[name] = fix(value)
            elif isinstance(value, tuple) and value and isinstance(value[0], BaseModel):
                changes[name] = tuple(fix(item) for item in value)
        return section.model_copy(update=changes)

    return fix(settings)


def read_secret(path: Path) -> SecretStr:
    """The first line of a secret file, which must not be readable by group or others.

    Raises:
        ConfigurationError: missing, empty, or readable by others.
    """
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
        text = path.read_text(encoding="utf-8").split("\n", 1)[0].strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError([("", f"cannot read the secret file {path}")]) from error
    if mode & 0o077:
        raise ConfigurationError([("", f"{path} can be read by others; run: chmod 600 {path}")])
    if not text:
        raise ConfigurationError([("", f"the secret file {path} is empty")])
    return SecretStr(text)
