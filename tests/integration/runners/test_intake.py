"""Reports of the data plane arrive exactly once."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from django.db import connection

from hotswap.core import clock
from runners.models import InvocationMinute, InvocationRecord, LogLine, LogStream, ReportSeen
from tests.integration.runners.reporting import Deployed, Intake, counts, deploy, invoked, line

MINUTE = 29_000_000


def _stored(function: Deployed) -> list[tuple[int, str]]:
    lines = LogLine.objects.filter(function_id=function.id).order_by("seq")
    return list(lines.values_list("seq", "text"))


@pytest.mark.django_db
class TestTheDoor:
    def test_refuses_who_lacks_the_internal_token(self, intake: Intake) -> None:
        answers = [intake.post(path, b"{}", token="wrong") for path in ("reports", "logs")]

        assert [answer.status_code for answer in answers] == [401, 401]

    @pytest.mark.parametrize("body", [b"", b"{", b"[]", b'{"node": 1}', b'{"node": "\xff"}'])
    def test_refuses_what_it_does_not_understand(self, intake: Intake, body: bytes) -> None:
        for path in ("reports", "logs", "heartbeat"):
            answer = intake.post(path, body)

            assert answer.status_code == 400
            assert answer["Content-Type"] == "application/problem+json"

    def test_refuses_for_good_what_the_database_cannot_hold(
        self, intake: Intake, deployed: Callable[..., Deployed]
    ) -> None:
        version = deployed("thumbs").versions[0]

        answer = intake.calls(1, records=[invoked(version, "r" * 500)])

        assert answer.status_code == 422
        assert intake.calls(2, records=[invoked(version, "r1")]).status_code == 200


@pytest.mark.django_db
class TestLogs:
    def test_are_numbered_per_function_in_their_order(
        self, intake: Intake, deployed: Callable[..., Deployed]
    ) -> None:
        first, second = deployed("first", 2), deployed("second")

        intake.logs(1, [line(first.versions[0], "a"), line(second.versions[0], "x")])
        intake.logs(2, [line(first.versions[1], "b"), line(first.versions[0], "c")])

        assert _stored(first) == [(1, "a"), (2, "b"), (3, "c")]
        assert _stored(second) == [(1, "x")]

    def test_of_a_repeated_report_are_stored_once(
        self, intake: Intake, deployed: Callable[..., Deployed]
    ) -> None:
        function = deployed("thumbs")
        lines = [line(function.versions[0], "once")]

        answers = [intake.logs(seq, lines).json() for seq in (1, 1, 2, 1, 2)]

        assert [answer["repeated"] for answer in answers] == [False, True, False, True, True]
        assert len(_stored(function)) == 2

    def test_of_another_boot_begin_their_own_count(
        self, intake: Intake, deployed: Callable[..., Deployed]
    ) -> None:
        function = deployed("thumbs")
        lines = [line(function.versions[0])]

        answers = [process.logs(1, lines).json() for process in (intake, Intake())]

        assert [answer["repeated"] for answer in answers] == [False, False]

    def test_of_versions_that_are_gone_are_left_out_and_counted(
        self, intake: Intake, deployed: Callable[..., Deployed]
    ) -> None:
        function = deployed("thumbs")

        answer = intake.logs(1, [line(999_999), line(function.versions[0], "kept"), line(0)])

        assert (answer.status_code, answer.json()["unknown"]) == (200, 2)
        assert _stored(function) == [(1, "kept")]
        assert ReportSeen.objects.get().unknown == 2

    @pytest.mark.parametrize(
        ("printed", "stored"),
        [
            pytest.param("\x1b[31mred\x1b[0m", "red", id="colour"),
            pytest.param("a\x00b\r\x07c", "abc", id="controls"),
            pytest.param("col\tumn", "col\tumn", id="tab"),
            pytest.param("\x1b]0;title\x07text", "text", id="title"),
            pytest.param("\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\", "link", id="hyperlink"),
            pytest.param("safe\u202etxt.exe", "safetxt.exe", id="direction override"),
            pytest.param("héllo 世界 🎉", "héllo 世界 🎉", id="other languages"),
            pytest.param("\x1b", "", id="lone escape"),
        ],
    )
    def test_are_plain_text(
        self, intake: Intake, deployed: Callable[..., Deployed], printed: str, stored: str
    ) -> None:
        function = deployed("thumbs")

        intake.logs(1, [line(function.versions[0], printed)])

        assert _stored(function) == [(1, stored)]

    def test_cannot_be_dated_out_of_retention(
        self, intake: Intake, deployed: Callable[..., Deployed]
    ) -> None:
        version = deployed("thumbs").versions[0]
        now = clock.epoch_ms()

        intake.logs(1, [line(version, time_ms=2**62), line(version, time_ms=-1)])

        future, past = LogLine.objects.order_by("seq").values_list("time_ms", flat=True)
        assert future <= now + 120_000
        assert past >= now - 25 * 3_600_000

    def test_of_an_unknown_level_become_information(
        self, intake: Intake, deployed: Callable[..., Deployed]
    ) -> None:
        intake.logs(1, [line(deployed("thumbs").versions[0], level="FATAL-BUT-LONG")])

        assert LogLine.objects.get().level == "INFO"


@pytest.mark.django_db
class TestCalls:
    def test_are_counted_exactly_over_many_reports(
        self, intake: Intake, deployed: Callable[..., Deployed]
    ) -> None:
        version = deployed("thumbs").versions[0]
        throttled = counts(version, minute=MINUTE, outcomes={"throttled": 3}, memory_peak_kib=1)

        intake.calls(1, [counts(version, minute=MINUTE)])
        intake.calls(2, [counts(version, minute=MINUTE), throttled])
        intake.calls(2, [counts(version, minute=MINUTE), throttled])

        row = InvocationMinute.objects.get()
        assert row.outcomes == {"ok": 18, "function-raised": 2, "throttled": 3}
        assert (row.calls, row.cold, row.total_us, row.init_us) == (23, 6, 180_000, 24_000)
        assert (row.billed_ms, row.memory_peak_kib, sum(row.buckets)) == (300, 30_720, 30)

    def test_keep_every_field_of_a_record(
        self, intake: Intake, deployed: Callable[..., Deployed]
    ) -> None:
        function = deployed("thumbs")
        error = {"errorType": "ValueError", "errorMessage": "a\x00b", "stackTrace": ["one\ntwo"]}
        call = invoked(function.versions[0], "req-1", outcome="function-raised", error=error)

        intake.calls(1, records=[call], records_dropped=7)

        row = InvocationRecord.objects.get()
        assert (row.function_id, row.request_id, row.status) == (function.id, "req-1", 200)
        assert (row.total_us, row.queue_us, row.run_us, row.billed_ms) == (6_000, 500, 5_000, 5)
        assert abs(row.ended_at.timestamp() * 1000 - call.ended_ms) < 2
        assert row.error == {**error, "errorMessage": "ab"}
        assert ReportSeen.objects.get().sampled_out == 7

    def test_of_versions_that_are_gone_are_left_out_and_counted(self, intake: Intake) -> None:
        answer = intake.calls(1, [counts(999_999, minute=MINUTE)], [invoked(999_999, "r")])

        assert (answer.status_code, answer.json()["unknown"]) == (200, 10)
        assert not InvocationMinute.objects.exists()


@pytest.mark.django_db(transaction=True)
class TestConcurrentReports:
    def test_of_one_number_count_once(self) -> None:
        version = deploy("thumbs").versions[0]
        process = Intake()

        def report(_: int) -> bool:
            try:
                answer = Intake(boot=process.boot).calls(
                    1, [counts(version, minute=MINUTE)], [invoked(version, "r1")]
                )
                return bool(answer.json()["repeated"])
            finally:
                connection.close()

        with ThreadPoolExecutor(8) as threads:
            repeated = sorted(threads.map(report, range(8)))

        assert repeated == [False] + [True] * 7
        assert InvocationMinute.objects.get().calls == 10
        assert InvocationRecord.objects.count() == 1

    def test_of_many_gateways_lose_nothing(self) -> None:
        function = deploy("thumbs", 3)

        def report(gateway: int) -> None:
            process = Intake(node=f"gateway-{gateway}")
            versions = function.versions if gateway % 2 else function.versions[::-1]
            for seq in range(1, 11):
                process.calls(seq, [counts(version, minute=MINUTE) for version in versions])
                process.logs(seq, [line(version) for version in versions])
            connection.close()

        with ThreadPoolExecutor(6) as threads:
            list(threads.map(report, range(6)))

        calls = InvocationMinute.objects.values_list("calls", flat=True)
        seqs = list(LogLine.objects.order_by("seq").values_list("seq", flat=True))
        assert list(calls) == [600, 600, 600]
        assert seqs == list(range(1, 181))
        assert LogStream.objects.get().last_seq == 180
