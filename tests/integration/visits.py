"""A visit by websocket in slow motion: the test is the server between it and the visitor."""

import asyncio
import json
from typing import Any

from hotswap.access.visits import Socket


class Visit:
    """Drives the ASGI application as a server would."""

    def __init__(
        self, socket: Socket, *headers: tuple[bytes, bytes], query: bytes = b"", **kwargs: str
    ) -> None:
        """Connect.

        Args:
            kwargs: what the address names.
        """
        self.scope = {
            "type": "websocket",
            "headers": list(headers),
            "query_string": query,
            "url_route": {"kwargs": kwargs},
        }
        self.incoming: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.outgoing: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.incoming.put_nowait({"type": "websocket.connect"})
        self.task = asyncio.create_task(socket(self.scope, self.incoming.get, self._send))  # type: ignore[arg-type]  # a coroutine in fact

    async def _send(self, message: dict[str, Any]) -> None:
        await self.outgoing.put(message)

    async def said(self, kind: str) -> dict[str, Any]:
        """The next message of this type."""
        async with asyncio.timeout(20):
            while True:
                event = await self.outgoing.get()
                message: dict[str, Any] = json.loads(event.get("text", "{}"))
                if kind in (event["type"], message.get("type")):
                    return message or event

    async def heard_nothing(self, kind: str, seconds: float) -> bool:
        """Whether no message of this type comes for so long."""
        try:
            async with asyncio.timeout(seconds):
                while True:
                    event = await self.outgoing.get()
                    if json.loads(event.get("text", "{}")).get("type") == kind:
                        return False
        except TimeoutError:
            return True

    async def leave(self) -> None:
        """Close the page."""
        self.incoming.put_nowait({"type": "websocket.disconnect", "code": 1001})
        await asyncio.wait_for(self.task, 10)


def bearer(token: str) -> tuple[bytes, bytes]:
    """The header of a program."""
    return (b"authorization", f"Bearer {token}".encode())
