"""Counting what is evidence, once, and telling it."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hotswap.core import clock
from hotswap.core.errors import all_errors
from hotswap.wire.rollouts import FAILURES_MAX, EvidenceReport
from runners.gateway import evidence as module
from runners.gateway.evidence import Evidence, Tally
from runners.gateway.stats import VersionStats

decode = msgspec.json.Decoder(EvidenceReport).decode


class OneSplit:
    """A split in force between versions 1 and 2."""

    def __init__(self, evidence: Evidence, attempt: str = "a" * 32, epoch: int = 1) -> None:
        self.attempt = attempt
        self.epoch = epoch
        self.tally: Tally = evidence.tally(attempt, "pepper")
        self.versions = (VersionStats(1, "f"), VersionStats(2, "f"))
        self.tally.watch(self.versions)

    def holds(self, now: float) -> bool:
        return now < self.tally.lease_until


class Book:
    """Evidence of one split, and its reports."""

    def __init__(self) -> None:
        self.evidence = Evidence(node="n", boot="b")
        self.split = OneSplit(self.evidence)
        self.evidence.hold([self.split])
        self.seq = 0

    def count(
        self, outcome: str = "ok", *, status: int = 200, version: int = 2, client: str = "ann",
        runner: str = "r", cold: bool = False, total_us: int = 1_000, slow_us: int = 0,
    ) -> None:  # fmt: skip
        self.evidence.count(
            self.split, version=version, runner=runner, client=client, outcome=outcome,
            status=status, cold=cold, total_us=total_us, slow_us=slow_us,
        )  # fmt: skip

    def report(self) -> EvidenceReport | None:
        self.seq += 1
        body = self.evidence.collect(self.seq)
        return decode(body) if body is not None else None

    def arms(self) -> list[module.ArmCounts]:
        report = self.report()
        assert report is not None
        return report.arms


class TestCount:
    @pytest.mark.parametrize(
        ("outcome", "status", "kinds"),
        [
            ("ok", 200, []),
            ("ok", 404, []),
            ("ok", 500, ["http-5xx"]),
            ("ok", 503, ["http-5xx"]),
            ("function-raised", 502, ["function-raised"]),
            ("function-timeout", 504, ["function-timeout"]),
            ("upstream-failed", 502, ["upstream-failed"]),
            ("unavailable", 503, ["unavailable"]),
        ],
    )
    def test_names_what_the_function_or_the_platform_did_wrong(
        self, outcome: str, status: int, kinds: list[str]
    ) -> None:
        book = Book()

        book.count(outcome, status=status)

        (arm,) = book.arms()
        assert (arm.calls, arm.bad) == (1, len(kinds))
        assert [failure.kind for failure in arm.failures] == kinds

    @pytest.mark.parametrize("outcome", ["cancelled", "throttled", "payload-too-large"])
    def test_leaves_out_what_the_caller_did(self, outcome: str) -> None:
        book = Book()

        book.count(outcome, status=all_errors()[outcome].status)

        assert book.arms() == []

    def test_takes_a_caller_who_left_after_the_limit_for_a_slow_call(self) -> None:
        book = Book()
        book.count("cancelled", status=499, total_us=1_000, slow_us=2_000)
        book.count("cancelled", status=499, total_us=3_000, slow_us=2_000)
        book.count("throttled", status=429, total_us=3_000, slow_us=2_000)

        [arm] = book.arms()

        assert (arm.calls, arm.slow, arm.bad, arm.failures) == (1, 1, 0, [])

    def test_names_a_client_once_for_a_kind_also_over_reports(self) -> None:
        book = Book()
        for _ in range(3):
            book.count("function-raised", client="ann")
        book.count("function-raised", client="bob")
        book.count("init-failed", client="ann")
        first = book.arms()
        for _ in range(2):
            book.count("function-raised", client="ann")
        second = book.arms()

        named = [(f.client, f.kind, f.minute) for arm in first + second for f in arm.failures]
        assert sum(arm.bad for arm in first + second) == 7
        assert len(named) == len(set(named))
        assert {kind for _, kind, _ in named} == {"function-raised", "init-failed"}
        assert len({client for client, _, _ in named}) == 2
        assert all(len(client) == 16 and int(client, 16) >= 0 for client, _, _ in named)

    def test_names_a_client_again_in_the_next_minute(self, monkeypatch: pytest.MonkeyPatch) -> None:
        book = Book()
        for minute in (100, 100, 101):
            monkeypatch.setattr(module.clock, "epoch_ms", lambda minute=minute: minute * 60_000)
            book.count("function-raised")

        minutes = [failure.minute for arm in book.arms() for failure in arm.failures]
        assert minutes == [100, 101]

    def test_bounds_the_failures_it_names_and_counts_the_rest(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(module.clock, "epoch_ms", lambda: 6_000_000)
        book = Book()
        for number in range(FAILURES_MAX + 20):
            book.count("function-raised", client=f"c{number}")

        (arm,) = book.arms()
        assert (arm.bad, len(arm.failures), arm.failures_left_out) == (520, FAILURES_MAX, 20)

    def test_bounds_the_windows_that_wait_for_a_lost_control_plane(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        book = Book()
        for window in range(module.ARMS_MAX + 5):
            monkeypatch.setattr(module.clock, "epoch_ms", lambda w=window: w * 10_000)
            book.count()

        arms = book.arms()
        assert (len(arms), arms[0].window) == (module.ARMS_MAX, 50)

    def test_counts_slow_calls_above_the_limit_only(self) -> None:
        book = Book()
        for total_us in (999_000, 1_000_000, 1_000_001):
            book.count(total_us=total_us, slow_us=1_000_000)
        book.count(total_us=9_000_000, slow_us=0)

        assert sum(arm.slow for arm in book.arms()) == 1

    @given(
        st.lists(
            st.one_of(
                st.none(),
                st.tuples(
                    st.sampled_from(["ok", "function-raised", "cancelled"]),
                    st.sampled_from([1, 2]),
                    st.sampled_from(["r1", "r2"]),
                    st.booleans(),
                    st.sampled_from(["ann", "bob"]),
                ),
            ),
            max_size=60,
        )
    )
    def test_tells_every_call_in_exactly_one_report(
        self, events: list[tuple[str, int, str, bool, str] | None]
    ) -> None:
        book = Book()
        arms = []
        for event in events:
            if event is None:
                arms += book.arms()
            else:
                outcome, version, runner, cold, client = event
                book.count(outcome, version=version, runner=runner, cold=cold, client=client)
        arms += book.arms()

        for version in (1, 2):
            for cold in (False, True):
                told = [a for a in arms if (a.version_id, a.cold) == (version, cold)]
                made = [e for e in events if e and (e[1], e[3]) == (version, cold)]
                assert sum(a.calls for a in told) == sum(e[0] != "cancelled" for e in made)
                assert sum(a.bad for a in told) == sum(e[0] == "function-raised" for e in made)
                assert all(sum(a.buckets) == a.calls for a in told)


class TestReport:
    def test_comes_while_a_split_is_held_although_nothing_happened(self) -> None:
        book = Book()

        report = book.report()

        assert report is not None
        assert [state.in_flight for state in report.splits] == [{1: 0, 2: 0}]

    def test_does_not_come_without_a_split(self) -> None:
        book = Book()
        book.evidence.hold([])

        assert book.report() is None

    def test_brings_what_a_split_left_behind(self) -> None:
        book = Book()
        book.count()
        book.evidence.hold([])

        report = book.report()

        assert report is not None
        assert ([arm.calls for arm in report.arms], report.splits) == ([1], [])
        assert book.report() is None

    def test_tells_dropped_calls_once_and_none_from_before(self) -> None:
        book = Book()
        stable, _ = book.split.versions
        stable.dropped = 2
        first, second = book.report(), book.report()
        late = OneSplit(book.evidence, "b" * 32)
        late.versions[0].dropped = 5
        late.tally.watch(late.versions)  # seen before: no new start

        assert first is not None
        assert second is not None
        assert (first.splits[0].dropped, second.splits[0].dropped) == ({1: 2}, {})

    def test_is_the_last_of_a_split_when_the_process_ends(self) -> None:
        book = Book()
        book.evidence.close()

        last = book.report()

        assert last is not None
        assert len(last.splits) == 1
        assert book.report() is None


class TestLease:
    def test_counts_from_when_the_report_was_sent(self) -> None:
        book = Book()
        sent_at = clock.monotonic()

        book.evidence.answered(b'{"leases": {"%b": 30000}}' % (b"a" * 32), sent_at)

        assert book.split.holds(sent_at + 29.9)
        assert not book.split.holds(sent_at + 30.1)

    def test_ends_at_once_when_the_answer_says_so(self) -> None:
        book = Book()
        now = clock.monotonic()
        book.evidence.answered(b'{"leases": {"%b": 30000}}' % (b"a" * 32), now)

        book.evidence.answered(b'{"leases": {"%b": 0}}' % (b"a" * 32), now)

        assert not book.split.holds(now)

    @pytest.mark.parametrize("answer", [b"", b"{}", b'{"leases": 3}', b'{"leases": {}}'])
    def test_is_not_renewed_by_an_answer_without_it(self, answer: bytes) -> None:
        book = Book()
        book.evidence.answered(b'{"leases": {"%b": 1000}}' % (b"a" * 32), 100.0)

        book.evidence.answered(answer, 105.0)

        assert book.split.holds(100.9)
        assert not book.split.holds(101.1)
