"""Streamed answers: chunks as they are made, backpressure, cancellation."""

import socket
import time
from pathlib import Path

import pytest

from tests.integration.dataplane.conftest import TOKEN, DataPlane

TICKER = """
import time
def handler(event, context):
    for number in range(event["count"]):
        yield f"{number}\\n"
        time.sleep(event.get("pause", 0))
"""

ENDLESS = """
import os
def handler(event, context):
    sent = 0
    try:
        while True:
            yield b"x" * 65536
            sent += 1
            with open(event["file"], "w") as file:
                file.write(str(sent))
    finally:
        with open(event["file"] + ".closed", "w") as file:
            file.write("closed")
"""


class TestStream:
    def test_chunks_arrive_while_the_function_runs(self, plane: DataPlane) -> None:
        plane.upload("ticker", TICKER)
        with plane.client.stream(
            "POST",
            "/api/v1/functions/ticker/invoke-stream",
            json={"payload": {"count": 5, "pause": 0.1}},
        ) as answer:
            arrivals = [(time.monotonic(), text) for text in answer.iter_text()]

        assert answer.status_code == 200
        assert "".join(text for _, text in arrivals) == "0\n1\n2\n3\n4\n"
        assert arrivals[-1][0] - arrivals[0][0] > 0.3

    def test_a_plain_result_is_a_stream_of_one(self, plane: DataPlane) -> None:
        plane.upload("plain", "def handler(event, context):\n    return {'a': 1}\n")

        answer = plane.client.post("/api/v1/functions/plain/invoke-stream", json={})

        assert answer.json() == {"a": 1}

    def test_a_generator_is_joined_for_a_plain_call(self, plane: DataPlane) -> None:
        plane.upload("joined", TICKER)

        answer = plane.raw("joined", b'{"count": 3}')

        assert answer.text == "0\n1\n2\n"

    def test_an_error_before_the_first_chunk_is_a_problem(self, plane: DataPlane) -> None:
        plane.upload("early", "def handler(event, context):\n    raise OSError('x')\n    yield 1\n")

        answer = plane.client.post("/api/v1/functions/early/invoke-stream", json={})

        assert (answer.status_code, answer.json()["errorType"]) == (502, "OSError")

    def test_an_error_after_the_first_chunk_cuts_the_connection(self, plane: DataPlane) -> None:
        plane.upload("cut", "def handler(event, context):\n    yield 'a'\n    raise OSError('x')\n")

        with pytest.raises(Exception, match=r"incomplete|closed|peer"):
            plane.client.post("/api/v1/functions/cut/invoke-stream", json={})

    @pytest.mark.parametrize("leave", [True, False], ids=["vanishes", "reads slowly"])
    def test_a_reader_that(self, plane: DataPlane, tmp_path: Path, leave: bool) -> None:
        if plane.environment["HOTSWAP_RUNNER_BACKEND"] != "process":
            pytest.skip("the function reports through a file, which a sandbox cannot write")
        name = f"endless-{leave}".lower()
        plane.upload(name, ENDLESS, timeout_ms=60_000)
        progress, closed = tmp_path / "sent", tmp_path / "sent.closed"
        body = f'{{"payload": {{"file": "{progress}"}}}}'.encode()

        with socket.create_connection(("127.0.0.1", plane.port)) as client:
            client.sendall(
                b"POST /api/v1/functions/%b/invoke-stream HTTP/1.1\r\nHost: x\r\n"
                b"Authorization: Bearer %b\r\nContent-Length: %d\r\n\r\n%b"
                % (name.encode(), TOKEN.encode(), len(body), body)
            )
            client.recv(1_000)
            if not leave:
                time.sleep(1.0)
                first = int(progress.read_text())
                time.sleep(0.5)
                assert int(progress.read_text()) == first  # the function waits for its reader
                assert first < 400  # 25 MiB: buffers of sockets and gateway, no more

        plane.wait(closed.exists, 5)
