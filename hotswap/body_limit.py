"""A bound on request bodies, before Django spools them to disk."""

import json
from typing import Final

from hotswap.core import ids
from hotswap.core.errors import PayloadTooLarge
from hotswap.core.limits import MIB, PACKAGE_MAX_BYTES
from hotswap.forward import App, Message, Receive, Scope, Send

UPLOAD_MAX_BYTES: Final = PACKAGE_MAX_BYTES * 4 // 3 + 2 * MIB  # base64 in JSON, and its frame
OTHER_MAX_BYTES: Final = 64 * MIB  # a report of a gateway, a file of logs
_UPLOADS: Final = "/api/v1/functions"


class BodyLimit:
    """ASGI application: answers 413 as soon as a body passes its bound."""

    def __init__(self, app: App) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        limit = UPLOAD_MAX_BYTES if scope["path"].startswith(_UPLOADS) else OTHER_MAX_BYTES
        if _announced(scope) > limit:
            await _refuse(send, limit)
            return
        seen = 0

        async def bounded() -> Message:
            nonlocal seen
            message = await receive()
            seen += len(message.get("body", b""))
            if seen > limit:
                await _refuse(send, limit)
                return {"type": "http.disconnect"}  # Django stops without an answer of its own
            return message

        await self._app(scope, bounded, send)


def _announced(scope: Scope) -> int:
    length = dict(scope["headers"]).get(b"content-length", b"0")
    return int(length) if length.isdigit() else 0


async def _refuse(send: Send, limit: int) -> None:
    error = PayloadTooLarge(f"The request may have at most {limit:,} bytes.")
    body = json.dumps({**error.problem(), "instance": ids.request_id()}).encode()
    headers = [(b"content-type", b"application/problem+json"), (b"connection", b"close")]
    await send({"type": "http.response.start", "status": error.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
