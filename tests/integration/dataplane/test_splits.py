"""A rollout at a real gateway: shares, previews, sticky units, leases, evidence, mirrored calls."""

import hashlib
import itertools
import math
import secrets
import signal
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx2
import pytest

from hotswap.wire.rollouts import EVIDENCE_SECONDS, ArmCounts, SplitState, unit_place
from tests.integration.dataplane.conftest import TOKEN, DataPlane
from tests.integration.dataplane.test_faults import kill, table_on_disk

NUMBER = "def handler(event, context):\n    return {number}\n"

# What the payload orders, so that one source has every outcome.
ORDERS = """
import time
def handler(event, context):
    order = event or {}
    time.sleep(order.get("sleep", 0))
    if "raise" in order:
        raise ValueError(order["raise"])
    return {"statusCode": order.get("status", 200), "body": "done"}
"""

TICKER = """
import time
def handler(event, context):
    for number in range(event["count"]):
        yield f"{number}\\n"
        time.sleep(event["pause"])
"""

KEY = "open-sesame"
KEY_SHA256 = hashlib.sha256(KEY.encode()).hexdigest()


def plausible(calls: int, share: float, error: float = 1e-9) -> tuple[int, int]:
    """The smallest and largest count that a fair draw exceeds with a chance of `error` a side."""

    def chance(count: int) -> float:
        ways = math.lgamma(calls + 1) - math.lgamma(count + 1) - math.lgamma(calls - count + 1)
        return math.exp(ways + count * math.log(share) + (calls - count) * math.log1p(-share))

    below = list(itertools.accumulate(chance(count) for count in range(calls + 1)))
    low = next(count for count, total in enumerate(below) if total > error)
    high = next(count for count, total in enumerate(below) if total >= 1 - error)
    return low, high


class Rollout:
    """A function with versions 1 and 2, `production` on 1, and a split between them."""

    def __init__(self, plane: DataPlane, *sources: str, **fields: Any) -> None:
        self.plane = plane
        self.control = plane.control
        self.name = f"rollout-{secrets.token_hex(4)}"
        self.timeout_ms = fields.pop("timeout_ms", 30_000)
        limits = fields.pop("limits", {})
        for source in sources or (NUMBER.format(number=1), NUMBER.format(number=2)):
            plane.upload(self.name, source, timeout_ms=self.timeout_ms, **limits)
        self.control.alias(self.name, "production", {1: 10_000})
        self.route = self.control.split(self.name, "production", **fields)
        self.ids = {v.number: v.id for v in self.control.function(self.name).versions}
        self.is_held()

    def change(self, **fields: Any) -> None:
        """The next epoch, in force at the gateway."""
        self.route = self.control.split(self.name, "production", **fields)
        self.is_held()

    def is_held(self) -> None:
        """Wait until the gateway has said that it routes by the newest epoch."""
        self.wait(lambda s: s.epoch == self.route.epoch and s.has_lease, needs_lease=True)

    def wait(
        self, condition: Callable[[SplitState], bool], *, needs_lease: bool = False
    ) -> SplitState:
        """Wait for a state reported from now on."""
        before = len(self.states())
        grants = self.control.lease_ms is not None or not self.route.is_leased
        if needs_lease and not grants:
            return self.states()[-1]

        def seen() -> bool:
            return any(condition(state) for state in self.states()[before:])

        self.plane.wait(seen, 8)
        return next(state for state in self.states()[before:] if condition(state))

    def states(self) -> list[SplitState]:
        return self.control.states(self.route.attempt)

    def arms(self) -> list[ArmCounts]:
        """All evidence, once two more reports have come: what ended before is in them."""
        before = len(self.control.evidence)
        self.plane.wait(lambda: len(self.control.evidence) >= before + 2, 8)
        return self.control.arms(self.route.attempt)

    def call(self, content: bytes = b"", **headers: str) -> httpx2.Response:
        return self.plane.raw(self.name, content, **headers)

    def versions(self, calls: int, **headers: str) -> Counter[str]:
        """Which version answered, over so many calls."""
        answers = [self.call(**headers) for _ in range(calls)]
        assert {answer.status_code for answer in answers} == {200}
        return Counter(answer.headers["x-hotswap-executed-version"] for answer in answers)

    def sums(self, field: str) -> dict[int, int]:
        """Version number -> sum of a field of its evidence; versions without are left out."""
        total: Counter[int] = Counter()
        numbers = {id_: number for number, id_ in self.ids.items()}
        for arm in self.control.arms(self.route.attempt):
            total[numbers[arm.version_id]] += getattr(arm, field)
        return {number: count for number, count in total.items() if count}

    def end(self) -> None:
        self.control.end_split(self.name, "production")
        self.control.wait_applied()


