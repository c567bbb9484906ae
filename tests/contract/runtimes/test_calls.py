"""Payloads in, results out, errors."""

import json
import os
from typing import Any

import pytest

from hotswap.core.limits import REQUEST_MAX_BYTES, RESPONSE_MAX_BYTES
from runtimes.protocol.framing import FrameType, encode
from tests.contract.runtimes.harness import Instance, only

BOTH = pytest.mark.parametrize("handler", ["echo", "echo_async"])
ERROR_MAX_BYTES = 64 * 1024


def reply(instance: Instance, handler: str, event: object = None) -> tuple[int, str, Any, bytes]:
    """(status, content type, headers, body) of one call."""
    last = instance.adopt(handler).call(json.dumps(event).encode()).last
    assert last.kind == FrameType.REPLY, last.body
    return last.header[2], last.header[3], last.header[4], last.body


class TestPayload:
    @BOTH
    @pytest.mark.parametrize(
        "event",
        [{"a": [1, 2.5, None, True]}, [], "text", 0, False, None, {"ü": "日本 🎈"}, "\u2028\x00"],
        ids=["object", "array", "string", "zero", "false", "null", "unicode", "controls"],
    )
    def test_arrives_and_returns_as_json(
        self, instance: Instance, handler: str, event: object
    ) -> None:
        outcome = instance.adopt(handler).call(json.dumps(event).encode())

        duration_us, memory_kib, *rest = outcome.last.header
        assert outcome.last.json == event
        assert rest == [200, "application/json", None]
        assert duration_us > 0
        assert memory_kib > 4_000

    def test_returns_compact_json_in_utf_8(self, instance: Instance) -> None:
        outcome = instance.adopt("echo").call(b'{ "a" : [1, "\\u00fc"] }')

        assert outcome.last.body == '{"a":[1,"ü"]}'.encode()

    @pytest.mark.parametrize(
        ("content_type", "body", "kind"),
        [
            ("", b"{}", "dict"),
            ("", b"", "NoneType"),
            ("application/json", b"", "NoneType"),
            ("application/json; charset=utf-8", b"{}", "dict"),
            ("application/cloudevents+json", b"{}", "dict"),
            ("APPLICATION/JSON", b"{}", "dict"),
            ("text/plain", "ü".encode(), "str"),
            ("text/csv; header=present", b"a,b", "str"),
            ("application/octet-stream", b"\xff\x00", "bytes"),
            ("image/png", b"", "bytes"),
        ],
    )
    def test_is_given_in_the_form_its_content_type_says(
        self, instance: Instance, content_type: str, body: bytes, kind: str
    ) -> None:
        outcome = instance.adopt("describe").call(body, content_type=content_type)

        assert outcome.last.json == kind

    def test_keeps_binary_bytes(self, instance: Instance) -> None:
        body = bytes(range(256)) * 10

        outcome = instance.adopt("echo").call(body, content_type="application/x-binary")

        assert outcome.last.body == body
        assert outcome.last.header[3] == "application/octet-stream"

    @BOTH
    @pytest.mark.parametrize(
        "body", [b"{", b"nul", b"\xff", b"{'a': 1}", b'{"a": NaN}'],
        ids=["cut", "word", "not-utf-8", "quotes", "nan"],
    )  # fmt: skip
    def test_that_is_not_json_is_an_invalid_event(
        self, instance: Instance, handler: str, body: bytes
    ) -> None:
        if body == b"\xff" and instance.runtime.language == "node":
            body = b"\xff{"  # Node decodes with replacement characters

        kind, name, _ = instance.adopt(handler).call(body).error

        assert (kind, name) == ("raised", "InvalidEvent")

    def test_of_the_largest_size_arrives(self, instance: Instance) -> None:
        body = b"b" * REQUEST_MAX_BYTES

        outcome = instance.adopt("echo").call(body, content_type="application/octet-stream")

        assert outcome.last.body == body


