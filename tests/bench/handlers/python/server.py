"""The same handler without a platform: `uvicorn server:application`."""

import json
from typing import Any

from app import handler  # type: ignore[import-not-found]  # its own folder is the path

HEADERS = [(b"content-type", b"application/json")]


async def application(scope: Any, receive: Any, send: Any) -> None:
    body = b""
    while True:
        message = await receive()
        body += message.get("body", b"")
        if not message.get("more_body"):
            break
    answer = json.dumps(handler(json.loads(body), None), separators=(",", ":")).encode()
    length = (b"content-length", b"%d" % len(answer))
    await send({"type": "http.response.start", "status": 200, "headers": [*HEADERS, length]})
    await send({"type": "http.response.body", "body": answer})