Start = Callable[..., Rollout]


@pytest.fixture
def start(plane: DataPlane) -> Iterator[Start]:
    """Starts rollouts on the common data plane; they end with the test."""
    rollouts: list[Rollout] = []

    def make(*sources: str, **fields: Any) -> Rollout:
        rollouts.append(Rollout(plane, *sources, **fields))
        return rollouts[-1]

    yield make
    for rollout in rollouts:
        rollout.end()


class TestShares:
    @pytest.mark.parametrize("weight", [100, 2_500, 9_000])
    def test_hold_within_what_chance_allows(self, start: Start, weight: int) -> None:
        """C60"""
        calls = 1_200
        rollout = start(weight=weight, is_leased=True)

        seen = rollout.versions(calls)

        low, high = plausible(calls, weight / 10_000)
        assert seen["v1"] + seen["v2"] == calls
        assert low <= seen["v2"] <= high

    @pytest.mark.parametrize(("weight", "version"), [(0, "v1"), (10_000, "v2")])
    def test_are_exact_at_the_ends(self, start: Start, weight: int, version: str) -> None:
        """C67"""
        assert start(weight=weight).versions(300) == {version: 300}

    def test_leave_calls_to_a_version_or_another_alias_alone(self, start: Start) -> None:
        """C60"""
        rollout = start(weight=5_000)
        rollout.control.alias(rollout.name, "other", {1: 10_000})
        rollout.control.wait_applied()

        assert rollout.versions(60, Version="v1") == {"v1": 60}
        assert rollout.versions(60, Version="2") == {"v2": 60}
        assert rollout.versions(60, Alias="other") == {"v1": 60}
        assert "x-hotswap-rollout" not in rollout.call(Version="v2").headers
        assert rollout.arms() == []  # nothing was drawn

    def test_are_told_to_the_caller(self, start: Start) -> None:
        rollout = start(weight=5_000)

        seen = set()
        for _ in range(40):
            raw, enveloped = rollout.call(), rollout.plane.invoke(rollout.name)
            document = enveloped.json()
            seen.add((raw.headers["x-hotswap-rollout"], raw.text))
            seen.add((enveloped.headers["x-hotswap-rollout"], document["body"]))
            assert document["alias"] == "production"
            assert document["executedVersion"] == f"v{document['body']}"

        assert seen == {("stable", "1"), ("candidate", "2")}

    def test_may_differ_by_the_runner_that_serves(self, start: Start) -> None:
        rollout = start(weight=0, runner_weights={"runner-under-test": 10_000})
        here = rollout.versions(50)
        rollout.change(weight=0, runner_weights={"another": 10_000})

        assert (here, rollout.versions(50)) == ({"v2": 50}, {"v1": 50})
        rollout.arms()
        assert {arm.runner for arm in rollout.arms()} == {"runner-under-test"}

    def test_end_with_the_split(self, start: Start) -> None:
        """C61"""
        rollout = start(weight=10_000, preview_sha256=KEY_SHA256)
        during = rollout.versions(20)

        rollout.end()

        after = rollout.call(Preview=KEY)
        assert (during, rollout.versions(20)) == ({"v2": 20}, {"v1": 20})
        assert after.headers["x-hotswap-executed-version"] == "v1"
        assert "x-hotswap-rollout" not in after.headers


