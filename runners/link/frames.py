"""Frames over an asyncio transport: the one parser of gateway, runner and instances' sockets."""

import asyncio
from typing import Any, cast

import msgspec

from runtimes.protocol.framing import MAX_FRAME_BYTES, PREFIX, PREFIX_BYTES

_unpack = PREFIX.unpack_from
_pack = PREFIX.pack
_encoder = msgspec.json.Encoder()
encode_json = _encoder.encode
decode_json = msgspec.json.Decoder(list[Any]).decode


class FrameProtocol(asyncio.Protocol):
    """Cuts the byte stream into frames and hands each to `on_frame`.

    A frame that lies about its sizes goes to `on_violation` once; the rest of the stream is
    dropped, because nothing after it can be trusted.
    """

    __slots__ = ("_have", "_need", "_parts", "transport")

    def __init__(self) -> None:
        self.transport: asyncio.Transport | None = None
        self._parts: list[bytes] = []
        self._have = 0
        self._need = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's is one by behaviour

    def connection_lost(self, exc: Exception | None) -> None:
        self.transport = None
        self._parts.clear()

    def data_received(self, data: bytes) -> None:
        if self._have:
            # Long frames are collected in pieces and joined once: no quadratic copying.
            self._parts.append(data)
            self._have += len(data)
            if self._have < self._need:
                return
            data = b"".join(self._parts)
            self._parts.clear()
            self._have = 0
        offset, size, need = 0, len(data), PREFIX_BYTES
        while size - offset >= PREFIX_BYTES:
            length, kind, flags, header_size, stream = _unpack(data, offset)
            if not 8 + header_size <= length <= MAX_FRAME_BYTES:
                self._refuse(f"a frame of {length} bytes with a header of {header_size}")
                return
            end = offset + 4 + length
            if end > size:
                need = end - offset
                break
            start = offset + PREFIX_BYTES
            body = start + header_size
            self.on_frame(kind, flags, stream, data[start:body], data[body:end])
            offset = end
        if offset < size:
            self._parts.append(data[offset:] if offset else data)
            self._have = size - offset
            self._need = need

    def _refuse(self, what: str) -> None:
        self._parts.clear()
        self._have = 0
        self.on_violation(what)

    def send(
        self, kind: int, stream: int, header: bytes = b"", body: bytes = b"", flags: int = 0
    ) -> None:
        """Write one frame; a no-op on a closed connection."""
        transport = self.transport
        if transport is None:
            return
        size = len(header)
        prefix = _pack(8 + size + len(body), kind, flags, size, stream)
        if len(body) > 65_536:
            transport.writelines((prefix + header, body))
        else:
            transport.write(prefix + header + body)

    def close(self) -> None:
        """Drop the connection now; `connection_lost` follows."""
        if self.transport is not None:
            self.transport.abort()

    def on_frame(self, kind: int, flags: int, stream: int, header: bytes, body: bytes) -> None:
        """One whole frame. Called on the event loop; must not block."""
        raise NotImplementedError

    def on_violation(self, what: str) -> None:
        """The peer broke the protocol; the connection is dropped."""
        self.close()
