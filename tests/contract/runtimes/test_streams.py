"""Streamed results: chunks, credit, cancellation."""

import json
from pathlib import Path

import pytest

from hotswap.core.limits import RESPONSE_MAX_BYTES, STREAM_WINDOW_BYTES
from runtimes.protocol.framing import FrameType
from tests.contract.runtimes.harness import LAST, Instance, Outcome

GENERATORS = pytest.mark.parametrize("handler", ["big_items", "big_items_async"])


def order(mark: Path, count: int, size: int) -> bytes:
    return json.dumps({"count": count, "size": size, "mark": str(mark)}).encode()


def read_window(instance: Instance, size: int = STREAM_WINDOW_BYTES) -> int:
    """Read chunks until `size` bytes came; the bytes read."""
    taken = 0
    while taken < size:
        frame = instance.read()
        assert frame.kind in (FrameType.BEGIN, FrameType.CHUNK), frame
        assert len(frame.body) <= STREAM_WINDOW_BYTES
        taken += len(frame.body)
    return taken


class TestStream:
    @pytest.mark.parametrize("handler", ["items", "items_returned"])
    def test_sends_one_chunk_an_item(self, instance: Instance, handler: str) -> None:
        outcome = instance.adopt(handler).call(wants_stream=True)

        assert outcome.kinds == [FrameType.BEGIN, *[FrameType.CHUNK] * 3, FrameType.END]
        assert outcome.chunks == [b"text", b"bytes", b'{"json":[1,null]}\n']
        assert outcome.frames[0].header == [200, "text/plain; charset=utf-8", None]
        duration_us, memory_kib = outcome.last.header
        assert duration_us > 0
        assert memory_kib > 4_000

    def test_of_objects_is_lines_of_json(self, instance: Instance) -> None:
        outcome = instance.adopt("items_async").call(wants_stream=True)

        assert outcome.frames[0].header[1] == "application/x-ndjson"
        assert outcome.chunks == [b'{"n":0}\n', b'{"n":1}\n', b'{"n":2}\n']

    @pytest.mark.parametrize(
        ("handler", "body"),
        [
            ("items", b'textbytes{"json":[1,null]}\n'),
            ("items_returned", b'textbytes{"json":[1,null]}\n'),
            ("items_async", b'{"n":0}\n{"n":1}\n{"n":2}\n'),
        ],
    )
    def test_is_joined_for_a_caller_who_wants_one_body(
        self, instance: Instance, handler: str, body: bytes
    ) -> None:
        outcome = instance.adopt(handler).call()

        assert outcome.kinds == [FrameType.REPLY]
        assert outcome.last.body == body

    def test_without_items_begins_and_ends(self, instance: Instance) -> None:
        outcome = instance.adopt("items_none").call(wants_stream=True)

        assert outcome.kinds == [FrameType.BEGIN, FrameType.END]

    def test_may_have_status_and_headers(self, instance: Instance) -> None:
        outcome = instance.adopt("items_http").call(wants_stream=True)

        status, content_type, headers = outcome.frames[0].header
        assert (status, content_type) == (207, "text/event-stream")
        assert headers == {"content-type": "text/event-stream"}
        assert outcome.chunks == [b"data: 0\n\n", b"data: 1\n\n"]

    @pytest.mark.parametrize("handler", ["echo", "echo_async"])
    def test_of_a_plain_result_is_one_chunk(self, instance: Instance, handler: str) -> None:
        outcome = instance.adopt(handler).call(b'{"a":1}', wants_stream=True)

        assert outcome.kinds == [FrameType.BEGIN, FrameType.CHUNK, FrameType.END]
        assert outcome.chunks == [b'{"a":1}']

    @pytest.mark.parametrize("handler", ["items_failing", "items_failing_async"])
    def test_that_fails_ends_with_the_error(self, instance: Instance, handler: str) -> None:
        outcome = instance.adopt(handler).call(wants_stream=True)

        assert outcome.kinds == [FrameType.BEGIN, FrameType.CHUNK, FrameType.ERROR]
        assert outcome.error[2] == "broken: ü"

    def test_refuses_an_item_that_json_cannot_hold(self, instance: Instance) -> None:
        assert instance.adopt("items_bad").call(wants_stream=True).error[0] == "bad-result"

    @GENERATORS
    def test_that_is_joined_may_not_pass_the_limit(
        self, instance: Instance, handler: str, tmp_path: Path
    ) -> None:
        mark = tmp_path / "mark"
        body = order(mark, 7, RESPONSE_MAX_BYTES // 6)

        kind, _, _ = instance.adopt(handler).call(body).error

        assert kind == "response-too-large"
        assert mark.read_text() == "closed"


class TestCredit:
    @GENERATORS
    def test_stops_the_function_at_the_window(
        self, instance: Instance, handler: str, tmp_path: Path
    ) -> None:
        mark = tmp_path / "mark"
        instance.adopt(handler).invoke(1, order(mark, 40, 16 * 1024), wants_stream=True)

        taken = read_window(instance)

        assert taken == STREAM_WINDOW_BYTES
        assert instance.is_silent()
        assert not mark.exists()

    @GENERATORS
    @pytest.mark.parametrize("size", [10_000, 300_000, 1_000_000])
    def test_lets_as_much_through_as_was_given(
        self, instance: Instance, handler: str, size: int, tmp_path: Path
    ) -> None:
        count = 2_000_000 // size
        instance.adopt(handler)
        instance.invoke(1, order(tmp_path / "mark", count, size), wants_stream=True)

        allowed, received = STREAM_WINDOW_BYTES, 0
        for frame in instance.frames():
            received += len(frame.body)
            assert received <= allowed
            if frame.kind == FrameType.CHUNK:
                instance.send(FrameType.CREDIT, 1, [len(frame.body)])
                allowed += len(frame.body)
            if frame.kind in LAST:
                break

        assert (frame.kind, received) == (FrameType.END, count * size)

    def test_limits_a_plain_result_too(self, instance: Instance) -> None:
        instance.adopt("sized").invoke(1, b"300000", wants_stream=True)

        assert read_window(instance) == STREAM_WINDOW_BYTES
        assert instance.is_silent()

        instance.send(FrameType.CREDIT, 1, [100_000])
        outcome = instance.until(*LAST)
        assert len(b"".join(outcome.chunks)) == 300_000 - STREAM_WINDOW_BYTES

    def test_of_a_finished_call_is_ignored(self, instance: Instance) -> None:
        instance.adopt("items").call(wants_stream=True)

        instance.send(FrameType.CREDIT, 1, [5])
        instance.send(FrameType.CANCEL, 1)

        assert instance.call(stream=2, wants_stream=True).last.kind == FrameType.END

    def test_is_counted_for_each_call_alone(self, instance: Instance, tmp_path: Path) -> None:
        instance.adopt("big_items_async", concurrency=2)
        for stream in (1, 2):
            instance.invoke(stream, order(tmp_path / "m", 10, 100_000), wants_stream=True)
        received = {1: 0, 2: 0}
        while min(received.values()) < STREAM_WINDOW_BYTES:
            frame = instance.read()
            received[frame.stream] += len(frame.body)
        assert instance.is_silent()

        instance.send(FrameType.CREDIT, 2, [10_000_000])
        outcome = instance.until(*LAST)

        assert {frame.stream for frame in outcome.frames} == {2}
        assert received == {1: STREAM_WINDOW_BYTES, 2: STREAM_WINDOW_BYTES}


class TestCancel:
    def cancelled(self, instance: Instance) -> Outcome:
        instance.control.settimeout(5)
        instance.send(FrameType.CANCEL, 1)
        outcome = instance.until(*LAST)
        assert outcome.error[0] == "cancelled"
        return outcome

    @GENERATORS
    def test_closes_a_generator_that_waits_for_credit(
        self, instance: Instance, handler: str, tmp_path: Path
    ) -> None:
        mark = tmp_path / "mark"
        instance.adopt(handler).invoke(1, order(mark, 40, 16 * 1024), wants_stream=True)
        read_window(instance)

        self.cancelled(instance)

        assert mark.read_text() == "closed"

    @GENERATORS
    def test_closes_a_generator_between_two_chunks(
        self, instance: Instance, handler: str, tmp_path: Path
    ) -> None:
        mark = tmp_path / "mark"
        instance.adopt(handler).invoke(1, order(mark, 10**9, 16), wants_stream=True)
        instance.send(FrameType.CREDIT, 1, [10**9])
        read_window(instance, 64)

        self.cancelled(instance)

        assert mark.read_text() == "closed"

    def test_ends_a_generator_that_waits_for_something_else(self, instance: Instance) -> None:
        instance.adopt("slow_items").invoke(1, wants_stream=True)
        read_window(instance, 5)

        self.cancelled(instance)

    def test_ends_a_call_that_waits(self, instance: Instance) -> None:
        instance.adopt("abortable").invoke(1)
        instance.until(FrameType.LOG)

        self.cancelled(instance)

        instance.send(FrameType.SHUTDOWN)
        assert instance.exit_status() == 0

    def test_leaves_other_calls_alone(self, instance: Instance) -> None:
        instance.adopt("waits", concurrency=2)
        instance.invoke(1, b'{"n": 1, "seconds": 0.3}')
        instance.invoke(2, b'{"n": 2, "seconds": 0.3}')

        instance.send(FrameType.CANCEL, 1)
        outcomes = [instance.until(*LAST).last for _ in range(2)]

        assert {(frame.stream, frame.kind) for frame in outcomes} == {
            (1, FrameType.ERROR), (2, FrameType.REPLY),
        }  # fmt: skip

    def test_leaves_the_instance_usable(self, instance: Instance, tmp_path: Path) -> None:
        instance.adopt("big_items")
        instance.invoke(1, order(tmp_path / "a", 40, 16 * 1024), wants_stream=True)
        read_window(instance)
        self.cancelled(instance)

        outcome = instance.call(order(tmp_path / "b", 2, 5), wants_stream=True, stream=2)

        assert outcome.chunks == [b"zzzzz", b"zzzzz"]