class TestResult:
    def test_of_bytes_is_an_octet_stream(self, instance: Instance) -> None:
        assert reply(instance, "raw") == (
            200, "application/octet-stream", None, bytes(range(256)),
        )  # fmt: skip

    def test_of_nothing_is_null(self, instance: Instance) -> None:
        assert reply(instance, "nothing") == (200, "application/json", None, b"null")

    @pytest.mark.parametrize(
        ("event", "expected"),
        [
            ({"statusCode": 204}, (204, "text/plain; charset=utf-8", None, b"")),
            (
                {"statusCode": 201, "body": "hallo ü"},
                (201, "text/plain; charset=utf-8", None, "hallo ü".encode()),
            ),
            ({"statusCode": 200, "body": '{"a":1}'}, (200, "application/json", None, b'{"a":1}')),
            ({"statusCode": 200, "body": " [1]"}, (200, "application/json", None, b" [1]")),
            ({"statusCode": 500, "body": {"a": 1}}, (500, "application/json", None, b'{"a":1}')),
            ({"statusCode": 200, "body": 5}, (200, "application/json", None, b"5")),
            (
                {"statusCode": 302, "headers": {"Location": "/x", "X-N": 5, "X-B": True}},
                (
                    302,
                    "text/plain; charset=utf-8",
                    {"location": "/x", "x-n": "5", "x-b": "true"},
                    b"",
                ),
            ),
            (
                {"statusCode": 200, "headers": {"Content-Type": "text/html"}, "body": "<p>"},
                (200, "text/html", {"content-type": "text/html"}, b"<p>"),
            ),
            (
                {"statusCode": 200, "body": "iVBORw==", "isBase64Encoded": True},
                (200, "application/octet-stream", None, b"\x89PNG"),
            ),
        ],
        ids=["empty", "text", "json-text", "array-text", "object", "number", "headers", "html",
             "base64"],
    )  # fmt: skip
    def test_shaped_as_http_becomes_status_headers_and_body(
        self, instance: Instance, event: object, expected: tuple[int, str, Any, bytes]
    ) -> None:
        assert reply(instance, "result", event) == expected

    def test_shaped_as_http_may_have_a_body_of_bytes(self, instance: Instance) -> None:
        status, content_type, _, body = reply(instance, "http_bytes")

        assert (status, content_type, body) == (200, "image/png", b"\x89PNG")

    @pytest.mark.parametrize("status", [99, 600, "200", True, 200.5])
    def test_with_an_impossible_status_is_plain_json(
        self, instance: Instance, status: object
    ) -> None:
        event = {"statusCode": status, "body": "x"}

        got, content_type, _, body = reply(instance, "result", event)

        assert (got, content_type, json.loads(body)) == (200, "application/json", event)

    @pytest.mark.parametrize("handler", ["sized", "sized_text"])
    def test_may_have_the_largest_size(self, instance: Instance, handler: str) -> None:
        size = RESPONSE_MAX_BYTES if handler == "sized" else RESPONSE_MAX_BYTES - 2  # two quotes

        assert len(reply(instance, handler, size)[3]) == RESPONSE_MAX_BYTES

    @pytest.mark.parametrize("handler", ["sized", "sized_text"])
    def test_over_the_largest_size_is_refused(self, instance: Instance, handler: str) -> None:
        size = RESPONSE_MAX_BYTES + 1 if handler == "sized" else RESPONSE_MAX_BYTES - 1

        kind, _, message = instance.adopt(handler).call(str(size).encode()).error

        assert kind == "response-too-large"
        assert str(RESPONSE_MAX_BYTES + 1) in message

    @pytest.mark.parametrize(
        ("handler", "names", "path"),
        [
            ("bad_set", "set", "$.a[2]"),
            ("bad_nan", "nan", "$.a['b c']"),
            ("bad_infinity", "inf", "$[0]"),
            ("bad_cycle", "itself", "$.a"),
            ("bad_function", "function", "$.f"),
            ("bad_depth", "too deeply", ""),
            ("bad_http_body", "set", "$.body.x"),
            ("bad_base64", "base64", "$.body"),
            ("bad_header", "not a string", "$.headers"),
        ],
    )
    def test_that_cannot_be_sent_names_what_and_where(
        self, instance: Instance, handler: str, names: str, path: str
    ) -> None:
        kind, name, message = instance.adopt(handler).call().error

        assert (kind, name) == ("bad-result", "BadResult")
        assert names in message.lower()
        assert path in message.replace('"', "'")

    def test_that_was_bad_leaves_the_instance_usable(self, instance: Instance) -> None:
        instance.adopt("describe").call(b"{")

        assert instance.call(b"{}", stream=2).last.json == "dict"


