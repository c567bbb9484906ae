"""Live logs: from a runner's report to a reader's websocket, over a real server and Valkey."""

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import msgspec
import pytest
from django.conf import settings
from django.contrib.auth import SESSION_KEY, get_user_model
from django.contrib.sessions.backends.db import SessionStore
from django.db import connection
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from hotswap import config
from hotswap.core import ids
from hotswap.supervisor.ports import free_port
from hotswap.wire.reports import LogRecord, LogReport
from tests.integration.runners.reporting import Deployed, deploy, line, token

pytestmark = pytest.mark.django_db(transaction=True)


class Web:
    """A real web server on the test's database, and what one does with it."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.client = httpx2.Client(base_url=f"http://127.0.0.1:{port}", timeout=30)
        self.boot = ids.request_id()[-12:]
        self.seq = 0

    def print(self, lines: list[LogRecord]) -> None:
        """Report lines as a runner does."""
        self.seq += 1
        self.client.post(
            "/internal/v1/logs",
            content=msgspec.json.encode(LogReport("node-1", self.boot, self.seq, lines)),
            headers={"Authorization": f"Bearer {config.current().core.internal_token}"},
        ).raise_for_status()

    def watch(self, name: str, query: str = "", **options: Any) -> connect:
        options.setdefault("additional_headers", {})
        return connect(f"ws://127.0.0.1:{self.port}/ws/functions/{name}/logs?{query}", **options)

    def read(self, name: str, query: str = "") -> connect:
        """Watch with a token."""
        shown = {"Authorization": f"Bearer {token('invocations:read')}"}
        return self.watch(name, query, additional_headers=shown)


def serve(log: Path, **environment: str) -> Iterator[Web]:
    """Run a web server until the generator is closed."""
    port = free_port()
    listen = ("--host", "127.0.0.1", "--port", str(port))
    url, _, _ = os.environ["HOTSWAP_DATABASE_URL"].rpartition("/")
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "granian", "--interface", "asginl", "--ws", *listen,
             "hotswap.asgi:application"],
            env={
                **os.environ,
                "DJANGO_SETTINGS_MODULE": "hotswap.settings",
                "HOTSWAP_DATABASE_URL": f"{url}/{connection.settings_dict['NAME']}",
                **environment,
            },
            stdout=output,
            stderr=output,
        )  # fmt: skip
    web = Web(port)
    try:
        _wait_until_it_serves(web, process, log)
        yield web
    finally:
        web.client.close()
        process.terminate()
        process.wait(20)


def _wait_until_it_serves(web: Web, process: subprocess.Popen[bytes], log: Path) -> None:
    for _ in range(300):
        try:
            web.client.get("/health")
        except httpx2.TransportError:
            assert process.poll() is None, log.read_text()
            time.sleep(0.1)
        else:
            return
    raise AssertionError(log.read_text())


@pytest.fixture(scope="module")
def web(
    redis_url: str, django_db_setup: None, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Web]:
    """One server for all tests here."""
    yield from serve(tmp_path_factory.mktemp("web") / "log")


@pytest.fixture
def function() -> Deployed:
    """A function with two versions."""
    return deploy("thumbs", 2)


def said(socket: ClientConnection, timeout: float = 5) -> dict[str, Any]:
    """The next message that is not a heartbeat."""
    while True:
        message: dict[str, Any] = json.loads(socket.recv(timeout))
        if message["type"] != "heartbeat":
            return message


def numbers(socket: ClientConnection, last: int, timeout: float = 20) -> list[int]:
    """Numbers of all lines up to `last`."""
    found: list[int] = []
    while not found or found[-1] < last:
        message = said(socket, timeout)
        if message["type"] == "lines":
            found += [item["seq"] for item in message["lines"]]
    return found


class TestAWatcher:
    def test_gets_history_and_then_what_is_printed(self, web: Web, function: Deployed) -> None:
        one, two = function.versions
        web.print([line(one, f"old {n}") for n in range(300)])

        with web.read("thumbs") as socket:
            ready = said(socket)
            history = said(socket)
            web.print([line(two, "new", level="ERROR", request_id="r9", time_ms=0)])
            fresh = said(socket)

        assert (ready["type"], ready["function"], ready["cursor"]) == ("ready", "thumbs", 100)
        assert [item["seq"] for item in history["lines"]] == list(range(101, 301))
        (item,) = fresh["lines"]
        assert item.pop("time").endswith("Z")
        assert item == {
            "seq": 301, "level": "ERROR", "requestId": "r9", "version": "v2", "instance": "i1",
            "text": "new",
        }  # fmt: skip
        assert fresh["cursor"] == 301

    def test_gets_only_what_it_asked_for(self, web: Web, function: Deployed) -> None:
        version = function.versions[0]
        levels = ("INFO", "ERROR")
        web.print([line(version, f"n{n} Disk", level=levels[n % 2]) for n in range(1, 9)])

        with web.read("thumbs", "after=2&level=error&q=disk") as socket:
            said(socket)
            first = numbers(socket, 7)
            web.print([line(version, "no", level="ERROR"), line(version, "DISK", level="ERROR")])
            second = numbers(socket, 10)

        assert (first, second) == ([3, 5, 7], [10])

    @pytest.mark.slow
    def test_loses_and_repeats_nothing_over_reconnects(self, web: Web, function: Deployed) -> None:
        total, batch = 10_000, 50
        printer = threading.Thread(
            target=lambda: [
                web.print([line(function.versions[0], f"line {n}") for n in range(batch)])
                for _ in range(total // batch)
            ]
        )
        printer.start()
        found: list[int] = []
        for until in (2_000, 5_000, 8_000, total):
            after = found[-1] if found else 0
            with web.read("thumbs", f"after={after}") as socket:
                found += numbers(socket, until)
                socket.socket.close()  # the network is gone: nobody says goodbye
        printer.join()

        assert found == list(range(1, total + 1))

    def test_sees_a_line_within_a_second(self, web: Web, function: Deployed) -> None:
        latencies = []
        with web.read("thumbs", "after=0") as socket:
            said(socket)
            for number in range(1, 31):
                began = time.monotonic()
                web.print([line(function.versions[0]) for _ in range(10)])
                numbers(socket, number * 10)
                latencies.append(time.monotonic() - began)

        assert max(latencies) < 1

    def test_who_does_not_read_holds_up_nobody(self, web: Web, function: Deployed) -> None:
        text = "x" * 4_000
        with web.read("thumbs", "after=0") as idle, web.read("thumbs", "after=0") as reader:
            for _ in range(60):
                web.print([line(function.versions[0], text) for _ in range(100)])
            read = numbers(reader, 6_000)
            late = numbers(idle, 6_000)

        assert read == late == list(range(1, 6_001))

    def test_far_behind_is_told_what_it_misses(self, web: Web, function: Deployed) -> None:
        for _ in range(13):
            web.print([line(function.versions[0]) for _ in range(2_000)])

        with web.read("thumbs", "after=0") as socket:
            found: list[tuple[int, int]] = []
            gaps = []
            while not found or found[-1][1] < 26_000:
                message = said(socket)
                if message["type"] == "lines":
                    found.append((message["lines"][0]["seq"], message["cursor"]))
                elif message["type"] == "gap":
                    gaps.append(message)
                    found.append((message["first"], message["last"]))

        assert [first for first, _ in found[1:]] == [last + 1 for _, last in found[:-1]]
        (gap,) = gaps
        assert gap["count"] == gap["last"] - gap["first"] + 1
        assert gap["history"] == f"/api/v1/functions/thumbs/logs?after={gap['first'] - 1}"


class TestTheDoor:
    def _refusal(self, opening: connect) -> tuple[int, str]:
        with opening as socket:
            return self._refused(socket)

    def _refused(self, socket: ClientConnection) -> tuple[int, str]:
        problem = said(socket)["problem"]
        with pytest.raises(ConnectionClosed) as closed:
            socket.recv(5)
        assert closed.value.rcvd is not None
        return closed.value.rcvd.code, problem["type"]

    @pytest.mark.usefixtures("function")
    def test_opens_to_a_token_in_the_first_message(self, web: Web) -> None:
        with web.watch("thumbs") as socket:
            socket.send(json.dumps({"type": "auth", "token": token("invocations:read")}))

            assert said(socket)["type"] == "ready"

    @pytest.mark.usefixtures("function")
    def test_opens_to_the_portal_but_not_to_other_pages(self, web: Web) -> None:
        user, _ = get_user_model().objects.get_or_create(username="ada", password="x")
        session = SessionStore()
        session[SESSION_KEY] = str(user.pk)
        session["_auth_user_backend"] = "django.contrib.auth.backends.ModelBackend"
        session["_auth_user_hash"] = user.get_session_auth_hash()
        session.save()
        cookie = {"Cookie": f"{settings.SESSION_COOKIE_NAME}={session.session_key}"}

        def visit(origin: str) -> connect:
            return web.watch("thumbs", additional_headers=cookie, origin=origin)  # type: ignore[arg-type]  # a plain string

        with visit(f"http://127.0.0.1:{web.port}") as own:
            assert said(own)["type"] == "ready"
        for origin in ("http://evil.example", "http://127.0.0.1:1", "null"):
            assert self._refusal(visit(origin)) == (4401, "/problems/unauthenticated")

    @pytest.mark.usefixtures("function")
    def test_stays_shut_to_everybody_else(self, web: Web) -> None:
        def bearer(shown: str) -> connect:
            return web.watch("thumbs", additional_headers={"Authorization": f"Bearer {shown}"})

        nobody = web.watch("thumbs", origin=f"http://127.0.0.1:{web.port}")  # type: ignore[arg-type]  # a plain string

        assert self._refusal(bearer("hs_wrong")) == (4401, "/problems/unauthenticated")
        assert self._refusal(bearer(token("functions:read"))) == (4403, "/problems/forbidden")
        assert self._refusal(nobody) == (4401, "/problems/unauthenticated")

    @pytest.mark.usefixtures("function")
    def test_explains_what_it_does_not_understand(self, web: Web) -> None:
        with web.read("thumbs", "after=9") as talker:
            said(talker)
            talker.send("hello")

            assert self._refused(talker) == (4400, "/problems/bad-request")
        assert self._refusal(web.read("thumbs", "after=x")) == (4400, "/problems/bad-request")
        assert self._refusal(web.read("thumbs", "level=loud")) == (4400, "/problems/bad-request")
        assert self._refusal(web.read("nothing")) == (4404, "/problems/not-found")


class TestWithoutValkey:
    def test_lines_still_arrive(self, function: Deployed, tmp_path: Path) -> None:
        nowhere = f"redis://127.0.0.1:{free_port()}"
        for web in serve(tmp_path / "log", HOTSWAP_REDIS_URL=nowhere):
            with web.read("thumbs", "after=0") as socket:
                said(socket)
                web.print([line(function.versions[0], "still here")])

                assert said(socket)["lines"][0]["text"] == "still here"
