"""Invocations through the web server reach the gateway as streams."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import pytest

from hotswap.body_limit import OTHER_MAX_BYTES, BodyLimit
from hotswap.forward import Forwarder
from hotswap.supervisor.ports import free_port

PATH = "/api/v1/functions/thumbs/invoke"


class Gateway:
    """A small HTTP server in the gateway's place; `answer` decides what it does."""

    def __init__(self, answer) -> None:
        self._answer = answer
        self.requests: list[bytes] = []
        self.hung_up = asyncio.Event()

    async def __call__(self, reader, writer) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        body = await self._body(head, reader)
        self.requests.append(head + body)
        try:
            await self._answer(reader, writer)
        except ConnectionError:
            self.hung_up.set()
        finally:
            writer.close()

    async def _body(self, head, reader) -> bytes:
        if b"content-length" in head.lower():
            length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
            return await reader.readexactly(length)
        body = b""
        while (size := int(await reader.readline(), 16)) > 0:
            body += await reader.readexactly(size)
            await reader.readline()
        await reader.readline()
        return body


@contextlib.asynccontextmanager
async def served(answer) -> AsyncIterator[tuple[Gateway, str]]:
    gateway, port = Gateway(answer), free_port()
    server = await asyncio.start_server(gateway, "127.0.0.1", port)
    async with server:
        yield gateway, f"http://127.0.0.1:{port}"


async def no_django(scope, receive, send) -> None:
    await send({"type": "http.response.start", "status": 204, "headers": []})
    await send({"type": "http.response.body"})


class Call:
    """One ASGI call whose messages the test sees."""

    def __init__(self, app, path=PATH, headers=(), body=(b"",)) -> None:
        self.sent: asyncio.Queue[Any] = asyncio.Queue()
        self._inbox: asyncio.Queue[Any] = asyncio.Queue()
        for n, chunk in enumerate(body):
            more = n < len(body) - 1
            self._inbox.put_nowait({"type": "http.request", "body": chunk, "more_body": more})
        scope = {
            "type": "http",
            "method": "POST",
            "path": path,
            "raw_path": path.encode(),
            "query_string": b"alias=dev",
            "headers": list(headers),
        }
        self.task = asyncio.create_task(app(scope, self._inbox.get, self.sent.put))

    def hang_up(self) -> None:
        self._inbox.put_nowait({"type": "http.disconnect"})

    async def answer(self) -> tuple[int, dict[bytes, bytes], bytes]:
        await asyncio.wait_for(self.task, 10)
        messages = [self.sent.get_nowait() for _ in range(self.sent.qsize())]
        body = b"".join(message.get("body", b"") for message in messages[1:])
        return messages[0]["status"], dict(messages[0]["headers"]), body


async def short(reader, writer) -> None:
    writer.write(
        b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\nset-cookie: session=stolen\r\n"
        b"x-hotswap-version: v1\r\n\r\nhello"
    )
    await writer.drain()


class TestForwarder:
    async def test_carries_the_call_there_and_the_answer_back(self):
        async with served(short) as (gateway, url):
            headers = [(b"authorization", b"Bearer hs_x"), (b"cookie", b"session=mine")]

            status, answered, body = await Call(
                Forwarder(gateway_url=url, app=no_django), headers=headers, body=(b"ab", b"cd")
            ).answer()

        [request] = gateway.requests
        assert (status, body, answered[b"x-hotswap-version"]) == (200, b"hello", b"v1")
        assert request.startswith(b"POST /api/v1/functions/thumbs/invoke?alias=dev HTTP/1.1")
        assert request.endswith(b"abcd")
        assert b"Bearer hs_x" in request

    async def test_keeps_cookies_and_scripts_apart(self):
        async with served(short) as (gateway, url):
            headers = [(b"cookie", b"session=mine")]

            _, answered, _ = await Call(
                Forwarder(gateway_url=url, app=no_django), headers=headers
            ).answer()

        assert b"session=mine" not in gateway.requests[0]
        assert b"set-cookie" not in answered
        assert b"sandbox" in answered[b"content-security-policy"]

    async def test_passes_chunks_on_as_they_come(self):
        go_on = asyncio.Event()

        async def slow(reader, writer):
            writer.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\none\r\n")
            await writer.drain()
            await go_on.wait()
            writer.write(b"3\r\ntwo\r\n0\r\n\r\n")
            await writer.drain()

        async with served(slow) as (_, url):
            call = Call(Forwarder(gateway_url=url, app=no_django), path=PATH + "-stream")
            start = await asyncio.wait_for(call.sent.get(), 10)
            first = await asyncio.wait_for(call.sent.get(), 10)
            go_on.set()
            await asyncio.wait_for(call.task, 10)

        assert (start["status"], first["body"]) == (200, b"one")
        assert (await call.sent.get())["body"] == b"two"

    async def test_hangs_up_when_the_caller_does(self):
        async def endless(reader, writer):
            writer.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\nx\r\n")
            await writer.drain()
            if await reader.read() == b"":
                raise ConnectionResetError

        async with served(endless) as (gateway, url):
            call = Call(Forwarder(gateway_url=url, app=no_django), path=PATH + "-stream")
            await asyncio.wait_for(call.sent.get(), 10)

            call.hang_up()

            await asyncio.wait_for(gateway.hung_up.wait(), 10)
            await asyncio.wait_for(call.task, 10)

    async def test_says_when_the_gateway_is_down(self):
        status, headers, body = await Call(
            Forwarder(gateway_url=f"http://127.0.0.1:{free_port()}", app=no_django)
        ).answer()

        assert (status, headers[b"retry-after"]) == (503, b"1")
        assert b"/problems/unavailable" in body

    async def test_says_when_the_gateway_breaks_off(self):
        async def rude(reader, writer):
            writer.close()

        async with served(rude) as (_, url):
            status, _, body = await Call(Forwarder(gateway_url=url, app=no_django)).answer()

        assert (status, b"/problems/upstream-failed" in body) == (502, True)

    @pytest.mark.parametrize(
        "path",
        ["/", "/api/v1/functions", "/api/v1/functions/a/invoke/", "/api/v1/functions/a/b/invoke"],
    )
    async def test_leaves_everything_else_to_django(self, path):
        app = Forwarder(gateway_url="http://127.0.0.1:1", app=no_django)

        assert (await Call(app, path=path).answer())[0] == 204


class TestBodyLimit:
    async def read_all(self, scope, receive, send):
        while (message := await receive())["type"] == "http.request":
            if not message["more_body"]:
                return await no_django(scope, receive, send)
        return None

    async def test_stops_a_body_that_passes_its_bound(self):
        chunk = bytes(OTHER_MAX_BYTES // 2)

        within = Call(BodyLimit(self.read_all), path="/x", body=(chunk, chunk))
        above = Call(BodyLimit(self.read_all), path="/x", body=(chunk, chunk, b"1"))

        assert ((await within.answer())[0], (await above.answer())[0]) == (204, 413)

    async def test_believes_an_announcement(self):
        headers = [(b"content-length", str(OTHER_MAX_BYTES + 1).encode())]

        assert (await Call(BodyLimit(self.read_all), path="/x", headers=headers).answer())[0] == 413
