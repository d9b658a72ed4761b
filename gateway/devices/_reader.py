"""A cursor over the octets of one frame: little-endian, bounded, and failing in one way only."""

from __future__ import annotations

import builtins

from gateway.errors import MalformedFrame

__all__ = ["FrameReader"]


class FrameReader:
    """Takes fields off the front of `frame`, multi-octet integers in little-endian order.

    Every method raises MalformedFrame, naming `what`, when the frame ends too early; nothing else is ever raised.

    Args:
        frame: the octets; any length.
        what: name of the characteristic, for messages.
    """

    __slots__ = ("_frame", "_position", "_what")

    def __init__(self, frame: builtins.bytes, what: str) -> None:
        self._frame = bytes(frame)
        self._position = 0
        self._what = what

    @property
    def remaining(self) -> int:
        """Octets not taken yet."""
        return len(self._frame) - self._position

    def bytes(self, count: int) -> builtins.bytes:
        """The next `count` octets, count >= 0."""
        end = self._position + count
        if count < 0 or end > len(self._frame):
            raise MalformedFrame(f"{self._what}: ends after {len(self._frame)} octets, {end} are needed")
        taken = self._frame[self._position : end]
        self._position = end
        return taken

    def rest(self) -> builtins.bytes:
        """Every octet left, possibly none."""
        return self.bytes(self.remaining)

    def u8(self) -> int:
        """Unsigned, 0..255."""
        return self._unsigned(1)

    def s8(self) -> int:
        """Signed, -128..127."""
        return self._signed(1)

    def u16(self) -> int:
        """Unsigned, 0..65535."""
        return self._unsigned(2)

    def s16(self) -> int:
        """Signed, -32768..32767."""
        return self._signed(2)

    def u24(self) -> int:
        """Unsigned, 0..2**24-1."""
        return self._unsigned(3)

    def u32(self) -> int:
        """Unsigned, 0..2**32-1."""
        return self._unsigned(4)

    def finish(self) -> None:
        """Check that nothing is left: more octets than the flags explain are of unknown meaning.

        Raises:
            MalformedFrame: octets are left.
        """
        if self.remaining:
            raise MalformedFrame(f"{self._what}: {self.remaining} octets more than its flags explain")

    def _unsigned(self, count: int) -> int:
        return int.from_bytes(self.bytes(count), "little")

    def _signed(self, count: int) -> int:
        return int.from_bytes(self.bytes(count), "little", signed=True)