class TestTable:
    def test_may_bring_a_split_before_its_function(self, plane: DataPlane) -> None:
        name = f"early-{secrets.token_hex(4)}"
        route = plane.control.split(name, "production", weight=10_000)
        plane.control.wait_applied()

        for number in (1, 2):
            plane.upload(name, NUMBER.format(number=number))
        before = plane.raw(name)
        plane.control.alias(name, "production", {1: 10_000})
        plane.control.wait_applied()

        assert "x-hotswap-rollout" not in before.headers  # no such alias yet
        assert plane.raw(name).headers["x-hotswap-rollout"] == "candidate"
        plane.wait(lambda: plane.control.states(route.attempt))
        plane.control.end_split(name, "production")

    def test_cannot_go_back_to_an_older_epoch(self, start: Start) -> None:
        """Rule 9: a controller that was replaced is fenced out."""
        rollout = start(weight=0)
        rollout.change(weight=10_000, epoch=5)

        rollout.control.split(rollout.name, "production", weight=0, epoch=4)
        rollout.control.wait_applied()
        state = rollout.wait(lambda _: True)
        fenced = rollout.versions(30)
        rollout.change(weight=0, epoch=6)

        assert (fenced, state.epoch) == ({"v2": 30}, 5)
        assert rollout.versions(30) == {"v1": 30}

    def test_is_told_in_the_metrics(self, start: Start) -> None:
        rollout = start(weight=1, is_leased=True)

        lines = rollout.plane.client.get("/metrics").text.splitlines()

        label = f'{{attempt="{rollout.route.attempt}"}}'
        found = dict(line.rsplit(" ", 1) for line in lines if label in line)
        assert found[f"hotswap_split_epoch{label}"] == "1"
        assert 25 < float(found[f"hotswap_split_lease_seconds{label}"]) <= 30


class TestPreview:
    @pytest.mark.parametrize("way", ["header", "cookie"])
    def test_reaches_the_candidate_before_any_weight(self, start: Start, way: str) -> None:
        """C61, C62"""
        rollout = start(weight=0, preview_sha256=KEY_SHA256)

        def shown(key: str) -> str:
            headers = {"X-HotSwap-Mode": "raw"}
            if way == "header":
                headers["X-HotSwap-Preview"] = key
            else:
                headers["Cookie"] = f"session=1; hotswap-preview={key}"
            path = f"/api/v1/functions/{rollout.name}/invoke"
            return rollout.plane.client.post(path, headers=headers).headers["x-hotswap-rollout"]

        seen = [shown(key) for key in (KEY, KEY, KEY[:-1], "")]
        rollout.arms()

        assert seen == ["candidate", "candidate", "stable", "stable"]
        assert sum(state.previewed for state in rollout.states()) == 2
        assert rollout.sums("calls") == {1: 2}  # who was not drawn is no evidence

    def test_goes_beside_a_share(self, start: Start) -> None:
        """C62"""
        rollout = start(weight=2_000, preview_sha256=KEY_SHA256)

        assert rollout.versions(100, Preview=KEY) == {"v2": 100}
        low, high = plausible(400, 0.2)
        assert low <= rollout.versions(400)["v2"] <= high


