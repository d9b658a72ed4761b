"""What every test needs."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import structlog
from hypothesis import settings

settings.register_profile("passerelle", deadline=None)  # how long an example takes says how busy the machine is
settings.load_profile("passerelle")


@pytest.fixture(autouse=True)
def _logging_as_found() -> Iterator[None]:
    """A command configures the process's logging; the next test finds it as it was."""
    before = structlog.get_config()
    yield
    structlog.configure(**before)
