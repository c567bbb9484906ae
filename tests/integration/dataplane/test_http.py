"""The gateway as an HTTP/1.1 server: what it reads, what it refuses, and when you leave."""

import re
import socket
import time
from collections.abc import Callable, Iterator

import httpx2
import pytest

from tests.integration.dataplane.conftest import TOKEN, DataPlane

ECHO = "def handler(event, context):\n    return event\n"


class RawClient:
    """A socket and an HTTP reader too simple to hide anything."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=10)
        self._buffer = b""

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def invoke(self, name: str, body: bytes, *headers: str, version: str = "1.1") -> None:
        lines = [
            f"POST /api/v1/functions/{name}/invoke HTTP/{version}", "Host: gateway",
            f"Authorization: Bearer {TOKEN}", "X-HotSwap-Mode: raw", f"Content-Length: {len(body)}",
            *headers,
        ]  # fmt: skip
        self.send("\r\n".join(lines).encode() + b"\r\n\r\n" + body)

    def answer(self) -> tuple[int, bytes]:
        """Status and body of the next response."""
        while b"\r\n\r\n" not in self._buffer:
            self._more()
        head, _, self._buffer = self._buffer.partition(b"\r\n\r\n")
        found = re.search(rb"(?i)content-length: (\d+)", head)
        size = int(found[1]) if found else 0
        while len(self._buffer) < size:
            self._more()
        body, self._buffer = self._buffer[:size], self._buffer[size:]
        return int(head.split()[1]), body

    def _more(self) -> None:
        data = self.socket.recv(65536)
        if not data:
            raise EOFError
        self._buffer += data

    def is_closed(self) -> bool:
        try:
            return self.socket.recv(1) == b""
        except ConnectionResetError:
            return True


Connect = Callable[[int], RawClient]


@pytest.fixture
def connect() -> Iterator[Connect]:
    """Opens connections and closes them after the test."""
    clients: list[RawClient] = []

    def open_one(port: int) -> RawClient:
        clients.append(RawClient(port))
        return clients[-1]

    yield open_one
    for client in clients:
        client.socket.close()


@pytest.fixture
def raw(plane: DataPlane, connect: Connect) -> RawClient:
    plane.upload("http-echo", ECHO)
    return connect(plane.port)


class TestGateway:
    def test_keeps_a_connection_for_many_requests(self, raw: RawClient) -> None:
        for number in range(5):
            raw.invoke("http-echo", b"%d" % number)
            assert raw.answer() == (200, b"%d" % number)

    def test_answers_pipelined_requests_in_their_order(self, raw: RawClient) -> None:
        for number in range(10):
            raw.invoke("http-echo", b"%d" % number)

        assert [raw.answer()[1] for _ in range(10)] == [b"%d" % number for number in range(10)]

    def test_refuses_more_pipelined_requests_than_its_bound(
        self, plane: DataPlane, raw: RawClient
    ) -> None:
        plane.upload("http-slow", "import time\ndef handler(e, c):\n    time.sleep(1)\n")

        for _ in range(30):
            raw.invoke("http-slow", b"1")

        assert raw.is_closed()

    def test_reads_a_chunked_body(self, raw: RawClient) -> None:
        raw.send(
            f"POST /api/v1/functions/http-echo/invoke HTTP/1.1\r\nHost: x\r\n"
            f"Authorization: Bearer {TOKEN}\r\nX-HotSwap-Mode: raw\r\n"
            "Transfer-Encoding: chunked\r\n\r\n3\r\n[1,\r\n2\r\n2]\r\n0\r\n\r\n".encode()
        )

        assert raw.answer() == (200, b"[1,2]")

    def test_says_continue_to_a_client_that_asks(self, raw: RawClient) -> None:
        raw.send(
            f"POST /api/v1/functions/http-echo/invoke HTTP/1.1\r\nHost: x\r\n"
            f"Authorization: Bearer {TOKEN}\r\nX-HotSwap-Mode: raw\r\n"
            "Content-Length: 1\r\nExpect: 100-continue\r\n\r\n".encode()
        )
        assert raw.answer()[0] == 100

        raw.send(b"7")

        assert raw.answer() == (200, b"7")

    def test_closes_after_a_client_that_asks_for_it(self, raw: RawClient) -> None:
        raw.invoke("http-echo", b"1", "Connection: close")

        assert raw.answer() == (200, b"1")
        assert raw.is_closed()

    def test_serves_http_1_0(self, raw: RawClient) -> None:
        raw.invoke("http-echo", b"1", version="1.0")

        assert raw.answer() == (200, b"1")
        assert raw.is_closed()

    @pytest.mark.parametrize(
        ("request_bytes", "status"),
        [
            (b"HELLO\r\n\r\n", 400),
            (b"GET /healthz HTTP/1.1\r\nX: " + b"y" * 40_000 + b"\r\n\r\n", 431),
            (b"GET /healthz HTTP/1.1\r\n" + b"X: y\r\n" * 150 + b"\r\n", 431),
            (b"GET /" + b"y" * 40_000 + b" HTTP/1.1\r\n\r\n", 431),
            (
                b"POST /x HTTP/1.1\r\nAuthorization: a\r\nAuthorization: b\r\n"
                b"Content-Length: 0\r\n\r\n",
                400,
            ),
            (b"POST /x HTTP/1.1\r\nContent-Length: 99999999\r\n\r\n", 413),
            (
                b"POST /x HTTP/1.1\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n",
                400,
            ),
        ],
        ids=[
            "not HTTP", "long header", "many headers", "long path", "two tokens", "huge body",
            "two lengths",
        ],
    )  # fmt: skip
    def test_refuses(self, raw: RawClient, request_bytes: bytes, status: int) -> None:
        raw.send(request_bytes)

        assert raw.answer()[0] == status
        assert raw.is_closed()

    def test_tells_its_health(self, plane: DataPlane) -> None:
        bodies = [httpx2.get(f"{plane.url}/{path}").text for path in ("healthz", "readyz")]

        assert bodies == ["ok\n", "ready\n"]

    def test_counts_every_outcome_for_prometheus(self, plane: DataPlane) -> None:
        plane.upload("http-metrics", ECHO)
        for _ in range(3):
            plane.invoke("http-metrics", 1)

        text = httpx2.get(f"{plane.url}/metrics").text

        found = re.search(r'invocations_total\{function="http-metrics".*outcome="ok"\} (\d+)', text)
        assert found
        assert found[1] == "3"

    @pytest.mark.parametrize(
        ("method", "path", "status"),
        [
            ("GET", "/api/v1/functions/http-echo/invoke", 405),
            ("POST", "/api/v1/functions/none/invoke", 404),
            ("POST", "/api/v1/functions/http-echo/other", 404),
            ("POST", "/api/v1/functions/http-echo", 404),
            ("GET", "/elsewhere", 404),
        ],
    )
    def test_answers_with_a_problem(
        self, plane: DataPlane, method: str, path: str, status: int
    ) -> None:
        plane.upload("http-echo", ECHO)

        answer = plane.client.request(method, path)

        assert (answer.status_code, answer.json()["status"]) == (status, status)


class TestCaller:
    def test_that_leaves_cancels_its_call(self, plane: DataPlane, connect: Connect) -> None:
        plane.upload(
            "left", "import time\ndef handler(e, c):\n    time.sleep(20)\n", timeout_ms=30_000
        )
        client = connect(plane.port)
        client.invoke("left", b"1")
        plane.wait(lambda: "executions 1" in httpx2.get(f"{plane.url}/metrics").text)

        client.socket.close()

        plane.wait(lambda: plane.control.calls("cancelled") >= 1)
        version = plane.control.function("left").versions[0].id
        plane.wait(
            lambda: (
                not any(
                    instance.version_id == version and instance.state == "busy"
                    for instance in plane.control.heartbeats[-1].instances
                )
            )
        )

    def test_that_waits_in_the_queue_can_leave_too(
        self, plane: DataPlane, connect: Connect
    ) -> None:
        source = "import time\ndef handler(e, c):\n    time.sleep(0.7)\n    return e\n"
        plane.upload("queue", source, max_instances=1)
        first, second, third = (connect(plane.port) for _ in range(3))
        first.invoke("queue", b"1")
        time.sleep(0.2)
        second.invoke("queue", b"2")
        time.sleep(0.05)
        third.invoke("queue", b"3")

        second.socket.close()

        assert (first.answer(), third.answer()) == ((200, b"1"), (200, b"3"))


class TestSlowClient:
    def test_that_never_finishes_its_headers_is_closed(
        self, own_plane: DataPlane, connect: Connect
    ) -> None:
        gateway = own_plane.processes.pop("gateway")
        gateway.kill()
        gateway.wait()
        own_plane.environment["HOTSWAP_GATEWAY_HEADER_TIMEOUT_SECONDS"] = "1"
        own_plane.environment["HOTSWAP_GATEWAY_IDLE_TIMEOUT_SECONDS"] = "1"
        own_plane.environment["HOTSWAP_GATEWAY_MAX_CONNECTIONS"] = "20"
        own_plane.spawn("gateway", "runners.gateway")
        own_plane.wait(lambda: own_plane.client.get("/readyz").status_code == 200)
        own_plane.client.close()
        slow, idle = connect(own_plane.port), connect(own_plane.port)
        slow.send(b"POST /api/v1/functions/x/invoke HTTP/1.1\r\nHost:")
        idle.send(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")

        assert slow.answer()[0] == 408
        assert idle.answer() == (200, b"ok\n")
        assert slow.is_closed()
        assert idle.is_closed()

        crowd = [connect(own_plane.port) for _ in range(25)]
        refused = [client for client in crowd[20:] if client.answer()[0] == 503]
        assert len(refused) == 5