class TestUnits:
    def test_stay_with_the_candidate_as_weights_rise(self, start: Start) -> None:
        """C63"""
        rollout = start(weight=0, unit="header:x-tenant")
        units = [f"tenant-{number}" for number in range(60)]
        path = f"/api/v1/functions/{rollout.name}/invoke"

        def moved() -> set[str]:
            answers = {
                unit: rollout.plane.client.post(path, json={}, headers={"X-Tenant": unit})
                for unit in units
            }
            return {
                unit
                for unit, answer in answers.items()
                if answer.headers["x-hotswap-rollout"] == "candidate"
            }

        seen = [moved(), moved()]
        for weight in (1_000, 4_000, 4_000, 8_000, 10_000):
            rollout.change(weight=weight)
            seen.append(moved())
            salt = rollout.route.salt
            assert seen[-1] == {unit for unit in units if unit_place(salt, unit) < weight}

        assert all(before <= after for before, after in itertools.pairwise(seen))
        assert (seen[0], seen[-1]) == (set(), set(units))

    def test_may_be_the_user_or_a_cookie(self, start: Start) -> None:
        by_user = start(weight=5_000, unit="user")
        by_cookie = start(weight=5_000, unit="cookie:visitor")
        path = f"/api/v1/functions/{by_cookie.name}/invoke"

        places = {
            visitor: {
                by_cookie.plane.client.post(
                    path, json={}, headers={"Cookie": f"visitor={visitor}"}
                ).headers["x-hotswap-rollout"]
                for _ in range(10)
            }
            for visitor in ("a", "b", "c", "d", "e", "f")
        }

        salt = by_cookie.route.salt
        assert len(by_user.versions(30)) == 1
        assert places == {
            visitor: {"candidate" if unit_place(salt, visitor) < 5_000 else "stable"}
            for visitor in places
        }

    def test_may_be_in_a_header_that_is_sent_twice(self, start: Start) -> None:
        rollout = start(weight=5_000, unit="header:x-tenant")
        request = (
            b"POST /api/v1/functions/%b/invoke HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
            b"Authorization: Bearer %b\r\nX-Tenant: a\r\nX-Tenant: b\r\nContent-Length: 0\r\n\r\n"
        )
        with socket.create_connection(("127.0.0.1", rollout.plane.port)) as client:
            client.sendall(request % (rollout.name.encode(), TOKEN.encode()))
            answer = client.makefile("rb").read()

        arm = "candidate" if unit_place(rollout.route.salt, "a, b") < 5_000 else "stable"
        assert b" 200 " in answer.splitlines()[0]
        assert f"X-HotSwap-Rollout: {arm}".encode() in answer


