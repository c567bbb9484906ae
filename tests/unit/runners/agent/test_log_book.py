"""What gets into a function's log when there is too much of it."""

from collections import Counter
from typing import Any

import msgspec
import pytest

from hotswap.core import clock
from hotswap.core.limits import LOG_CALLS_BURST, LOG_LINES_BURST
from hotswap.wire.reports import LogReport
from hotswap.wire.table import FunctionRoute, VersionRoute
from runners.agent.job import Job
from runners.agent.log_book import LogBook

VERSION = VersionRoute(
    id=7, number=3, runtime="python3.11", handler="a.b", code_sha256="0" * 64, memory_mib=128,
    timeout_ms=1_000,
)  # fmt: skip
FUNCTION = FunctionRoute(
    id=1, name="f", latest=3, versions=(VERSION,), aliases={}, max_instances=1,
    reserved_concurrency=None, max_queue=1, idle_timeout_ms=1_000,
)  # fmt: skip


class Clock:
    now = 1_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture(autouse=True)
def time(monkeypatch: pytest.MonkeyPatch) -> Clock:
    standing = Clock()
    monkeypatch.setattr(clock, "monotonic", standing)
    return standing


@pytest.fixture
def book() -> LogBook:
    return LogBook(node="n", boot="b")


def call(book: LogBook, number: int, prints: int = 0, raw: int = 0) -> None:
    """One call that prints so many lines."""
    caller: Any = None
    job = Job(caller, number, 0, [f"r{number}", 7, 0, "", "", "a"], b"")
    if prints:
        book.lines(FUNCTION, VERSION, "i", job, 0, [(1, "INFO", "said")] * prints)
    for _ in range(raw):
        book.raw(FUNCTION, VERSION, "i", job, "past the bootstrap")
    book.ended(FUNCTION, VERSION, job, 1_024)


def texts(book: LogBook) -> list[str]:
    found: list[str] = []
    while body := book.collect(1):
        found += [line.text for line in msgspec.json.decode(body, type=LogReport).lines]
    return found


@pytest.mark.parametrize(("prints", "raw"), [(0, 0), (2, 0), (0, 2)])
def test_a_call_is_told_with_start_end_and_report_around_what_it_says(
    book: LogBook, prints: int, raw: int
) -> None:
    call(book, 1, prints=prints, raw=raw)

    words = [text.split()[0] for text in texts(book)]
    assert (words[0], words[-2:], len(words)) == ("START", ["END", "REPORT"], 3 + prints + raw)


def test_many_calls_do_not_displace_what_a_function_prints(book: LogBook, time: Clock) -> None:
    for number in range(LOG_CALLS_BURST + 50):
        call(book, number, prints=1)
    time.now += 1
    call(book, 9_999)

    words = Counter(text.split()[0] for text in texts(book))
    assert words["said"] == LOG_CALLS_BURST + 50
    assert words["START"] == words["END"] == words["REPORT"] == LOG_CALLS_BURST + 1


def test_what_is_left_out_is_said_once_with_its_number(book: LogBook, time: Clock) -> None:
    call(book, 0, prints=LOG_LINES_BURST + 3)
    for number in range(1, LOG_CALLS_BURST + 5):
        call(book, number)
    time.now += 1
    call(book, 9_999, prints=1)

    notes = [text for text in texts(book) if text.startswith(("dropped", "left out"))]
    assert notes == [
        "dropped 3 lines: over 1000 lines a second",
        "left out START, END and REPORT of 5 calls: over 100 calls a second; every call is counted",
    ]
