"""One MQTT connection: asyncio moves the bytes, paho speaks the protocol, messages come in groups.

asyncio reads whatever has arrived; each PUBLISH of it is decoded here, every other packet is given to paho from memory,
and what is to be said leaves in one write: one wake-up, one group of messages, one group of acknowledgements. A
connection lives once; after its loss a new one is opened and the broker's session brings back what was not
acknowledged.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable, Sequence
from typing import Any, cast

from paho.mqtt.client import Client, ConnectFlags, DisconnectFlags
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from gateway.adapters.sources.mqtt.packets import PUBLISH, Inbox, Publish, encode_pubacks, parse_publish
from gateway.errors import ConfigurationError, MalformedFrame, TransientError
from gateway.settings import MqttSettings, read_secret

__all__ = ["Deliver", "MqttConnection", "MqttUnavailable"]

CONNECT_TIMEOUT_S = 10.0
_CLOSE_TIMEOUT_S = 2.0
_TICK_S = 1.0
_PINGREQ = b"\xc0\x00"
_LARGEST_PACKET = 16 * 1024 * 1024
_NEEDS_A_PERSON = frozenset({132, 133, 134, 135, 138, 140, 142})
"""Unsupported version, client id not valid, bad credentials, not authorised, banned, bad method, session taken over."""

Deliver = Callable[["MqttConnection", list[Publish]], None]


class MqttUnavailable(TransientError):
    """No connection, or no longer one.

    Attributes:
        needs_attention: a person has to change something (credentials, certificate, a second gateway with our client
            id); retrying fast cannot help.
    """

    def __init__(self, message: str, *, needs_attention: bool = False) -> None:
        super().__init__(message)
        self.needs_attention = needs_attention


class _MemorySocket:
    """What paho takes for its socket: bytes in from the transport, bytes out in one piece."""

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._received = b""
        self._position = 0
        self._outgoing = bytearray()
        self.at_end = False

    def feed(self, data: bytes) -> None:
        self._received = data
        self._position = 0

    def recv(self, buffer_size: int) -> bytes:
        start = self._position
        chunk = self._received[start : start + buffer_size]
        if not chunk and not self.at_end:
            raise BlockingIOError
        self._position = start + len(chunk)
        return chunk

    def send(self, buffer: bytes | bytearray) -> int:
        self._outgoing += buffer
        return len(buffer)

    def flush(self) -> None:
        if self._outgoing and not self._transport.is_closing():
            self._transport.write(bytes(self._outgoing))
            self._outgoing.clear()

    def close(self) -> None:
        self.flush()
        self._transport.close()

    def fileno(self) -> int:
        return -1

    def setblocking(self, flag: bool) -> None:
        """Nothing to do: memory never blocks."""


class _MemoryClient(Client):
    """paho with the connection made for it.

    `_create_socket` is where paho itself wraps TLS and WebSockets; replacing it is the one place where we reach into
    the library, and a test names it so that an upgrade that moves it is noticed.
    """

    memory: _MemorySocket

    def _create_socket(self) -> _MemorySocket:
        return self.memory


class MqttConnection(asyncio.Protocol):
    """A connection from CONNECT to its loss. Use `open`, then `serve`.

    Attributes:
        session_present: the broker had kept our session.
        began_at: when it said so, by the loop's clock; None before.
    """

    def __init__(self, settings: MqttSettings, deliver: Deliver) -> None:
        self._settings = settings
        self._deliver = deliver
        self._inbox = Inbox()
        self._messages: list[Publish] = []
        self._transport: asyncio.Transport | None = None
        self._memory: _MemorySocket | None = None
        self._lost = asyncio.Event()
        self._connected: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._subscribed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._loss: MqttUnavailable | None = None
        self._is_paused = False
        self._pinged_at = 0.0
        self.session_present = False
        self.began_at: float | None = None
        self._client = self._build_client()

    @classmethod
    async def open(cls, settings: MqttSettings, topics: Sequence[str], deliver: Deliver) -> MqttConnection:
        """Connect, resume or begin the persistent session, subscribe to `topics` with QoS 1.

        Args:
            deliver: called with the messages of each wake-up; messages may come before this method returns.

        Raises:
            MqttUnavailable: not reachable, refused, or the certificate is not the right one.
            ConfigurationError: a secret or certificate file cannot be used.
        """
        connection = cls(settings, deliver)
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                await connection._connect()
                await connection._subscribe(topics)
        except TimeoutError:
            connection.abort()
            raise MqttUnavailable("the broker does not answer") from None
        except BaseException:
            connection.abort()
            raise
        return connection

    def acknowledge(self, mids: Sequence[int]) -> bool:
        """Send the PUBACKs of these messages in one write; False when the connection is gone (they will come again)."""
        if self._lost.is_set() or self._memory is None:
            return False
        self._memory.send(encode_pubacks(mids))
        self._flush()
        return True

    async def serve(self) -> None:
        """Keep the connection alive until it is lost.

        Raises:
            MqttUnavailable: always, with the reason of the loss.
        """
        while not self._lost.is_set():
            try:
                async with asyncio.timeout(_TICK_S):
                    await self._lost.wait()
            except TimeoutError:
                if self._is_paused:
                    self._stay_alive_unread()
                else:
                    self._client.loop_misc()
                self._flush()
        raise self._loss or MqttUnavailable("the connection was lost")

    def pause(self) -> None:
        """Take nothing more from the network; the broker feels it through TCP.

        Needed although MQTT has a receive maximum: mosquitto 2.0 passes it by once a long queue begins to drain, and
        MQTT 3.1.1 has none.
        """
        if not self._is_paused and self._transport is not None and not self._transport.is_closing():
            self._is_paused = True
            self._transport.pause_reading()
            if not self._subscribed.done():  # messages flow already; the answer waits behind them
                self._subscribed.set_result(None)

    def resume(self) -> bool:
        """Go on after `pause`; whether it was paused."""
        if not self._is_paused or self._transport is None:
            return False
        self._is_paused = False
        if not self._transport.is_closing():
            self._transport.resume_reading()
            asyncio.get_running_loop().call_soon(self._drain)
        return True

    def _stay_alive_unread(self) -> None:
        """PINGREQ past paho, which would wait for an answer that we do not read now."""
        now = asyncio.get_running_loop().time()
        if self._memory is not None and now - self._pinged_at >= self._settings.keepalive_s / 2:
            self._pinged_at = now
            self._memory.send(_PINGREQ)

    def abort(self) -> None:
        """Drop the connection at once, as a crash would."""
        if self._transport is not None:
            self._transport.abort()

    async def close(self) -> None:
        """Say goodbye and wait for the end; the session stays with the broker."""
        if self._transport is None:
            return
        if not self._lost.is_set():
            self._client.disconnect()
            self._flush()
        try:
            async with asyncio.timeout(_CLOSE_TIMEOUT_S):
                await self._lost.wait()
        except TimeoutError:
            self.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """asyncio: TCP (and TLS) are up; CONNECT goes out."""
        self._transport = cast("asyncio.Transport", transport)
        self._memory = self._client.memory = _MemorySocket(self._transport)
        self._client.reconnect()
        self._flush()

    def data_received(self, data: bytes) -> None:
        """asyncio: bytes came; every complete packet in them is handled now."""
        self._inbox.feed(data)
        self._drain()

    def connection_lost(self, exc: Exception | None) -> None:
        """asyncio: the end, whoever wanted it."""
        if self._memory is not None:
            self._memory.at_end = True
            self._client.loop_read()
        self._fail(MqttUnavailable("the connection was lost"))
        self._lost.set()

    def _drain(self) -> None:
        """Handle the packets that have arrived, until nothing complete is left or `pause` was called."""
        take, most = self._inbox.take, self._settings.receive_maximum
        has_properties = self._settings.protocol == "5"
        messages = self._messages
        try:
            while not self._is_paused and (packet := take()) is not None:
                data, start, body, end = packet
                if data[start] & 0xF0 == PUBLISH:
                    messages.append(parse_publish(data, start, body, end, has_properties=has_properties))
                    if len(messages) >= most:
                        self._hand_over()
                        messages = self._messages
                elif not self._leave_to_paho(data[start:end]):
                    break
        except MalformedFrame as error:
            self._fail(MqttUnavailable(f"the broker does not speak MQTT: {error}"))
            self.abort()
        self._flush()
        self._hand_over()

    def _leave_to_paho(self, packet: bytes) -> bool:
        if self._memory is None:
            return False
        self._memory.feed(packet)
        return self._client.loop_read() is MQTTErrorCode.MQTT_ERR_SUCCESS

    def _hand_over(self) -> None:
        if self._messages:
            messages, self._messages = self._messages, []
            self._deliver(self, messages)

    async def _connect(self) -> None:
        settings = self._settings
        context = await asyncio.to_thread(_prepare, self._client, settings)
        try:
            await asyncio.get_running_loop().create_connection(
                lambda: self,
                settings.host,
                settings.port,
                ssl=context,
                server_hostname=None if context is None else settings.host,
            )
        except ssl.SSLCertVerificationError as error:
            raise MqttUnavailable(
                f"the broker's certificate was refused: {error.verify_message}", needs_attention=True
            ) from error
        except ssl.SSLError as error:
            raise MqttUnavailable(f"no TLS with the broker: {error.reason}", needs_attention=True) from error
        except OSError as error:
            raise MqttUnavailable(f"the broker cannot be reached: {error.strerror or 'no address'}") from error
        await self._connected

    async def _subscribe(self, topics: Sequence[str]) -> None:
        if self._settings.protocol == "5":
            # retained messages only when the subscription is new, not at every reconnection
            options = SubscribeOptions(qos=1, retainHandling=SubscribeOptions.RETAIN_SEND_IF_NEW_SUB)
            self._client.subscribe([(topic, options) for topic in topics])
        else:
            self._client.subscribe([(topic, 1) for topic in topics])
        self._flush()
        await self._subscribed

    def _build_client(self) -> _MemoryClient:
        settings = self._settings
        is_v5 = settings.protocol == "5"
        client = _MemoryClient(
            CallbackAPIVersion.VERSION2,
            client_id=settings.client_id,
            clean_session=None if is_v5 else False,
            protocol=MQTTProtocolVersion.MQTTv5 if is_v5 else MQTTProtocolVersion.MQTTv311,
            reconnect_on_failure=False,
        )
        if is_v5:
            properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
            properties.SessionExpiryInterval = settings.session_expiry_s
            properties.ReceiveMaximum = settings.receive_maximum
            properties.MaximumPacketSize = _LARGEST_PACKET
            client.connect_async(
                settings.host, settings.port, settings.keepalive_s, clean_start=False, properties=properties
            )
        else:
            client.connect_async(settings.host, settings.port, settings.keepalive_s)
        client.on_connect = self._on_connect
        client.on_subscribe = self._on_subscribe
        client.on_disconnect = self._on_disconnect
        client.on_socket_register_write = _nothing  # queue only: `_flush` writes everything at once
        return client

    def _flush(self) -> None:
        if self._client.want_write():
            self._client.loop_write()
        if self._memory is not None:
            self._memory.flush()

    def _fail(self, loss: MqttUnavailable) -> None:
        if self._loss is None:
            self._loss = loss
        for future in (self._connected, self._subscribed):
            if not future.done():
                future.set_exception(self._loss)
                future.exception()  # seen: only one of the two is ever awaited

    def _on_connect(
        self, _client: Client, _userdata: Any, flags: ConnectFlags, reason: ReasonCode, _properties: Properties | None
    ) -> None:
        if reason.is_failure:
            needs = reason.value in _NEEDS_A_PERSON
            self._fail(MqttUnavailable(f"the broker refused the connection: {reason}", needs_attention=needs))
        elif not self._connected.done():
            self.session_present = flags.session_present
            self.began_at = asyncio.get_running_loop().time()
            self._connected.set_result(None)

    def _on_subscribe(
        self,
        _client: Client,
        _userdata: Any,
        _mid: int,
        reasons: list[ReasonCode],
        _properties: Properties | None,
    ) -> None:
        refused = [reason for reason in reasons if reason.is_failure]
        if refused:
            self._fail(MqttUnavailable(f"the broker refused a subscription: {refused[0]}", needs_attention=True))
            self.abort()
        elif not self._subscribed.done():
            self._subscribed.set_result(None)

    def _on_disconnect(
        self,
        _client: Client,
        _userdata: Any,
        flags: DisconnectFlags,
        reason: ReasonCode,
        _properties: Properties | None,
    ) -> None:
        who = "the broker ended the connection" if flags.is_disconnect_packet_from_server else "the connection was lost"
        self._fail(MqttUnavailable(f"{who}: {reason}", needs_attention=reason.value in _NEEDS_A_PERSON))


def _nothing(_client: Client, _userdata: Any, _socket: object) -> None:
    """Leave the packet in paho's queue."""


def _prepare(client: Client, settings: MqttSettings) -> ssl.SSLContext | None:
    """Read the secret files (again at each connection: they may have been rotated)."""
    if settings.username is not None:
        password = None if settings.password_file is None else read_secret(settings.password_file).get_secret_value()
        client.username_pw_set(settings.username, password)
    if not settings.tls:
        return None
    try:
        context = ssl.create_default_context(cafile=settings.ca_file)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if settings.cert_file is not None:
            context.load_cert_chain(settings.cert_file, settings.key_file)
    except (OSError, ssl.SSLError) as error:
        raise ConfigurationError([("mqtt", "ca_file, cert_file or key_file cannot be used")]) from error
    return context