class TestLease:
    """Rule 10: a split without a living judge ends by itself."""

    SECONDS = 3.0

    def test_that_is_withheld_sends_everything_to_stable_in_time(
        self, own_plane: DataPlane
    ) -> None:
        own_plane.control.lease_ms = int(self.SECONDS * 1_000)
        rollout = Rollout(own_plane, weight=10_000, is_leased=True)
        during = rollout.versions(20)

        withheld_at = time.monotonic()
        own_plane.control.lease_ms = None
        seen: list[tuple[float, str]] = []
        while time.monotonic() < withheld_at + self.SECONDS + 1.0:
            began = time.monotonic() - withheld_at
            seen.append((began, rollout.call().headers["x-hotswap-executed-version"]))
        lost = rollout.wait(lambda state: not state.has_lease)
        counted = rollout.arms()
        rollout.versions(10)
        later = rollout.arms()
        own_plane.control.lease_ms = 30_000
        rollout.wait(lambda state: state.has_lease)

        assert during == {"v2": 20}
        assert seen[0][1] == "v2"
        assert {version for began, version in seen if began > self.SECONDS} == {"v1"}
        assert lost.epoch == rollout.route.epoch
        assert sum(a.calls for a in later) == sum(a.calls for a in counted)  # none was drawn
        assert rollout.versions(20) == {"v2": 20}  # and on again with a living judge

    def test_runs_out_when_the_control_plane_is_dead(self, own_plane: DataPlane) -> None:
        own_plane.control.lease_ms = int(self.SECONDS * 1_000)
        rollout = Rollout(own_plane, weight=10_000, is_leased=True)
        rollout.call(Version="v1")  # its code is here from now on
        assert rollout.versions(5) == {"v2": 5}

        own_plane.control.__exit__()
        time.sleep(self.SECONDS + 0.2)

        assert rollout.versions(50) == {"v1": 50}

    def test_is_not_kept_on_disk(self, own_plane: DataPlane) -> None:
        """C65: a gateway that starts again is stable until the first answer."""
        rollout = Rollout(own_plane, weight=10_000, is_leased=True)
        rollout.call(Version="v1")  # its code is here from now on
        assert rollout.versions(5) == {"v2": 5}
        own_plane.wait(
            lambda: rollout.route.attempt.encode() in table_on_disk(own_plane, "gateway")
        )
        own_plane.control.__exit__()
        kill(own_plane, "gateway")
        own_plane.spawn("gateway", "runners.gateway")
        own_plane.wait(lambda: own_plane.client.get("/readyz").status_code == 200, 10)
        alone = rollout.versions(50)

        own_plane.control.__enter__()
        own_plane.wait(lambda: rollout.call().headers["x-hotswap-rollout"] == "candidate", 10)

        assert alone == {"v1": 50}
        assert rollout.versions(20) == {"v2": 20}

    def test_is_not_needed_for_a_whole_share(self, own_plane: DataPlane) -> None:
        """C65: what is promoted stays promoted through a restart without a control plane."""
        rollout = Rollout(own_plane, weight=10_000, is_leased=False)
        assert rollout.versions(5) == {"v2": 5}
        own_plane.wait(
            lambda: rollout.route.attempt.encode() in table_on_disk(own_plane, "gateway")
        )
        own_plane.control.__exit__()
        kill(own_plane, "gateway")
        own_plane.spawn("gateway", "runners.gateway")
        own_plane.wait(lambda: own_plane.client.get("/readyz").status_code == 200, 10)

        assert rollout.versions(20) == {"v2": 20}


