"""Choosing between two versions, and taking splits from the table."""

import hashlib
from collections import Counter

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hotswap.core import clock
from hotswap.core.limits import BASIS_POINTS
from hotswap.wire.rollouts import SplitRoute, unit_place
from hotswap.wire.table import FunctionRoute, VersionRoute
from runners.gateway.evidence import Evidence
from runners.gateway.http1 import Connection, Request
from runners.gateway.routes import FunctionTarget, Routes
from runners.gateway.splits import Split
from runners.gateway.stats import Stats

weights = st.integers(0, BASIS_POINTS)
units = st.text(min_size=1, max_size=40).filter(lambda unit: unit.strip() == unit)


def function(**changes: object) -> FunctionRoute:
    versions = tuple(
        VersionRoute(
            id=100 + number, number=number, runtime="python3.11", handler="app.handler",
            code_sha256="0" * 64, memory_mib=128, timeout_ms=1_000,
        )
        for number in (1, 2, 3)
    )  # fmt: skip
    base = FunctionRoute(
        id=1, name="f", latest=3, versions=versions, aliases={"production": ((1, 10_000),)},
        max_instances=10, reserved_concurrency=None, max_queue=10, idle_timeout_ms=1_000,
    )  # fmt: skip
    return msgspec.structs.replace(base, **changes)


def route(**changes: object) -> SplitRoute:
    base = SplitRoute(attempt="a" * 32, epoch=1, stable=1, candidate=2, weight=0, salt="pepper")
    return msgspec.structs.replace(base, **changes)


def evidence() -> Evidence:
    return Evidence(node="n", boot="b")


def split(**changes: object) -> Split:
    target = FunctionTarget(function(), Stats(node="n", boot="b", records_per_report=1))
    target.divide({"production": route(**changes)}, evidence())
    return target.splits["production"]


class Handler:
    """Takes no request; a connection needs one."""

    wanted: frozenset[bytes] = frozenset()

    def handle(self, connection: Connection, request: Request) -> None:
        raise NotImplementedError

    def refuse(self, connection: Connection, status: int, detail: str) -> None:
        raise NotImplementedError


CONNECTION = Connection(Handler(), set(), (1.0, 1.0, 1.0))


def drawn(item: Split, *, user: str = "ann", runner: str = "r1", **headers: str) -> int:
    """The number of the version that a call gets."""
    request = Request()
    request.headers = {
        name.replace("_", "-").encode(): value.encode() for name, value in headers.items()
    }
    return item.draw(request, user, CONNECTION, runner).target.number


class TestUnitPlace:
    def test_is_the_same_on_every_machine_and_in_every_version(self) -> None:
        assert unit_place("pepper", "ann") == 6807
        assert unit_place("pepper", "zoë") == 2922
        assert unit_place("", "") == 4918

    @given(st.text(max_size=32), st.text(max_size=100))
    def test_is_a_basis_point(self, salt: str, unit: str) -> None:
        assert 0 <= unit_place(salt, unit) < BASIS_POINTS

    def test_is_uniform(self) -> None:
        calls, cells = 50_000, 100
        places = Counter(
            unit_place("pepper", f"u{n}") * cells // BASIS_POINTS for n in range(calls)
        )

        expected = calls / cells
        chi_square = sum((places[cell] - expected) ** 2 / expected for cell in range(cells))
        assert chi_square < 173  # 99 degrees of freedom: exceeded once in 100,000 fair salts

    def test_of_another_salt_is_another_order(self) -> None:
        both = sum(
            unit_place("a", f"u{n}") < 1_000 and unit_place("b", f"u{n}") < 1_000
            for n in range(20_000)
        )

        assert 100 < both < 320  # 200 if the two say nothing of each other, 2,000 if they agree


