"""Our pairing agent: who answers when BlueZ asks for digits, for a yes, or for leave.

It answers for the one device that a person is pairing at this moment, and refuses everything else. It is registered on
the connection that also asks BlueZ to pair: BlueZ asks the agent of whoever called `Device1.Pair`, and only for what a
device begins by itself the one that took the default role last.

Source: BlueZ `doc/org.bluez.Agent.rst`, `doc/org.bluez.AgentManager.rst`.
"""

# no deferred annotations here: dbus-fast reads them, and takes the text "None" for a signature
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Final, TypeVar

import structlog
from dbus_fast.annotations import DBusObjectPath, DBusStr, DBusUInt16, DBusUInt32
from dbus_fast.errors import DBusError
from dbus_fast.service import ServiceInterface, dbus_method

from gateway.adapters.sources.bluetooth.bluez.bus import BLUEZ, Bluez
from gateway.errors import PairingFailed
from gateway.ports import PairingQuestions

__all__ = ["AGENT_PATH", "Agent"]

AGENT_PATH: Final = "/org/passerelle/agent"
_CAPABILITY: Final = "KeyboardDisplay"
_MANAGER: Final = "org.bluez.AgentManager1"
_MANAGER_PATH: Final = "/org/bluez"
_REJECTED: Final = "org.bluez.Error.Rejected"
_MOST: Final = 999_999
T = TypeVar("T")
log = structlog.get_logger()


class Agent:
    """Answers for at most one device.

    Attributes:
        was_released: BlueZ has dropped the agent since it was last registered.
    """

    def __init__(self) -> None:
        self.was_released = False
        self._expected: tuple[str, PairingQuestions] | None = None
        self._interface = _Agent1(self)

    async def register(self, bluez: Bluez) -> None:
        """Make it known to BlueZ and the default. Raises as `Bluez.call`."""
        bluez.unexport(AGENT_PATH)
        bluez.export(AGENT_PATH, self._interface)
        self.was_released = False
        await bluez.call(_MANAGER_PATH, _MANAGER, "RegisterAgent", "os", AGENT_PATH, _CAPABILITY)
        await self.claim(bluez)

    async def claim(self, bluez: Bluez) -> None:
        """Take the default role, or take it back: BlueZ tells nobody when a program such as bluetoothctl took it."""
        await bluez.call(_MANAGER_PATH, _MANAGER, "RequestDefaultAgent", "o", AGENT_PATH)

    @contextmanager
    def answering(self, device_path: str, questions: PairingQuestions) -> Iterator[None]:
        """For the length of the block, pass what BlueZ asks about this device on to a person."""
        self._expected = (device_path, questions)
        try:
            yield
        finally:
            self._expected = None

    def questions_for(self, device_path: str, asked: str) -> PairingQuestions:
        """Raises DBusError (Rejected): nobody is pairing that device now."""
        if self._expected is None or self._expected[0] != device_path:
            log.warning("bluetooth.pairing_refused", asked=asked)
            raise DBusError(_REJECTED, "nobody is pairing this device now")
        return self._expected[1]


class _Agent1(ServiceInterface):
    """The D-Bus face of an agent."""

    def __init__(self, agent: Agent) -> None:
        super().__init__(f"{BLUEZ}.Agent1")
        self._agent = agent

    @dbus_method(name="Release")
    def release(self) -> None:
        """BlueZ has forgotten the agent."""
        self._agent.was_released = True

    @dbus_method(name="RequestPinCode")
    async def request_pin_code(self, device: DBusObjectPath) -> DBusStr:
        """For devices older than 2.1; ours answer with six digits all the same."""
        questions = self._agent.questions_for(device, "pin_code")
        return f"{await _answer(questions.passkey):06d}"

    @dbus_method(name="DisplayPinCode")
    def display_pin_code(self, device: DBusObjectPath, pincode: DBusStr) -> None:
        """The person types these digits on the device."""
        questions = self._agent.questions_for(device, "display_pin_code")
        if not (pincode.isascii() and pincode.isdigit() and len(pincode) <= 6):
            raise DBusError(_REJECTED, "not a code of six digits")
        questions.show(int(pincode))

    @dbus_method(name="RequestPasskey")
    async def request_passkey(self, device: DBusObjectPath) -> DBusUInt32:
        """The device shows six digits."""
        return await _answer(self._agent.questions_for(device, "passkey").passkey)

    @dbus_method(name="DisplayPasskey")
    def display_passkey(self, device: DBusObjectPath, passkey: DBusUInt32, entered: DBusUInt16) -> None:
        """The person types these digits on the device; called again for each that was typed."""
        questions = self._agent.questions_for(device, "display_passkey")
        if entered == 0:
            questions.show(min(passkey, _MOST))

    @dbus_method(name="RequestConfirmation")
    async def request_confirmation(self, device: DBusObjectPath, passkey: DBusUInt32) -> None:
        """Both show six digits."""
        questions = self._agent.questions_for(device, "confirmation")
        if not await _answer(lambda: questions.is_same(min(passkey, _MOST))):
            raise DBusError(_REJECTED, "the digits differ")

    @dbus_method(name="RequestAuthorization")
    def request_authorization(self, device: DBusObjectPath) -> None:
        """Pairing without any proof (Just Works)."""
        if not self._agent.questions_for(device, "authorization").allows_unproven():
            raise DBusError(_REJECTED, "this device must prove who it is")

    @dbus_method(name="AuthorizeService")
    def authorize_service(self, device: DBusObjectPath, uuid: DBusStr) -> None:
        """A device wants to use a service of ours: we have none to offer."""
        del uuid
        self._agent.questions_for(device, "service")
        raise DBusError(_REJECTED, "the gateway offers no services")

    @dbus_method(name="Cancel")
    def cancel(self) -> None:
        """BlueZ no longer waits for the answer to its question; what it calls `Pair` with tells why."""


async def _answer(ask: Callable[[], Awaitable[T]]) -> T:
    try:
        return await ask()
    except PairingFailed as failure:
        raise DBusError(_REJECTED, "the person did not answer") from failure