class TestEvidence:
    def test_is_exactly_what_callers_saw(self, start: Start) -> None:
        rollout = start(ORDERS, ORDERS, weight=5_000, slow_ms=1_000, unit="header:x-unit")
        orders = [
            *[b"{}"] * 40,
            *[b'{"status": 404}'] * 5,
            *[b'{"status": 500}', b'{"status": 503}'] * 5,
            *[b'{"raise": "no"}'] * 10,
            *[b'{"sleep": 1.2}'] * 4,
        ]
        seen: Counter[tuple[str, str]] = Counter()
        failed: set[tuple[int, str, str]] = set()
        path = f"/api/v1/functions/{rollout.name}/invoke"
        for number, order in enumerate(orders):
            unit = f"unit-{number % 7}"
            headers = {"X-HotSwap-Mode": "raw", "X-Unit": unit}
            answer = rollout.plane.client.post(path, content=order, headers=headers)
            version = int(answer.headers["x-hotswap-executed-version"].removeprefix("v"))
            seen[version, "calls"] += 1
            seen[version, "bad"] += answer.status_code >= 500
            seen[version, "slow"] += b"sleep" in order
            seen[version, "cold"] += answer.headers.get("x-hotswap-start") == "cold"
            if answer.status_code >= 500:
                kind = "function-raised" if b"raise" in order else "http-5xx"
                failed.add((version, unit, kind))

        arms = rollout.arms()

        for field in ("calls", "bad", "slow"):
            expected = {v: seen[v, field] for v in (1, 2) if seen[v, field]}
            assert rollout.sums(field) == expected, field
        for number, id_ in rollout.ids.items():
            mine = [arm for arm in arms if arm.version_id == id_]
            assert sum(arm.calls for arm in mine if arm.cold) == seen[number, "cold"] == 1
            assert sum(sum(arm.buckets) for arm in mine) == seen[number, "calls"]
            named = [f for arm in mine for f in arm.failures]
            assert len({(f.client, f.kind) for f in named}) == len(
                {(unit, kind) for version, unit, kind in failed if version == number}
            )
            assert len({(f.client, f.kind, f.minute) for f in named}) == len(named)
        assert {arm.window % 10 for arm in arms} == {0}

    def test_names_a_client_that_tries_again_once_a_minute(self, start: Start) -> None:
        rollout = start(ORDERS, ORDERS, weight=10_000)
        for _ in range(12):
            rollout.call(b'{"raise": "no"}')

        failures = [failure for arm in rollout.arms() for failure in arm.failures]

        assert rollout.sums("bad") == {2: 12}
        assert len(failures) == len({failure.minute for failure in failures}) <= 2
        assert len({failure.client for failure in failures}) == 1

    def test_leaves_out_what_callers_left_or_was_refused_for_its_number(self, start: Start) -> None:
        limits = {"max_instances": 1, "max_queue": 0}
        rollout = start(ORDERS, ORDERS, weight=10_000, limits={**limits, "max_queue": 1})
        rollout.call()
        with ThreadPoolExecutor(5) as threads:
            answers = list(threads.map(lambda _: rollout.call(b'{"sleep": 0.5}'), range(5)))
        statuses = Counter(answer.status_code for answer in answers)
        with pytest.raises(httpx2.TimeoutException):
            rollout.plane.client.post(
                f"/api/v1/functions/{rollout.name}/invoke",
                content=b'{"sleep": 5}',
                headers={"X-HotSwap-Mode": "raw"},
                timeout=0.3,
            )
        rollout.wait(lambda state: not any(state.in_flight.values()))
        rollout.arms()

        assert statuses[429] >= 1
        assert rollout.sums("calls") == {2: 1 + statuses[200]}
        assert rollout.sums("bad") == {}

    def test_comes_also_when_nothing_happens(self, start: Start) -> None:
        rollout = start(weight=0)
        before, began = len(rollout.states()), time.monotonic()

        rollout.plane.wait(lambda: len(rollout.states()) >= before + 4)

        assert time.monotonic() - began >= 2 * EVIDENCE_SECONDS  # and not in a rush
        assert rollout.states()[-1].in_flight == dict.fromkeys(rollout.ids.values(), 0)

    def test_names_callers_of_late_by_a_hash(self, start: Start) -> None:
        rollout = start(weight=5_000, unit="header:x-unit")
        before = len(rollout.states())
        path = f"/api/v1/functions/{rollout.name}/invoke"
        for number in range(30):
            rollout.plane.client.post(path, json={}, headers={"X-Unit": f"unit-{number % 3}"})
        rollout.arms()

        clients = {client for state in rollout.states()[before:] for client in state.clients}
        assert len(clients) == 3
        assert not any("unit" in client for client in clients)

    def test_is_counted_once_when_reports_are_refused_and_repeated(
        self, own_plane: DataPlane
    ) -> None:
        rollout = Rollout(own_plane, ORDERS, ORDERS, weight=5_000, unit="header:x-unit")
        own_plane.control.evidence_faults += ["refuse", "lose", "refuse", "lose", "lose"]
        seen = Counter[int]()
        bad = 0
        while own_plane.control.evidence_faults:
            answer = rollout.call(b'{"raise": "no"}' if seen.total() % 5 == 0 else b"{}")
            seen[int(answer.headers["x-hotswap-executed-version"].removeprefix("v"))] += 1
            bad += answer.status_code == 502
        rollout.arms()

        assert own_plane.control.repeated >= 3
        assert rollout.sums("calls") == dict(seen)
        assert sum(rollout.sums("bad").values()) == bad > 0
        assert [r.seq for r in own_plane.control.evidence] == list(
            range(1, len(own_plane.control.evidence) + 1)
        )

    def test_is_sent_before_the_gateway_ends(self, own_plane: DataPlane) -> None:
        rollout = Rollout(own_plane, weight=5_000)
        seen = rollout.versions(25)

        process = own_plane.processes.pop("gateway")
        process.send_signal(signal.SIGTERM)

        assert process.wait(10) == 0
        assert rollout.sums("calls") == {int(v[1:]): calls for v, calls in seen.items()}


