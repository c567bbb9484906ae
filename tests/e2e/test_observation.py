"""Logs, records and counters of calls, read through the API and the websocket."""

import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import pytest
from websockets.sync.client import ClientConnection, connect

from tests.e2e.stack import Stack

TALKER = """
import asyncio, time

async def handler(event, context):
    for number in range(event["lines"]):
        print("line", number, time.time())
        await asyncio.sleep(event["pause"])
"""

pytestmark = pytest.mark.root


class Follower:
    """One visit of a log's websocket."""

    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket
        self.lines: list[dict[str, Any]] = []
        self.delays: list[float] = []
        """Seconds from the print to the arrival here, for lines that say when it was."""

    def follow(self, printed: int, within: float = 15.0) -> None:
        """Read until so many lines that were printed have come."""
        deadline = time.monotonic() + within
        while len(self.printed()) < printed:
            message = json.loads(self._socket.recv(max(0.0, deadline - time.monotonic())))
            if message["type"] == "lines":
                self._take(message["lines"])
            assert message["type"] in ("ready", "lines", "heartbeat"), message

    def _take(self, lines: list[dict[str, Any]]) -> None:
        self.lines += lines
        now = time.time()
        self.delays += [
            now - float(line["text"].split()[2])
            for line in lines
            if line["text"].startswith("line ")
        ]

    def printed(self) -> list[int]:
        """The numbers that the function printed."""
        texts = [line["text"].split() for line in self.lines]
        return [int(words[1]) for words in texts if words[0] == "line"]


@contextmanager
def following(stack: Stack, name: str, after: int | None = None) -> Iterator[Follower]:
    """Watch a function's log, from the newest or from after a line's number."""
    query = "" if after is None else f"?after={after}"
    with connect(
        f"ws{stack.url.removeprefix('http')}/ws/functions/{name}/logs{query}",
        additional_headers={"Authorization": f"Bearer {stack.token}"},
    ) as socket:
        assert json.loads(socket.recv(5))["type"] == "ready"
        yield Follower(socket)


class TestLiveLog:
    def test_shows_a_line_within_a_second_while_the_call_runs(self, stack: Stack) -> None:
        stack.deploy("talker", {"app.py": TALKER})
        stack.invoke("talker", {"lines": 0, "pause": 0})

        with following(stack, "talker") as follower, ThreadPoolExecutor(1) as threads:
            call = threads.submit(stack.invoke, "talker", {"lines": 300, "pause": 0.01})
            follower.follow(printed=100)
            ended_early = call.done()
            follower.follow(printed=300)

        assert ended_early is False
        assert follower.printed() == list(range(300))
        assert max(follower.delays) < 1.0

    def test_goes_on_where_a_lost_connection_was(self, stack: Stack) -> None:
        stack.deploy("resumed", {"app.py": TALKER})
        stack.invoke("resumed", {"lines": 0, "pause": 0})

        with ThreadPoolExecutor(1) as threads:
            with following(stack, "resumed") as first:
                call = threads.submit(stack.invoke, "resumed", {"lines": 100, "pause": 0.01})
                first.follow(printed=20)
            call.result()
            with following(stack, "resumed", after=first.lines[-1]["seq"]) as second:
                second.follow(printed=100 - len(first.printed()))

        assert first.printed() + second.printed() == list(range(100))
        sequence = [line["seq"] for line in first.lines + second.lines]
        assert sequence == list(range(sequence[0], sequence[0] + len(sequence)))


class TestOneCall:
    def test_is_found_by_its_request_id_with_its_lines(self, stack: Stack) -> None:
        source = (
            "def handler(event, context):\n    print('dividing by', event)\n    return 1 / event\n"
        )
        stack.deploy("recorded", {"app.py": source})
        good = stack.invoke("recorded", 4).json()
        bad = stack.invoke("recorded", 0).json()
        calls = "/api/v1/functions/recorded/invocations"

        stack.wait(lambda: stack.api.get(f"{calls}/{good['requestId']}").status_code == 200)
        stack.wait(lambda: stack.api.get(f"{calls}/{bad['instance']}").status_code == 200)
        kept = stack.api.get(f"{calls}/{good['requestId']}").json()
        failed = stack.api.get(f"{calls}/{bad['instance']}").json()

        def lines() -> list[str]:
            page = stack.api.get(f"{calls}/{good['requestId']}/logs").json()
            return [line["text"].split(" ")[0] for line in page["items"]]

        stack.wait(lambda: len(lines()) == 4)
        assert lines() == ["START", "dividing", "END", "REPORT"]
        assert (kept["outcome"], kept["status"], kept["coldStart"]) == ("ok", 200, True)
        assert (kept["version"], kept["user"]) == ("v1", "admin")
        assert kept["runMs"] == pytest.approx(good["durations"]["runMs"])
        assert kept["totalMs"] >= kept["queueMs"] + kept["initMs"] + kept["runMs"]
        assert failed["error"]["errorType"] == "ZeroDivisionError"

    def test_keeps_the_callers_trace(self, stack: Stack) -> None:
        source = "def handler(event, context):\n    return context.trace_parent\n"
        stack.deploy("traced", {"app.py": source})
        trace = "4bf92f3577b34da6a3ce929d0e0e4736"

        answer = stack.gateway.post(
            "/api/v1/functions/traced/invoke",
            json={},
            headers={"traceparent": f"00-{trace}-00f067aa0ba902b7-01"},
        ).json()

        calls = "/api/v1/functions/traced/invocations"
        stack.wait(lambda: stack.api.get(f"{calls}/{answer['requestId']}").status_code == 200)
        record = stack.api.get(f"{calls}/{answer['requestId']}").json()
        assert trace in answer["body"]
        assert record["traceId"] == trace


class TestCounters:
    def test_are_exact(self, stack: Stack) -> None:
        source = "def handler(event, context):\n    return 1 / (event % 50)\n"
        stack.deploy("counted", {"app.py": source})
        stack.upload("counted", {"app.py": source})

        def call(number: int) -> int:
            return stack.invoke("counted", number, version=f"v{number % 2 + 1}").status_code

        with ThreadPoolExecutor(8) as threads:
            statuses = list(threads.map(call, range(500)))

        assert (statuses.count(200), statuses.count(502)) == (490, 10)
        stack.wait(lambda: totals(stack, "counted")["invocations"] >= 500)
        time.sleep(1.5)  # a report that came twice would be counted by now
        total = totals(stack, "counted")
        assert (total["invocations"], total["errors"]) == (500, 10)
        assert total["outcomes"] == {"function-raised": 10, "ok": 490}
        metrics = stack.api.get("/api/v1/functions/counted/metrics").json()
        assert [item["summary"]["invocations"] for item in metrics["versions"]] == [250, 250]
        assert sum(point["invocations"] for point in metrics["total"]["points"]) == 500


def totals(stack: Stack, name: str) -> dict[str, Any]:
    """Figures of the last hour."""
    found: dict[str, Any] = stack.api.get(f"/api/v1/functions/{name}/metrics").json()
    summary: dict[str, Any] = found["total"]["summary"]
    return summary