class TestDraw:
    @given(units, weights, weights)
    def test_keeps_a_unit_on_the_candidate_as_weights_rise(  # C63
        self, unit: str, one: int, other: int
    ) -> None:
        low, high = sorted((one, other))

        before = drawn(split(weight=low, unit="user"), user=unit)
        after = drawn(split(weight=high, unit="user", epoch=2), user=unit)

        assert (before, after) != (2, 1)
        assert after == (2 if unit_place("pepper", unit) < high else 1)

    @pytest.mark.parametrize(("weight", "expected"), [(0, {1}), (10_000, {2})])
    def test_has_no_chance_at_the_ends(self, weight: int, expected: set[int]) -> None:  # C67
        item = split(weight=weight)

        assert {drawn(item) for _ in range(2_000)} == expected

    def test_gives_one_basis_point_one_place_in_ten_thousand(self) -> None:  # C67
        item = split(weight=1, unit="user")

        chosen = [n for n in range(30_000) if drawn(item, user=f"u{n}") == 2]

        assert chosen == [n for n in range(30_000) if unit_place("pepper", f"u{n}") == 0]
        assert chosen

    def test_takes_the_share_of_the_runner_that_serves_it(self) -> None:
        item = split(weight=0, runner_weights={"r2": 10_000})

        assert [drawn(item, runner=name) for name in ("r1", "r2")] == [1, 2]

    @pytest.mark.parametrize(
        ("unit", "headers"),
        [
            ("header:x-tenant", {"x_tenant": "acme"}),
            ("cookie:visitor", {"cookie": "a=1; visitor=acme; b=2"}),
        ],
        ids=["header", "cookie"],
    )
    def test_reads_the_unit_where_the_route_says(self, unit: str, headers: dict[str, str]) -> None:
        place = unit_place("pepper", "acme")

        assert drawn(split(weight=place + 1, unit=unit), **headers) == 2
        assert drawn(split(weight=place, unit=unit), **headers) == 1

    def test_is_by_chance_for_a_call_without_the_unit(self) -> None:
        item = split(weight=5_000, unit="header:x-tenant")

        assert {drawn(item) for _ in range(200)} == {1, 2}

    @pytest.mark.parametrize("key", ["x_hotswap_preview", "cookie"])
    def test_opens_the_candidate_to_the_preview_key_alone(self, key: str) -> None:  # C61
        item = split(preview_sha256=hashlib.sha256(b"open sesame").hexdigest())
        cookie = "hotswap-preview=" * (key == "cookie")

        assert drawn(item, **{key: f"{cookie}open sesame"}) == 2
        assert drawn(item, **{key: f"{cookie}open barley"}) == 1
        assert item.tally.previewed == 1

    def test_takes_no_key_where_the_route_has_none(self) -> None:
        assert drawn(split(), x_hotswap_preview="") == 1
        assert drawn(split(), x_hotswap_preview="anything") == 1


class TestLease:
    def test_that_was_never_given_does_not_hold(self) -> None:
        item = split(weight=10_000, is_leased=True)

        assert drawn(item) == 1
        assert not item.holds(clock.monotonic())

    def test_divides_while_it_lasts_and_not_after(self) -> None:
        item = split(weight=10_000, is_leased=True)
        item.tally.lease_until = clock.monotonic() + 60
        during = drawn(item)
        item.tally.lease_until = clock.monotonic()

        assert (during, drawn(item)) == (2, 1)

    def test_is_not_asked_of_a_route_that_needs_none(self) -> None:
        assert drawn(split(weight=10_000)) == 2

    def test_that_is_over_closes_the_preview_too(self) -> None:
        sha256 = hashlib.sha256(b"key").hexdigest()
        item = split(weight=100, is_leased=True, preview_sha256=sha256)

        assert drawn(item, x_hotswap_preview="key") == 1


class Table:
    """Routes that are told of changes."""

    def __init__(self) -> None:
        self.evidence = evidence()
        stats = Stats(node="n", boot="b", records_per_report=1)
        self.routes = Routes(stats, self.evidence)

    def apply(self, **entries: FunctionRoute | SplitRoute | None) -> None:
        keys = {"function": "function/f", "split": "split/f/production"}
        self.routes.apply(
            {
                keys[kind]: msgspec.json.encode(entry) if entry is not None else None
                for kind, entry in entries.items()
            }
        )

    @property
    def held(self) -> tuple[str, int] | None:
        """Attempt and epoch of the split in force."""
        found = [(held.attempt, held.epoch) for held in self.evidence.held]
        assert len(found) <= 1
        return found[0] if found else None