class TestInFlight:
    def test_knows_a_call_that_began_before_the_split(self, plane: DataPlane) -> None:
        """C70, C71: a long call survives the swap, is counted until it ends, then is not."""
        name = f"long-{secrets.token_hex(4)}"
        for _ in (1, 2):
            plane.upload(name, ORDERS)
        plane.control.alias(name, "production", {1: 10_000})
        plane.control.wait_applied()
        answers: list[httpx2.Response] = []

        def long(**headers: str) -> threading.Thread:
            thread = threading.Thread(
                target=lambda: answers.append(plane.raw(name, b'{"sleep": 3}', **headers))
            )
            thread.start()
            return thread

        callers = [long(), long(Version="v2")]
        plane.wait(lambda: b"executions 2" in plane.client.get("/metrics").content)
        route = plane.control.split(name, "production", weight=10_000)
        first, second = (version.id for version in plane.control.function(name).versions)

        def state() -> dict[int, int]:
            states = plane.control.states(route.attempt)
            return states[-1].in_flight if states else {}

        plane.wait(lambda: state() == {first: 1, second: 1})
        swapped = plane.raw(name).headers["x-hotswap-executed-version"]
        for caller in callers:
            caller.join()
        plane.wait(lambda: state() == {first: 0, second: 0})
        plane.control.end_split(name, "production")

        assert swapped == "v2"
        assert [answer.status_code for answer in answers] == [200, 200]
        assert sorted(a.headers["x-hotswap-executed-version"] for a in answers) == ["v1", "v2"]

    def test_stream_survives_the_swap_and_the_end_of_the_split(self, start: Start) -> None:
        """C70"""
        rollout = start(TICKER, TICKER, weight=0)
        versions, text = [], ""
        with rollout.plane.client.stream(
            "POST",
            f"/api/v1/functions/{rollout.name}/invoke-stream",
            json={"payload": {"count": 30, "pause": 0.1}},
        ) as answer:
            versions.append(answer.headers["x-hotswap-executed-version"])
            assert answer.headers["x-hotswap-rollout"] == "stable"
            rollout.change(weight=10_000)
            flying = rollout.wait(lambda state: state.in_flight[rollout.ids[1]] == 1)
            rollout.end()
            text = answer.read().decode()

        assert text == "".join(f"{number}\n" for number in range(30))
        assert flying.in_flight == {rollout.ids[1]: 1, rollout.ids[2]: 0}
        assert versions == ["v1"]

    def test_counts_a_call_that_was_lost_with_its_runner_as_dropped(
        self, own_plane: DataPlane
    ) -> None:
        rollout = Rollout(own_plane, ORDERS, ORDERS, weight=10_000)
        answers: list[httpx2.Response] = []
        caller = threading.Thread(target=lambda: answers.append(rollout.call(b'{"sleep": 20}')))
        caller.start()
        rollout.wait(lambda state: state.in_flight[rollout.ids[2]] == 1)

        kill(own_plane, "runner")
        own_plane.spawn_runner("runner")  # clears what the killed one left
        caller.join()
        rollout.wait(lambda state: state.in_flight[rollout.ids[2]] == 0)

        dropped: Counter[int] = Counter()
        for state in rollout.states():
            dropped.update(state.dropped)
        rollout.arms()
        assert answers[0].status_code == 502
        assert dropped == {rollout.ids[2]: 1}
        assert (rollout.sums("calls"), rollout.sums("bad")) == ({2: 1}, {2: 1})


