"""The sandbox space answers as the API Mesures publishes it."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from space_kit import (
    ANNE,
    AUTHORITY,
    BRUNO,
    CONFIG,
    SOLUTION,
    Json,
    caller,
    device,
    observation,
    subject,
    transaction,
)

from gateway.fhir.terminology import ANS_TERMS, LOINC
from gateway.sandbox.space import Fault, SandboxConfig

RANGE = (("date", "ge2026-03-01T00:00:00Z"), ("date", "le2026-03-31T00:00:00Z"))
WEIGHT = ("code", "29463-7")
MEAN_OLD = ((ANS_TERMS, "MED-969"),)
MEAN_NEW = ((LOINC, "99504-3"),)


def statuses(body: Json) -> list[str]:
    """Leading numbers of a transaction-response."""
    return [entry["response"]["status"][:3] for entry in body["entry"]]


async def test_weight_and_new_device_are_created() -> None:
    """A valid transaction is answered entry by entry, and stored with its exact value."""
    async with caller() as anne:
        reply = await anne.post(transaction(observation(value=Decimal("71.350")), device()))
        assert (reply.status, statuses(reply.body)) == (200, ["201", "201"])
        quantity = anne.running.space.store.observations[0].valueQuantity
        assert quantity is not None
        assert str(quantity.value) == "71.350"


async def test_known_device_is_reused() -> None:
    """An equal identifier gives 200 for the Device, one stored Device, and both measures refer to it."""
    async with caller() as anne:
        await anne.post(transaction(with_device=device()))
        reply = await anne.post(transaction(with_device=device()))
        store = anne.running.space.store
        assert (statuses(reply.body), len(store.devices)) == (["201", "200"], 1)
        references = {item.device.reference for item in store.observations if item.device is not None}
        assert {f"Device/{store.devices[0].id}"} == references
        assert (await anne.get(f"/fhir/Device/{store.devices[0].id}")).status == 200
        assert (await anne.get("/fhir/Device/nobody")).status == 404


async def test_token_is_required() -> None:
    """No token, a made-up one and one that ran out are answered 401."""
    async with caller() as anne:
        good, anne.token = anne.token, "made-up"
        assert (await anne.post(transaction())).status == 401
        assert (await anne.search(subject(), WEIGHT, *RANGE)).status == 401
        anne.token = good
        anne.running.space.expire_tokens()
        assert (await anne.post(transaction())).status == 401


@pytest.mark.parametrize("account", [replace(ANNE, client_secret="other"), replace(ANNE, client_id="nobody")])
async def test_wrong_credentials_give_no_token(account: Any) -> None:
    """A client that does not authenticate is told invalid_client."""
    async with caller(account=account) as anyone:
        reply = await anyone.log_in()
        assert (reply.status, reply.body["error"]) == (401, "invalid_client")


async def test_other_patient_is_refused() -> None:
    """Nobody writes or reads for another patient."""
    async with caller() as anne:
        reply = await anne.post(transaction(observation(patient=BRUNO.patient_id)))
        found = await anne.search(subject(BRUNO.patient_id), WEIGHT, *RANGE)
        expected = (403, ["idPe requested do not match authorized idPe."])
        assert expected == (reply.status, reply.diagnostics)
        assert expected == (found.status, found.diagnostics)


async def test_consent_is_checked_per_direction() -> None:
    """Write and read are refused one without the other."""
    refused = (403, ["Consent not given, access refused."])
    async with caller(SandboxConfig(SOLUTION, AUTHORITY, (replace(ANNE, can_write=False),))) as reader:
        reply = await reader.post(transaction())
        assert refused == (reply.status, reply.diagnostics)
        assert (await reader.search(subject(), WEIGHT, *RANGE)).status == 200
    async with caller(SandboxConfig(SOLUTION, AUTHORITY, (replace(ANNE, can_read=False),))) as writer:
        assert (await writer.post(transaction())).status == 200
        reply = await writer.search(subject(), WEIGHT, *RANGE)
        assert refused == (reply.status, reply.diagnostics)


async def test_other_solution_conflicts() -> None:
    """A token of another solution is answered 409 in both directions."""
    async with caller(SandboxConfig(SOLUTION, AUTHORITY, (replace(ANNE, solution_oid="2.999.6"),))) as anne:
        assert (await anne.post(transaction())).status == 409
        assert (await anne.search(subject(), WEIGHT, *RANGE)).status == 409


@pytest.mark.parametrize("body", ["", "null", "[]", "{", '{"resourceType":"Patient"}'])
async def test_something_else_is_no_bundle(body: str) -> None:
    """An empty or foreign body is answered 400 with the published sentence."""
    async with caller() as anne:
        reply = await anne.post(body)
        assert (reply.status, reply.diagnostics) == (400, ["No bundle provided."])


def _without(bundle: Json, *path: str | int) -> Json:
    node: Any = bundle
    for part in path[:-1]:
        node = node[part]
    del node[path[-1]]
    return bundle


def _with(bundle: Json, value: object, *path: str | int) -> Json:
    node: Any = bundle
    for part in path[:-1]:
        node = node[part]
    node[path[-1]] = value
    return bundle


def _full() -> Json:
    return transaction(with_device=device())


def _glucose(**changes: Any) -> Json:
    wanted = {"code": ((LOINC, "2345-7"),), "value": 112, "unit": "mg/dL", "moment": "53049-3", **changes}
    return transaction(observation(profile="mes-observation-glucose", **wanted))


REFUSED: dict[str, Json] = {
    "batch": _with(_full(), "batch", "type"),
    "two": _with(_full(), transaction()["entry"] + transaction()["entry"], "entry"),
    "none": _without(_full(), "entry", 0),
    "put": _with(_full(), "PUT", "entry", 0, "request", "method"),
    "no ifNoneExist": _without(_full(), "entry", 1, "request", "ifNoneExist"),
    "malformed": _with(_full(), "identifier=AB", "entry", 1, "request", "ifNoneExist"),
    "no reference": _without(_full(), "entry", 0, "resource", "device"),
    "elsewhere": _with(_full(), "Device/other", "entry", 0, "resource", "device", "reference"),
    "observation": _without(_full(), "entry", 0, "resource", "meta", "profile"),
    "device": _without(_full(), "entry", 1, "resource", "meta"),
    "source": _with(_full(), "urn:oid:2.999.5.10", "entry", 0, "resource", "meta", "source"),
    "no value": _without(_full(), "entry", 0, "resource", "valueQuantity"),
    "bmi": transaction(observation(((LOINC, "39156-5"),), profile="mes-observation-bmi", value=23, unit="kg/m2")),
    "no moment": _glucose(moment=None),
    "days": _glucose(days="GEN-276"),
    "mmol": _glucose(unit="mmol/L", value=6),
    "lb": _with(_full(), "[lb_av]", "entry", 0, "resource", "valueQuantity", "code"),
    "no unit": _without(_full(), "entry", 0, "resource", "valueQuantity", "unit"),
    "period": _with(
        _without(_glucose(), "entry", 0, "resource", "effectiveDateTime"),
        {"start": "2026-03-01", "end": "2026-03-02"},
        "entry",
        0,
        "resource",
        "effectivePeriod",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
async def test_rules_are_published_as_outcomes(name: str) -> None:
    """What the rules refuse is answered 422 with an OperationOutcome, and nothing is stored."""
    async with caller() as anne:
        reply = await anne.post(REFUSED[name])
        assert (reply.status, reply.body["resourceType"]) == (422, "OperationOutcome")
        assert all(reply.diagnostics)
        assert anne.running.space.store.observations == ()


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ((), "No search mode detected"),
        ((RANGE[0],), "No search mode detected"),
        ((*RANGE, ("_count", "101")), "Maximum page size allowed is 100. Actual : 101"),
        ((("_sort", "date"), ("_count", "1")), "Sort parameter must be equals to -date"),
        ((("_sort", "-date"), ("_count", "2")), "Sort parameter must be equals to -date"),
        ((("_sort", "-date"), ("_count", "1"), *RANGE), "Paged search and search last cannot be requested"),
    ],
)
async def test_search_modes_are_exclusive(params: tuple[tuple[str, str], ...], words: str) -> None:
    """A search in neither or both modes is answered 400 with the published sentence."""
    async with caller() as anne:
        reply = await anne.search(subject(), WEIGHT, *params)
        assert reply.status == 400
        assert reply.diagnostics[0].startswith(words)


async def test_pages_and_included_device() -> None:
    """Four measures in pages of two, the links lead through them, the device comes once per page."""
    async with caller() as anne:
        for day in range(2, 6):
            await anne.post(transaction(observation(at=f"2026-03-0{day}T07:00:00+01:00"), device()))
        first = await anne.search(subject(), WEIGHT, *RANGE, ("_count", "2"), ("_include", "Observation:device"))
        links = {link["relation"]: link["url"] for link in first.body["link"]}
        second = await anne.get(links["next"].removeprefix(anne.running.url))
        modes = [entry["search"]["mode"] for entry in first.body["entry"]]
        assert (first.body["total"], modes) == (4, ["match", "match", "include"])
        assert {"self", "previous"} == {link["relation"] for link in second.body["link"]}
        days = [
            entry["resource"]["effectiveDateTime"][:10]
            for entry in [*first.body["entry"], *second.body["entry"]]
            if entry["search"]["mode"] == "match"
        ]
        assert days == ["2026-03-05", "2026-03-04", "2026-03-03", "2026-03-02"]


async def test_last_gives_the_newest() -> None:
    """Mode "last" gives one measure: the newest by its own time, not by arrival."""
    async with caller() as anne:
        for day in (3, 5, 4):
            await anne.post(transaction(observation(at=f"2026-03-0{day}T07:00:00+01:00")))
        reply = await anne.search(subject(), WEIGHT, ("_sort", "-date"), ("_count", "1"))
        assert [e["resource"]["effectiveDateTime"][:10] for e in reply.body["entry"]] == ["2026-03-05"]


@pytest.mark.parametrize(("stored", "searched"), [(MEAN_OLD, "99504-3"), (MEAN_NEW, "MED-969")])
async def test_both_codes_of_the_mean_are_one(stored: tuple[tuple[str, str]], searched: str) -> None:
    """The mean interstitial glucose is found by either of its codes."""
    async with caller() as anne:
        mean = observation(stored, profile="mes-observation-glucose", value=146, unit="mg/dL", days="GEN-276")
        assert (await anne.post(transaction(mean))).status == 200
        assert (await anne.search(subject(), ("code", searched), *RANGE)).body["total"] == 1


async def test_patient_ends_consent_then_pairing() -> None:
    """Without consent 403, after desynchronising 401 and invalid_grant."""
    async with caller() as anne:
        assert await anne.put("/_sandbox/accounts/client-anne", {"can_write": False}) == 204
        assert (await anne.post(transaction())).status == 403
        assert await anne.put("/_sandbox/accounts/client-anne", {"is_paired": False}) == 204
        assert (await anne.post(transaction())).status == 401
        reply = await anne.log_in()
        assert (reply.status, reply.body["error"]) == (400, "invalid_grant")
        assert await anne.put("/_sandbox/accounts/nobody", {}) == 404


async def test_what_is_stored_survives_a_restart(tmp_path: Path) -> None:
    """Measures and devices are there again after a restart; a torn last line is forgotten, not fatal."""
    path = tmp_path / "space.jsonl"
    config = replace(CONFIG, path=path)
    async with caller(config) as anne:
        await anne.post(transaction(observation(value=Decimal("70.10")), device()))
    with path.open("a") as file:
        file.write('[{"resourceType":"Obs')
    async with caller(config) as anne:
        reply = await anne.post(transaction(with_device=device()))
        assert statuses(reply.body) == ["201", "200"]
        listed = await anne.get("/_sandbox/observations")
        values = [str(entry["resource"]["valueQuantity"]["value"]) for entry in listed.body["entry"]]
        assert values == ["70.10", "71"]


@pytest.mark.parametrize(
    ("fault", "status"), [("401", 401), ("403", 403), ("409", 409), ("422", 422), ("429", 429), ("503", 503)]
)
async def test_fault_switch_counts(fault: str, status: int) -> None:
    """A fault is armed over HTTP for a number of requests, then the space behaves again."""
    async with caller() as anne:
        order = {"fault": fault, "times": 2, "retry_after": 7}
        assert await anne.put("/_sandbox/faults", order) == 200
        replies = [await anne.post(transaction()) for _ in range(3)]
        assert [status, status, 200] == [reply.status for reply in replies]
        has_header = "Retry-After" in replies[0].headers
        assert (status in (429, 503)) == has_header
        assert len(anne.running.space.store.observations) == 1
        assert await anne.put("/_sandbox/faults", {"fault": "unheard-of"}) == 400


@pytest.mark.parametrize("fault", [Fault.HTML, Fault.HALF_JSON, Fault.MISSING_ENTRY, Fault.ENTRY_4XX])
async def test_spoilt_answers(fault: Fault) -> None:
    """A spoilt answer is a 200; what its fault says about being applied is true."""
    async with caller() as anne:
        anne.running.space.faults.arm(fault)
        reply = await anne.post(transaction())
        assert reply.status == 200
        assert fault.is_applied == bool(anne.running.space.store.observations)
