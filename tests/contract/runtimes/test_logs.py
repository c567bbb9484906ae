"""What a function prints."""

import time

from hotswap.core.limits import LOG_BYTES_PER_INVOCATION, LOG_LINE_MAX_BYTES
from runtimes.protocol.framing import FrameType
from tests.contract.runtimes.harness import Instance, only


class TestLogs:
    def test_carry_levels_and_come_before_the_reply(self, instance: Instance) -> None:
        outcome = instance.adopt("prints").call(stream=5)

        assert outcome.kinds == [FrameType.LOG, FrameType.REPLY]
        assert outcome.frames[0].stream == 5
        assert outcome.lines == [
            ("INFO", "one"),
            ("INFO", "two three"),
            ("ERROR", "err"),
            ("INFO", "bytes"),
            ("DEBUG", "d"),
            ("INFO", "i"),
            ("WARN", "w"),
            ("ERROR", "e"),
            ("INFO", "no line feed"),
        ]

    def test_carry_wall_time_in_milliseconds(self, instance: Instance) -> None:
        before = time.time_ns() // 1_000_000

        outcome = instance.adopt("prints").call()

        times = [moment for moment, _, _ in outcome.frames[0].json]
        assert before <= min(times) <= max(times) <= time.time_ns() // 1_000_000 + 1

    def test_of_each_call_have_its_stream(self, instance: Instance) -> None:
        instance.adopt("prints")

        streams = [instance.call(stream=number).frames[0].stream for number in (3, 4)]

        assert streams == [3, 4]

    def test_of_a_waiting_call_go_out_before_it_ends(self, instance: Instance) -> None:
        instance.adopt("prints_async").invoke(1)

        first = instance.read()
        rest = instance.until(FrameType.REPLY)

        assert first.kind == FrameType.LOG
        assert [text for _, _, text in first.json] == ["before"]
        assert rest.lines == [("INFO", "after")]

    def test_of_a_busy_call_go_out_before_it_ends(self, instance: Instance) -> None:
        outcome = instance.adopt("prints_slowly").call()

        assert outcome.kinds.count(FrameType.LOG) > 1
        assert outcome.lines == [("INFO", f"tick {number}") for number in range(3)]

    def test_lines_are_cut_to_their_limit(self, instance: Instance) -> None:
        ((_, text),) = instance.adopt("logs_long_line").call().lines

        assert text == "ü" * (LOG_LINE_MAX_BYTES // 2)

    def test_are_only_counted_after_the_budget_of_the_call(self, instance: Instance) -> None:
        instance.adopt("logs_flood")

        for stream in (1, 2):
            outcome = instance.call(stream=stream)
            kept = sum(len(text.encode()) for _, text in outcome.lines)
            assert LOG_BYTES_PER_INVOCATION - 2048 < kept <= LOG_BYTES_PER_INVOCATION
            assert len(outcome.lines) + outcome.dropped == 3000

    def test_that_are_not_unicode_are_mended(self, instance: Instance) -> None:
        outcome = instance.adopt("unicode_surrogate").call()

        assert outcome.last.json == "ok"
        assert len(outcome.lines) == 1

    @only("node")  # Python's os._exit skips everything, as its documentation says
    def test_of_a_dying_process_arrive(self, instance: Instance) -> None:
        instance.adopt("dies").invoke(1)

        assert instance.until(FrameType.LOG).lines == [("INFO", "last words")]
