"""A runner's half of the runtime protocol, just enough to call a function in a cell."""

import asyncio
import json
import socket
import time
from pathlib import Path
from typing import Any

from runners.backends.base import Cell, CellLimits
from runtimes.protocol.framing import LENGTH_BYTES, PREFIX, FrameType, encode

FUNCTIONS = Path(__file__).parent / "functions"
LIMITS = CellLimits(memory_mib=128, cpu_weight=74, cpu_cores=1.0)


class Ended(Exception):
    """The other side hung up."""


class Conversation:
    """Speaks frames on a cell's control socket."""

    def __init__(self, control: socket.socket) -> None:
        self._control = control
        self._received = bytearray()
        self._stream = 0

    async def hello(self) -> list[Any]:
        kind, header, _ = await self._frame()
        assert kind == FrameType.HELLO
        return header

    async def init(self, code: str, handler: str = "probe.handler") -> None:
        document = {
            "function": "probe", "version": 1, "handler": handler, "code": code,
            "environment": {"SECRET": "only-in-init"}, "memoryMib": 128, "timeoutMs": 30_000,
            "instance": "i", "logStream": "s", "concurrency": 1,
        }  # fmt: skip
        await self._send(encode(FrameType.INIT, 0, b"", json.dumps(document).encode()))
        kind, _, body = await self._frame()
        assert kind == FrameType.READY, body

    async def call(self, action: str, **arguments: object) -> Any:
        """What the function's `action` returned; raises Ended when it died of it."""
        self._stream += 1
        deadline = int(time.time() * 1000) + 30_000
        header = json.dumps(["r", deadline, "", "application/json", ""]).encode()
        body = json.dumps({"action": action, **arguments}).encode()
        await self._send(encode(FrameType.INVOKE, self._stream, header, body))
        while True:
            kind, _, reply = await self._frame()
            if kind == FrameType.REPLY:
                return json.loads(reply)
            assert kind == FrameType.LOG, reply

    async def _send(self, data: bytes) -> None:
        try:
            await asyncio.get_running_loop().sock_sendall(self._control, data)
        except OSError as exc:
            raise Ended from exc

    async def _frame(self) -> tuple[int, list[Any], bytes]:
        prefix = await self._exactly(PREFIX.size)
        length, kind, _, header_length, _ = PREFIX.unpack(prefix)
        rest = await self._exactly(length + LENGTH_BYTES - PREFIX.size)
        header = json.loads(rest[:header_length]) if header_length else []
        return kind, header, rest[header_length:]

    async def _exactly(self, count: int) -> bytes:
        while len(self._received) < count:
            try:
                data = await asyncio.get_running_loop().sock_recv(self._control, 65_536)
            except OSError as exc:
                raise Ended from exc
            if not data:
                raise Ended
            self._received += data
        taken = bytes(self._received[:count])
        del self._received[:count]
        return taken


async def talk_to(cell: Cell, code: Path, limits: CellLimits = LIMITS) -> Conversation:
    """Adopt a fresh cell with `code` and load it."""
    conversation = Conversation(cell.control)
    await conversation.hello()
    await conversation.init(await cell.adopt(code, limits))
    return conversation
