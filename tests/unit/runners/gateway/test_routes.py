"""Choosing a version."""

from collections import Counter

import msgspec
import pytest

from hotswap.core.errors import NotFound
from hotswap.wire.table import FunctionRoute, VersionRoute
from runners.gateway.evidence import Evidence
from runners.gateway.routes import FunctionTarget, Routes
from runners.gateway.stats import Stats


def route(**changes: object) -> FunctionRoute:
    versions = tuple(
        VersionRoute(
            id=100 + number, number=number, runtime="python3.11", handler="app.handler",
            code_sha256="0" * 64, memory_mib=128, timeout_ms=1_000,
        )
        for number in (1, 2, 3)
    )  # fmt: skip
    base = FunctionRoute(
        id=1, name="f", latest=3, versions=versions, aliases={}, max_instances=10,
        reserved_concurrency=None, max_queue=10, idle_timeout_ms=1_000,
    )  # fmt: skip
    return msgspec.structs.replace(base, **changes)


def stats() -> Stats:
    return Stats(node="n", boot="b", records_per_report=1)


class TestFunctionTarget:
    def test_splits_by_basis_points(self) -> None:
        target = FunctionTarget(route(aliases={"a": ((1, 1), (2, 2_499), (3, 7_500))}), stats())

        picked = Counter(target.resolve("a", None)[0].number for _ in range(40_000))

        assert 9_500 < picked[2] < 10_500
        assert 0 <= picked[1] < 25  # 4 expected

    def test_never_picks_a_version_of_weight_zero(self) -> None:
        target = FunctionTarget(route(aliases={"a": ((1, 0), (2, 10_000))}), stats())

        assert {target.resolve("a", None)[0].number for _ in range(1_000)} == {2}

    @pytest.mark.parametrize("text", ["v2", "2"])
    def test_takes_versions_with_and_without_their_letter(self, text: str) -> None:
        assert FunctionTarget(route(), stats()).resolve(None, text)[0].number == 2

    @pytest.mark.parametrize("text", ["v0", "v9", "two", "-1", "", "²"])
    def test_refuses_other_texts(self, text: str) -> None:
        target = FunctionTarget(route(latest=0, versions=()), stats())

        with pytest.raises(NotFound):
            target.resolve(None, text)

    def test_says_that_there_is_no_version_yet(self) -> None:
        with pytest.raises(NotFound, match="no version yet"):
            FunctionTarget(route(latest=0, versions=()), stats()).resolve(None, None)


class TestRoutes:
    def test_keep_the_counts_of_a_version_across_changes(self) -> None:
        counts = stats()
        routes = Routes(counts, Evidence(node="n", boot="b"))
        routes.apply({"function/f": msgspec.json.encode(route())})
        before = routes.get("f")
        assert before is not None
        before.resolve(None, None)[0].stats.count("ok", 1_000, False, 0, 100, 1)

        routes.apply({"function/f": msgspec.json.encode(route(max_queue=5))})

        after = routes.get("f")
        assert after is not None
        assert after is not before
        assert after.resolve(None, None)[0].stats.outcomes == {"ok": 1}

    def test_forget_a_deleted_function(self) -> None:
        routes = Routes(stats(), Evidence(node="n", boot="b"))
        routes.apply({"function/f": msgspec.json.encode(route())})

        routes.apply({"function/f": None})

        assert (routes.get("f"), len(routes)) == (None, 0)