class TestError:
    @pytest.mark.parametrize("handler", ["fails", "fails_async"])
    def test_carries_type_message_and_the_users_frames(
        self, instance: Instance, handler: str
    ) -> None:
        outcome = instance.adopt(handler).call()

        kind, name, message = outcome.error
        stack = outcome.last.json["stackTrace"]
        assert (kind, message) == ("raised", "broken: ü")
        assert name in ("ValueError", "TypeError")
        assert any("inner" in line for line in stack)
        assert not any("bootstrap" in line or "node:" in line for line in stack)

    def test_carries_its_causes(self, instance: Instance) -> None:
        outcome = instance.adopt("fails_with_cause").call()

        assert outcome.error[2] == "outer"
        assert any(line.startswith("Caused by ") for line in outcome.last.json["stackTrace"])

    def test_is_cut_to_its_limit(self, instance: Instance) -> None:
        outcome = instance.adopt("fails_long").call()

        assert len(outcome.error[2]) <= ERROR_MAX_BYTES
        assert sum(map(len, outcome.last.json["stackTrace"])) <= ERROR_MAX_BYTES

    def test_leaves_the_instance_usable(self, instance: Instance) -> None:
        instance.adopt("fails")

        kinds = [instance.call(stream=stream).error[0] for stream in (1, 2, 3)]

        assert kinds == ["raised"] * 3

    def test_of_a_dying_process_is_its_end_after_the_last_words(self, instance: Instance) -> None:
        instance.adopt("dies").invoke(1)

        with pytest.raises(EOFError):
            instance.until(FrameType.REPLY)

        assert instance.exit_status() == 9


class TestContext:
    def test_has_the_fields_of_lambda(self, instance: Instance) -> None:
        instance.adopt("context_fields")
        instance.invoke(1, deadline_ms=4_102_444_800_000)

        told = instance.until(FrameType.REPLY).last.json

        assert told.pop("remaining") > 0
        assert told == {
            "requestId": "request-1",
            "name": "demo",
            "version": "7",
            "memory": "256",
            "arn": "hotswap:demo:live",
            "logStream": "2026/01/01/[7]i-1",
            "logGroup": "/hotswap/demo",
            "deadline": 4_102_444_800_000,
            "trace": "00-trace-01",
            "alias": "live",
        }

    def test_has_no_time_left_after_the_deadline(self, instance: Instance) -> None:
        instance.adopt("context_fields").invoke(1, deadline_ms=1)

        assert instance.until(FrameType.REPLY).last.json["remaining"] == 0


class TestManyCalls:
    @BOTH
    def test_are_answered_each_with_its_own_payload(self, instance: Instance, handler: str) -> None:
        instance.adopt(handler)

        for stream in range(1, 500):
            assert instance.call(b"%d" % stream, stream=stream).last.json == stream

    @BOTH
    def test_that_arrive_in_one_write_are_all_answered(
        self, instance: Instance, handler: str
    ) -> None:
        instance.adopt(handler)
        for stream in range(1, 6):
            instance.invoke(stream, b"%d" % stream)

        replies = [instance.until(FrameType.REPLY).last for _ in range(5)]

        assert sorted((reply.stream, reply.json) for reply in replies) == [
            (number, number) for number in range(1, 6)
        ]

    @BOTH
    def test_are_understood_byte_by_byte(self, instance: Instance, handler: str) -> None:
        instance.adopt(handler)
        header = json.dumps(["r", 0, "", "", ""]).encode()
        frame = encode(FrameType.INVOKE, 1, header, b'"slow"')

        for byte in frame:
            instance.control.sendall(bytes([byte]))

        assert instance.until(FrameType.REPLY).last.json == "slow"

    def test_of_async_handlers_run_side_by_side(self, instance: Instance) -> None:
        instance.adopt("waits", concurrency=8)
        for number in range(8):
            instance.invoke(number + 1, b'{"n": %d, "seconds": 0.3}' % number)

        outcomes = [instance.until(FrameType.REPLY) for _ in range(8)]

        logs = [frame for item in outcomes for frame in item.frames if frame.kind == FrameType.LOG]
        said = {(frame.stream, text) for frame in logs for _, _, text in frame.json}
        numbers = range(8)
        assert sorted(item.last.json for item in outcomes) == list(numbers)
        assert all(item.last.header[0] < 1_500_000 for item in outcomes)
        assert said == {(n + 1, f"{word} {n}") for n in numbers for word in ("start", "end")}


