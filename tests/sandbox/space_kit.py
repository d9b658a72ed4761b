"""Transactions and a client for the sandbox space's tests."""

from __future__ import annotations

import copy
import uuid
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import aiohttp
import simplejson

from gateway.fhir.terminology import (
    ANS_TERMS,
    CATEGORY_SYSTEM,
    CONTINUA_IDENTIFIERS,
    EUI64_OID,
    LOINC,
    MDC,
    MES_PROFILE_BASE,
    MOMENT_URL,
    NUMBER_OF_DAYS_URL,
    PHD_DEVICE_PROFILE,
    UCUM,
)
from gateway.sandbox.space import RunningSpace, SandboxAccount, SandboxConfig, run_space

SOLUTION = "2.999.5.1"
AUTHORITY = "2.999.7.1"
ANNE = SandboxAccount("client-anne", "s3cret", "idpe-anne")
BRUNO = SandboxAccount("client-bruno", "s3cret-b", "idpe-bruno")
CONFIG = SandboxConfig(SOLUTION, AUTHORITY, (ANNE, BRUNO))
Json = dict[str, Any]


@dataclass(frozen=True)
class Reply:
    """Status, headers and parsed body of an answer."""

    status: int
    body: Json
    headers: dict[str, str]

    @property
    def diagnostics(self) -> list[str]:
        """Of an OperationOutcome."""
        return [issue["diagnostics"] for issue in self.body.get("issue", [])]


class Caller:
    """One paired client."""

    def __init__(self, session: aiohttp.ClientSession, running: RunningSpace, account: SandboxAccount) -> None:
        self.session = session
        self.running = running
        self.account = account
        self.token = ""

    async def log_in(self) -> Reply:
        """Fetch a token and keep it."""
        auth = aiohttp.encode_basic_auth(self.account.client_id, self.account.client_secret)
        async with self.session.post(
            f"{self.running.url}/token", data={"grant_type": "client_credentials"}, headers={"Authorization": auth}
        ) as response:
            body = await response.json()
            self.token = body.get("access_token", "")
            return Reply(response.status, body, dict(response.headers))

    async def post(self, bundle: Json | str) -> Reply:
        """`POST /fhir`."""
        text = bundle if isinstance(bundle, str) else simplejson.dumps(bundle, use_decimal=True)
        return await self._call("POST", "/fhir", data=text)

    async def search(self, *params: tuple[str, str]) -> Reply:
        """`GET /fhir/Observation`."""
        return await self._call("GET", "/fhir/Observation", params=params)

    async def get(self, path: str) -> Reply:
        """Any path."""
        return await self._call("GET", path)

    async def put(self, path: str, body: Json) -> int:
        """Administration."""
        async with self.session.put(f"{self.running.url}{path}", json=body) as response:
            return response.status

    async def _call(
        self, method: str, path: str, *, data: str | None = None, params: Sequence[tuple[str, str]] | None = None
    ) -> Reply:
        headers = {"Authorization": f"Bearer {self.token}", "Content-Type": "application/fhir+json"}
        async with self.session.request(
            method, f"{self.running.url}{path}", data=data, params=params, headers=headers, allow_redirects=False
        ) as response:
            text = await response.text()
            try:
                body = simplejson.loads(text, use_decimal=True)
            except ValueError:
                body = {}
            return Reply(response.status, body if isinstance(body, dict) else {}, dict(response.headers))


@asynccontextmanager
async def caller(config: SandboxConfig = CONFIG, account: SandboxAccount = ANNE) -> AsyncIterator[Caller]:
    """A space that listens and a client of it that has its token."""
    async with run_space(config) as running, aiohttp.ClientSession() as session:
        made = Caller(session, running, account)
        await made.log_in()
        yield made


def observation(
    code: Sequence[tuple[str, str]] = ((LOINC, "29463-7"),),
    *,
    profile: str = "mes-observation-bodyweight",
    value: Any = 71,
    unit: str = "kg",
    at: str = "2026-03-02T07:12:05+01:00",
    patient: str = ANNE.patient_id,
    moment: str | None = None,
    days: str | None = None,
) -> Json:
    """An Observation; weight unless said otherwise."""
    extensions = []
    if moment is not None:
        extensions.append((MOMENT_URL, LOINC, moment))
    if days is not None:
        extensions.append((NUMBER_OF_DAYS_URL, ANS_TERMS, days))
    made: Json = {
        "resourceType": "Observation",
        "meta": {"profile": [f"{MES_PROFILE_BASE}{profile}"], "source": f"urn:oid:{SOLUTION}"},
        "status": "final",
        "category": [{"coding": [{"system": CATEGORY_SYSTEM, "code": "vital-signs"}]}],
        "code": {"coding": [{"system": system, "code": bare} for system, bare in code]},
        "subject": {"identifier": {"system": f"urn:oid:{AUTHORITY}", "value": patient}},
        "effectiveDateTime": at,
        "valueQuantity": {"value": value, "unit": unit, "system": UCUM, "code": unit},
    }
    if extensions:
        made["extension"] = [
            {"url": url, "valueCodeableConcept": {"coding": [{"system": system, "code": bare}]}}
            for url, system, bare in extensions
        ]
    return made


def device(eui64: str = "FE-ED-AB-EE-DE-AD-77-C3") -> Json:
    """A PhdDevice with an id of its own, as every transaction carries one."""
    return {
        "resourceType": "Device",
        "id": str(uuid.uuid4()),
        "meta": {"profile": [PHD_DEVICE_PROFILE]},
        "identifier": [
            {
                "type": {"coding": [{"system": CONTINUA_IDENTIFIERS, "code": "SYSID"}]},
                "system": f"urn:oid:{EUI64_OID}",
                "value": eui64,
            }
        ],
        "manufacturer": "ExampleScales",
        "modelNumber": "WS-50",
        "type": {"coding": [{"system": MDC, "code": "65573"}]},
        "specialization": [{"systemType": {"coding": [{"system": MDC, "code": "528399"}]}, "version": "1"}],
    }


def transaction(measure: Json | None = None, with_device: Json | None = None) -> Json:
    """A transaction bundle; the observation refers to the device."""
    resource = copy.deepcopy(measure or observation())
    entries = [
        {
            "fullUrl": f"urn:uuid:{uuid.uuid4()}",
            "resource": resource,
            "request": {"method": "POST", "url": "Observation"},
        }
    ]
    if with_device is not None:
        resource["device"] = {"reference": f"Device/{with_device['id']}"}
        entries.append(
            {
                "fullUrl": f"urn:uuid:{with_device['id']}",
                "resource": with_device,
                "request": {
                    "method": "POST",
                    "url": "Device",
                    "ifNoneExist": f"identifier=urn:oid:{EUI64_OID}|{with_device['identifier'][0]['value']}",
                },
            }
        )
    return {"resourceType": "Bundle", "type": "transaction", "entry": entries}


def subject(patient: str = ANNE.patient_id) -> tuple[str, str]:
    """The subject parameter of a search."""
    return ("subject.identifier", f"urn:oid:{AUTHORITY}|{patient}")
