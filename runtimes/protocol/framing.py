"""The frame that gateway, runner and instances speak. Standard library only.

    u32 length   of everything after these four bytes
    u8  type     FrameType
    u8  flags    FLAG_*
    u16 header   length of the header
    u32 stream   which invocation this frame belongs to; 0 for the link itself
    header       a short JSON array, UTF-8; its fields are named in docs/runtime-contract.md
    body         the payload, untouched

All integers are little endian. Every language reads a header with its own standard
library, and a payload is never parsed or copied into an envelope on its way.
"""

import struct
from enum import IntEnum
from typing import Final

PROTOCOL_VERSION: Final = 1
PREFIX: Final = struct.Struct("<IBBHI")
PREFIX_BYTES: Final = PREFIX.size  # 12
LENGTH_BYTES: Final = 4
MAX_FRAME_BYTES: Final = 8 * 1024 * 1024  # above the 6 MiB payload limit, below mischief
FLAG_STREAM: Final = 1  # on INVOKE: the caller wants chunks


class FrameType(IntEnum):
    """What a frame says. Numbers are the wire; never reuse one."""

    HELLO = 0
    INIT = 1
    READY = 2
    INIT_ERROR = 3
    INVOKE = 4
    REPLY = 5
    BEGIN = 6  # a streamed reply starts: status, content type
    CHUNK = 7
    END = 8
    ERROR = 9
    CANCEL = 10
    CREDIT = 11  # the reader of a stream took n bytes
    LOG = 12
    SHUTDOWN = 13
    PING = 14
    PONG = 15


def encode(kind: int, stream: int, header: bytes = b"", body: bytes = b"", flags: int = 0) -> bytes:
    """One frame as bytes. `header` is encoded JSON or empty."""
    prefix = PREFIX.pack(8 + len(header) + len(body), kind, flags, len(header), stream)
    return b"".join((prefix, header, body))
