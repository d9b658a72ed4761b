"""`[nightscout]`: the listener that phone apps upload to, as if it were a Nightscout site."""

from __future__ import annotations

from pathlib import Path
from typing import Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

__all__ = ["NightscoutSettings"]

_LOCAL_HOSTS: Final = frozenset({"localhost", "127.0.0.1", "::1"})


class NightscoutSettings(BaseModel):
    """`[nightscout]`"""

    model_config = ConfigDict(extra="forbid", frozen=True)

    enabled: bool = False
    host: str = Field(default="127.0.0.1", min_length=1, description="Address to listen on.")
    port: int = Field(default=1337, ge=0, le=65535)
    cert_file: Path | None = Field(default=None, description="Certificate (PEM, with its chain), for TLS.")
    key_file: Path | None = Field(default=None, description="Its key; mode 0600.")
    plaintext: Literal["refuse", "private_network"] = Field(
        default="refuse",
        description="Without a certificate: listen to this machine only, or to the private addresses of a house.",
    )
    max_body_bytes: int = Field(
        default=2_097_152, ge=65_536, le=67_108_864, description="Longer uploads are refused with 413."
    )
    answered_days: int = Field(default=90, ge=1, le=3650, description="How far back followers are told entries.")
    document_days: int = Field(
        default=90, ge=1, le=3650, description="How long treatments, device states and the like are kept."
    )
    documents_per_kind: int = Field(
        default=20_000, ge=100, le=1_000_000, description="Of each person; above it the oldest go."
    )
    max_document_bytes: int = Field(default=65_536, ge=1024, le=1_048_576, description="Longer documents are refused.")
    request_timeout_s: float = Field(
        default=30.0, gt=0, le=600, description="Time that a client has for the head, and for the body, of a request."
    )
    connections: int = Field(
        default=100,
        ge=1,
        le=10_000,
        description="Open connections at once, half of them from one address; more are closed.",
    )

    @model_validator(mode="after")
    def _tls_unless_local(self) -> Self:
        if (self.cert_file is None) != (self.key_file is None):
            raise ValueError("cert_file and key_file go together")
        is_reachable = self.host not in _LOCAL_HOSTS
        if self.enabled and is_reachable and self.cert_file is None and self.plaintext == "refuse":
            raise ValueError(
                f"host {self.host!r} takes secrets and glucose from other machines: give cert_file and key_file, or"
                ' write plaintext = "private_network" if everybody in that network may read along'
            )
        return self