@only("python")
class TestPythonOnly:
    def test_exit_in_a_handler_is_an_error_of_that_call(self, instance: Instance) -> None:
        kind, name, message = instance.adopt("leaves").call().error

        assert (kind, name, message) == ("raised", "SystemExit", "3")
        assert instance.call(stream=2).error[1] == "SystemExit"

    def test_exit_in_a_background_task_leaves_the_instance_usable(self, instance: Instance) -> None:
        outcome = instance.adopt("exits_in_task").call()

        assert outcome.last.json is True
        assert ("ERROR", "SystemExit in a background task") in outcome.lines

    @pytest.mark.parametrize("handler", ["callable_object", "async_callable_object"])
    def test_callable_objects_are_handlers(self, instance: Instance, handler: str) -> None:
        assert instance.adopt(handler).call().last.json == "called"

    def test_plain_handlers_may_run_a_loop_of_their_own(self, instance: Instance) -> None:
        assert instance.adopt("runs_own_loop").call(b"5").last.json == 5
        assert instance.call(b"6", stream=2).last.json == 6

    def test_plain_handlers_may_return_an_awaitable(self, instance: Instance) -> None:
        instance.adopt("gives_awaitable")

        assert [instance.call(b"%d" % n, stream=n).last.json for n in (1, 2, 3)] == [1, 2, 3]

    def test_a_forked_child_cannot_answer(self, instance: Instance) -> None:
        outcome = instance.adopt("forks").call()

        assert outcome.kinds == [FrameType.REPLY]
        assert outcome.last.json == "parent"
        assert instance.is_silent()

    def test_spawned_workers_do_not_start_the_bootstrap_again(self, instance: Instance) -> None:
        assert instance.adopt("spawns").call().last.json == [1, 2]

    def test_an_error_in_a_thread_is_logged(self, instance: Instance) -> None:
        outcome = instance.adopt("stray").call()

        assert outcome.last.json == "survived"
        assert any("ValueError: broken" in text for _, text in outcome.lines)

    def test_logging_keeps_its_levels(self, instance: Instance) -> None:
        lines = instance.adopt("uses_logging").call().lines

        assert lines[:3] == [("INFO", "told"), ("WARN", "careful"), ("ERROR", "caught")]
        assert lines[-1] == ("ERROR", "ValueError: broken: ü")


@only("node")
class TestNodeOnly:
    def test_a_callback_gives_the_result(self, instance: Instance) -> None:
        assert instance.adopt("calls_back").call().last.json == "by callback"

    def test_a_callback_gives_the_error(self, instance: Instance) -> None:
        assert instance.adopt("calls_back_with_error").call().error == (
            "raised", "RangeError", "by callback",
        )  # fmt: skip

    def test_an_unhandled_rejection_fails_the_call_that_runs(self, instance: Instance) -> None:
        assert instance.adopt("stray").call().error == ("raised", "Error", "lost")
        assert instance.call(stream=2).error[2] == "lost"

    def test_an_error_after_the_call_is_logged_and_survived(self, instance: Instance) -> None:
        instance.adopt("stray_later").call()

        logged = instance.until(FrameType.LOG)

        assert logged.last.stream == 0
        assert "late" in logged.lines[0][1]
        assert instance.call(stream=2).last.json == "survived"

    def test_thrown_text_is_its_message(self, instance: Instance) -> None:
        assert instance.adopt("throws_text").call().error == ("raised", "string", "just text")

    def test_undefined_is_left_out_and_dates_are_text(self, instance: Instance) -> None:
        assert reply(instance, "drops_undefined")[3] == b'{"b":"1970-01-01T00:00:00.000Z"}'

    def test_a_readable_stream_is_sent_chunk_by_chunk(self, instance: Instance) -> None:
        assert instance.adopt("items_readable").call(wants_stream=True).chunks == [b"a", b"b"]

    def test_a_bigint_is_named(self, instance: Instance) -> None:
        assert "bigint at $.n" in instance.adopt("bad_bigint").call().error[2]

    @pytest.mark.parametrize(
        ("handler", "expected"),
        [
            ("module.handler", f"module {os.sep}"),
            ("module.other", "default"),
            ("index.nested.handler", "nested"),
        ],
    )
    def test_modules_and_nested_exports_are_found(
        self, instance: Instance, handler: str, expected: str
    ) -> None:
        assert instance.adopt(handler).call().last.json == expected