A, B = "a" * 32, "b" * 32


class TestTable:
    @pytest.mark.parametrize("order", ["together", "split first", "function first"])
    def test_may_name_function_and_split_in_any_order(self, order: str) -> None:
        table = Table()
        entries = {"split": route(weight=10_000), "function": function()}
        if order == "together":
            table.apply(**entries)
        else:
            for kind in sorted(entries, reverse=order == "split first"):
                table.apply(**{kind: entries[kind]})

        target = table.routes.get("f")

        assert target is not None
        assert drawn(target.splits["production"]) == 2
        assert table.held == (A, 1)

    @pytest.mark.parametrize(
        "missing",
        [function(aliases={}), function(versions=function().versions[:1])],
        ids=["alias", "candidate"],
    )
    def test_holds_a_split_once_all_it_names_is_there(self, missing: FunctionRoute) -> None:
        table = Table()
        table.apply(split=route(), function=missing)
        before = table.held

        table.apply(function=function())

        assert (before, table.held) == (None, (A, 1))

    def test_takes_larger_epochs_and_refuses_smaller_ones(self) -> None:  # rule 9
        table = Table()
        table.apply(function=function(), split=route(epoch=3))

        table.apply(split=route(epoch=2, weight=10_000))
        fenced = table.held
        table.apply(split=route(epoch=4))

        assert (fenced, table.held) == ((A, 3), (A, 4))

    def test_refuses_an_old_epoch_also_after_the_split_was_gone(self) -> None:
        table = Table()
        table.apply(function=function(), split=route(epoch=3))
        table.apply(split=None)

        table.apply(split=route(epoch=2))

        assert table.held is None

    def test_takes_another_attempt_from_its_first_epoch(self) -> None:
        table = Table()
        table.apply(function=function(), split=route(epoch=7))

        table.apply(split=route(attempt=B, epoch=1))
        table.apply(split=route(attempt=A, epoch=6))

        assert table.held == (B, 1)

    def test_changes_nothing_when_one_entry_cannot_be_read(self) -> None:
        table = Table()
        table.apply(function=function(), split=route())

        with pytest.raises(msgspec.MsgspecError):
            table.routes.apply({"split/f/production": None, "function/f": b"{}"})

        assert table.held == (A, 1)

    def test_keeps_lease_and_counts_over_epochs_of_one_attempt(self) -> None:
        table = Table()
        table.apply(function=function(), split=route(is_leased=True, weight=10_000))
        table.evidence.answered(b'{"leases": {"%b": 60000}}' % A.encode(), clock.monotonic())

        table.apply(split=route(epoch=2, is_leased=True, weight=10_000))
        table.apply(function=function(max_queue=5))

        target = table.routes.get("f")
        assert target is not None
        assert drawn(target.splits["production"]) == 2

    def test_starts_another_attempt_without_a_lease(self) -> None:
        table = Table()
        table.apply(function=function(), split=route(is_leased=True))
        table.evidence.answered(b'{"leases": {"%b": 60000}}' % A.encode(), clock.monotonic())

        table.apply(split=route(attempt=B, is_leased=True))

        assert not table.evidence.held[0].holds(clock.monotonic())

    def test_wants_the_headers_of_a_split_only_while_it_is_there(self) -> None:
        table = Table()
        wanted = table.routes.wanted
        before = set(wanted)

        table.apply(
            function=function(), split=route(unit="header:x-tenant", preview_sha256="0" * 64)
        )
        during = wanted - before
        table.apply(split=None)

        assert during == {b"x-tenant", b"x-hotswap-preview", b"cookie"}
        assert wanted == before

    def test_forgets_the_split_of_a_deleted_function(self) -> None:
        table = Table()
        table.apply(function=function(), split=route())

        table.apply(function=None)

        assert table.held is None
