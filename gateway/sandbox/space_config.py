"""What the sandbox space is told at the start."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

__all__ = ["SandboxAccount", "SandboxConfig"]


@dataclass(frozen=True, slots=True)
class SandboxAccount:
    """A paired patient.

    Attributes:
        client_id, client_secret: what the token endpoint asks for.
        patient_id: the patient's id in the space (idPe).
        solution_oid: the solution that the account's token names; None: the right one.
        can_write, can_read: the patient's consent per direction.
        is_paired: False after the patient desynchronised the service.
    """

    client_id: str
    client_secret: str = field(repr=False)
    patient_id: str
    solution_oid: str | None = None
    can_write: bool = True
    can_read: bool = True
    is_paired: bool = True


@dataclass(frozen=True, slots=True)
class SandboxConfig:
    """What the space knows from the start.

    Attributes:
        solution_oid: the referenced solution, dotted.
        patient_authority_oid: whose patient ids they are, dotted (AssignAuth).
        accounts: the paired patients, one client each.
        path: file that keeps what was stored; None: memory only.
        token_lifetime_s: life of an access token.
    """

    solution_oid: str
    patient_authority_oid: str
    accounts: tuple[SandboxAccount, ...]
    path: Path | None = None
    token_lifetime_s: int = 300