class TestMirror:
    def compared(self, rollout: Rollout, calls: int) -> tuple[int, int, int]:
        """Repeated calls that answered the same, otherwise, and not at all."""

        def ended(state: SplitState) -> int:
            return state.mirror_same + state.mirror_different + state.mirror_failed

        rollout.plane.wait(lambda: sum(map(ended, rollout.states())) >= calls, 10)
        states = rollout.states()
        assert sum(state.mirrored for state in states) == calls
        return (
            sum(state.mirror_same for state in states),
            sum(state.mirror_different for state in states),
            sum(state.mirror_failed for state in states),
        )

    @pytest.mark.parametrize(
        ("candidate", "expected"),
        [
            (NUMBER.format(number=1), (20, 0, 0)),
            (NUMBER.format(number=2), (0, 20, 0)),
            ("def handler(e, c):\n    return {'statusCode': 500, 'body': '1'}\n", (0, 20, 0)),
            ("def handler(e, c):\n    raise OSError('x')\n", (0, 0, 20)),
        ],
        ids=["same", "another body", "another status", "failed"],
    )
    def test_compares_answers(
        self, start: Start, candidate: str, expected: tuple[int, int, int]
    ) -> None:
        """C61"""
        rollout = start(NUMBER.format(number=1), candidate, weight=0, mirror=10_000)

        assert rollout.versions(20) == {"v1": 20}
        assert self.compared(rollout, 20) == expected

    def test_gets_the_same_payload_and_an_id_of_its_own(self, start: Start) -> None:
        echo = "def handler(event, context):\n    return event\n"
        ids = "def handler(event, context):\n    return context.aws_request_id\n"
        same = start(echo, echo, weight=0, mirror=10_000)
        other = start(ids, ids, weight=0, mirror=10_000)
        for number in range(5):
            same.plane.invoke(same.name, {"nonce": number})
            other.call()

        assert self.compared(same, 5) == (5, 0, 0)
        assert self.compared(other, 5) == (0, 5, 0)

    def test_takes_its_share_of_stable_calls(self, start: Start) -> None:
        rollout = start(weight=0, mirror=2_500)
        rollout.versions(400)
        rollout.arms()

        low, high = plausible(400, 0.25)
        assert low <= sum(state.mirrored for state in rollout.states()) <= high

    def test_never_delays_the_caller_nor_runs_without_bound(self, start: Start) -> None:
        seconds = 3
        slow = f"import time\ndef handler(e, c):\n    time.sleep({seconds})\n    return 1\n"
        rollout = start(NUMBER.format(number=1), slow, weight=0, mirror=10_000)
        rollout.call()

        began, took = time.monotonic(), []
        for _ in range(80):
            called_at = time.monotonic()
            assert rollout.call().text == "1"
            took.append(time.monotonic() - called_at)
        rollout.arms()
        rounds = 1 + (time.monotonic() - began) // seconds

        assert max(took) < seconds  # nobody waited for the candidate
        assert 1 <= sum(state.mirrored for state in rollout.states()) <= 32 * rounds + 1
        assert set(rollout.states()[-1].in_flight.values()) == {0}

    def test_is_nobodys_invocation(self, own_plane: DataPlane) -> None:
        rollout = Rollout(own_plane, weight=0, mirror=10_000)
        rollout.versions(20)
        assert sum(self.compared(rollout, 20)) == 20
        own_plane.wait(lambda: own_plane.control.calls() >= 20)

        assert {record.version_id for record in own_plane.control.records()} == {rollout.ids[1]}
        assert own_plane.control.calls() == 20
        assert rollout.sums("calls") == {1: 20}

    def test_leaves_streams_and_calls_of_the_candidate_alone(self, start: Start) -> None:
        rollout = start(weight=0, mirror=10_000, preview_sha256=KEY_SHA256)
        path = f"/api/v1/functions/{rollout.name}/invoke-stream"
        for _ in range(5):
            rollout.plane.client.post(path, json={})
        rollout.versions(5, Preview=KEY)
        rollout.versions(5, Version="v1")
        rollout.arms()

        assert sum(state.mirrored for state in rollout.states()) == 0
