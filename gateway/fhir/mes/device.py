"""A domain `Device` -> an HL7 PhdDevice, and its place in a transaction.

Source: HL7 Personal Health Device guide 1.0.0 (profile PhdDevice), API Mesures 1.5.2 (`ifNoneExist`), IEEE 11073-20601
(system identifier, an EUI-64).
"""

from __future__ import annotations

import hashlib
import re
import uuid

from gateway.fhir.mes.context import MesContext
from gateway.fhir.r4 import (
    BundleEntry,
    BundleRequest,
    CodeableConcept,
    Coding,
    DeviceName,
    DeviceSpecialization,
    DeviceVersion,
    Identifier,
    Meta,
)
from gateway.fhir.r4 import Device as PhdDevice
from gateway.fhir.terminology import (
    BTMAC_SYSTEM,
    CONTINUA_IDENTIFIERS,
    EUI64_OID,
    MDC,
    MDC_FIRMWARE,
    MDC_PHD_TYPE,
    PHD_DEVICE_PROFILE,
    SPECIALISATION,
)
from gateway.model import Device

__all__ = ["NAMESPACE", "device_entry", "phd_device", "system_identifier"]

NAMESPACE = uuid.UUID("5c1d4c3e-7a0b-5f6e-9d42-3b8e6a1f0c27")
"""Root of every UUID that we make; changing it would give every known thing a new name."""

_EUI64 = re.compile(r"[0-9A-F]{16}")
_EUI48 = re.compile(r"([0-9A-F]{2}:){5}[0-9A-F]{2}")
_MAX_TEXT = 64


def system_identifier(device: Device, context: MesContext) -> str:
    """The device's EUI-64 as eight upper-case hexadecimal pairs joined by `-`; the same as long as what it is made of.

    In this order: the system id that the device states (unless it is all zeros); the Bluetooth address with FF-FE in
    its middle; eight bytes of a SHA-256 over solution, patient and device id, marked as locally administered. The last
    is specific to the patient, so that equal local names in two homes never become one device.
    """
    if device.system_id is not None and _EUI64.fullmatch(device.system_id) and device.system_id != "0" * 16:
        octets = bytes.fromhex(device.system_id)
    elif device.address is not None and _EUI48.fullmatch(device.address):
        address = bytes.fromhex(device.address.replace(":", ""))
        octets = address[:3] + b"\xff\xfe" + address[3:]
    else:
        name = f"{context.solution_oid}|{context.patient_authority_oid}|{context.patient_id}|{device.device_id}"
        digest = hashlib.sha256(name.encode()).digest()[:8]
        octets = bytes((digest[0] & 0xFC | 0x02,)) + digest[1:]
    return octets.hex("-").upper()


def phd_device(device: Device, context: MesContext) -> PhdDevice:
    """The device as a PhdDevice; what nobody knows is said to be "unknown", the model is then the local id."""
    system_id = system_identifier(device, context)
    identifiers = [_identifier("SYSID", f"urn:oid:{EUI64_OID}", system_id)]
    if device.address is not None and _EUI48.fullmatch(device.address):
        identifiers.append(_identifier("BTMAC", BTMAC_SYSTEM, device.address.replace(":", "-")))
    name = _text(device.display_name)
    firmware = _text(device.firmware)
    return PhdDevice(
        id=str(uuid.uuid5(NAMESPACE, f"device|{system_id}")),
        meta=Meta(profile=(PHD_DEVICE_PROFILE,)),
        identifier=tuple(identifiers),
        manufacturer=_text(device.manufacturer) or "unknown",
        serialNumber=_text(device.serial),
        deviceName=(DeviceName(name=name, type="patient-reported-name"),) if name else (),
        modelNumber=_text(device.model) or str(device.device_id),
        type=_mdc(MDC_PHD_TYPE),
        specialization=(DeviceSpecialization(systemType=_mdc(SPECIALISATION[device.kind]), version="1"),),
        version=(DeviceVersion(type=_mdc(MDC_FIRMWARE), value=firmware),) if firmware else (),
    )


def device_entry(resource: PhdDevice, system_id: str) -> BundleEntry:
    """The transaction entry that creates the device unless the space has it already."""
    return BundleEntry(
        fullUrl=f"urn:uuid:{resource.id}",
        resource=resource,
        request=BundleRequest(
            method="POST",
            url="Device",
            ifNoneExist=f"identifier=urn:oid:{EUI64_OID}|{system_id}",
        ),
    )


def _identifier(kind: str, system: str, value: str) -> Identifier:
    code = CodeableConcept(coding=(Coding(system=CONTINUA_IDENTIFIERS, code=kind),))
    return Identifier(type=code, system=system, value=value)


def _mdc(code: str) -> CodeableConcept:
    return CodeableConcept(coding=(Coding(system=MDC, code=code),))


def _text(text: str | None) -> str | None:
    """`text` fit for a FHIR string: printable, single spaces, at most 64 characters; None when nothing is left."""
    if text is None:
        return None
    printable = "".join(character if character.isprintable() else " " for character in text)
    return " ".join(printable.split())[:_MAX_TEXT].strip() or None
