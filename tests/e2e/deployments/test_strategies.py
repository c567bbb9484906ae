"""Every strategy over the real platform: healthy ones complete, bad ones go back by themselves.

The deployments are independent, so all of them run at the same time, each on a function of its
own; the tests then look at what became of theirs.
"""

import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx2
import pytest

from tests.e2e.conftest import require_backend
from tests.e2e.deployments.rollouts import Document, Rollout, function, person, served, start
from tests.e2e.ledger import UNITS, Entry, Ledger
from tests.e2e.stack import Stack

pytestmark = [pytest.mark.slow, pytest.mark.root, pytest.mark.timeout(600)]

FAILS = "raise OSError('broken')"
SLEEPS = "time.sleep(1.5)"
RATE = 6.0
AT_ONCE = 4
SETTINGS: Mapping[str, Any] = {
    "increments": [30, 100], "canaryPercentage": 30, "canaryDuration": "PT2S",
    "minimumCalls": 10, "keepBlue": "PT1S",
}  # fmt: skip


@dataclass(frozen=True)
class Field:
    """Where the deployments take place."""

    stack: Stack
    ledger: Ledger

    def prepare(self, name: str, versions: Mapping[int, str] | int = 2, **settings: Any) -> None:
        """A function that is called all the time."""
        function(self.stack, name, versions, **settings)
        self.ledger.begin(name, RATE)

    def canary(self, name: str, version: str = "v2", **config: Any) -> Rollout:
        return start(self.stack, name, version, "Canary", **{**SETTINGS, **config})


@dataclass(frozen=True)
class Story:
    """What became of one deployment, and of the calls meanwhile."""

    last: Document
    phases: list[str]
    calls: list[Entry]

    def versions(self, since: float = 0.0) -> set[str]:
        return {entry.version for entry in self.calls if entry.sent >= since}


def story(field: Field, rollout: Rollout, phase: str, serves: str) -> Story:
    """Wait for the end, with the checks that hold of all ends; nothing calls it any more."""
    last = rollout.ended(phase, serves=serves)
    name = last["functionName"]
    field.ledger.end(name)
    return Story(last, rollout.phases(), field.ledger.of(name))


def healthy_canary(field: Field) -> Story:
    field.prepare("canary")
    return story(field, field.canary("canary"), "succeeded", "v2")


def failing_canary(field: Field) -> Story:
    field.prepare("failing", {1: "", 2: FAILS})
    return story(field, field.canary("failing", canaryDuration="PT1H"), "rolled-back", "v1")


def slow_canary(field: Field) -> Story:
    field.prepare("slow", {1: "", 2: SLEEPS})
    config = {"rollbackOnLatencyP99": 1_200, "canaryDuration": "PT1H"}
    return story(field, field.canary("slow", **config), "rolled-back", "v1")


def dead_version(field: Field) -> Story:
    field.prepare("dead")
    code = {"app.py": "raise RuntimeError('no such module')\n"}
    field.stack.upload("dead", code)
    rollout = field.canary("dead", "v3")
    return story(field, rollout, "failed", "v1")


def blue_green(field: Field) -> Story:
    """Previews the green one before any weight, switches, and is taken back by hand."""
    field.prepare("blue-green", timeout=1)
    rollout = start(
        field.stack, "blue-green", "v2", "BlueGreen", testDuration="PT4S", keepBlue="PT1H"
    )
    document = rollout.at_weight(0)
    shown = document["preview"]
    path = "/api/v1/functions/blue-green/invoke"
    body = {"payload": {"id": 1}, "alias": "production"}
    preview = {shown["header"]: shown["key"]}
    seen = field.stack.gateway.post(path, json=body, headers=preview).json()["executedVersion"]
    usual = field.stack.gateway.post(path, json=body).json()["executedVersion"]
    assert (seen, usual) == ("v2", "v1")
    before = rollout.document()
    assert (before["phase"], before["weight"]) == ("observing", 0)
    rollout.until("settling")
    assert served(field.stack, "blue-green") == {"v2": 10_000}
    rollout.give("rollback", "it smells")
    back_at = time.monotonic()
    found = story(field, rollout, "rolled-back", "v1")
    assert "v2" in found.versions()
    assert found.versions(back_at + 2.0) <= {"v1"}
    return found


def rolled_back_after_success(field: Field) -> Story:
    """The deployment is over; a new one brings the old version back at once."""
    field.prepare("after")
    first = start(field.stack, "after", "v2", "AllAtOnce", keepBlue="PT0S")
    first.ended("succeeded", serves="v2")
    again = Rollout(field.stack, first.give("rollback", "too late", status=201))
    assert again.id != first.id
    again.until("settling")
    again.give("promote-full", "no need to wait")
    return story(field, again, "succeeded", "v1")


def rolling(field: Field) -> Story:
    """One runner after another: those of finished batches serve the new version only."""
    field.prepare("rolling")
    rollout = start(
        field.stack, "rolling", "v2", "Rolling", batchSize=33, batchDuration="PT2S",
        minimumCalls=5, keepBlue="PT0S",
    )  # fmt: skip
    seen: list[int] = []
    while len(seen) < 2:
        now = rollout.document()
        updated = len(now["weights"]["runners"])
        if now["phase"] == "observing" and updated > len(seen):
            assert set(now["weights"]["runners"].values()) == {10_000}
            seen.append(updated)
        assert now["phase"] not in ("rolled-back", "failed", "promoting"), now["reason"]
        time.sleep(0.05)
    assert seen == [1, 2]
    return story(field, rollout, "succeeded", "v2")


def regional(field: Field) -> Story:
    """One region after another."""
    field.prepare("regional")
    rollout = start(
        field.stack, "regional", "v2", "Regional", increments=[50, 100], canaryPercentage=50,
        canaryDuration="PT1S", bakeTime="PT1S", waves=["north", "south"], minimumCalls=10,
        keepBlue="PT0S",
    )  # fmt: skip
    return story(field, rollout, "succeeded", "v2")


def ab_test(field: Field) -> Story:
    """Units stay where they are; a person ends it."""
    field.prepare("ab")
    rollout = start(
        field.stack, "ab", "v2", "ABTesting", versionA="v1", versionB="v2",
        trafficSplit={"v1": 50, "v2": 50}, testDuration="PT6S", stickyBy="header:X-Unit",
        minimumCalls=5, keepBlue="PT0S",
    )  # fmt: skip
    rollout.at_weight(5_000)
    begun = time.monotonic()
    time.sleep(4)
    drawn = field.ledger.of("ab", since=begun)
    versions: dict[int, set[str]] = defaultdict(set)
    for entry in drawn:
        versions[entry.id % UNITS].add(entry.version)
    assert {len(seen) for seen in versions.values()} == {1}, "a unit was moved"
    assert set.union(*versions.values()) == {"v1", "v2"}
    values = [
        {"unit": str(entry.id % UNITS), "value": 3.0 if entry.version == "v2" else 1.0}
        for entry in drawn
    ]
    body = {"deploymentId": rollout.id, "values": values}
    added = field.stack.api.post("/api/v1/metrics/basket", json=body)
    assert added.status_code in (200, 201, 202), added.text
    held = rollout.until("held")
    assert held["heldReason"] == "decision"
    comparison = field.stack.api.get(held["links"]["comparison"]).raise_for_status().json()
    assert [item["metric"] for item in comparison["metrics"]] == ["basket"]
    assert comparison["metrics"][0]["meanB"] > comparison["metrics"][0]["meanA"]
    rollout.give("promote", "B sells more")
    return story(field, rollout, "succeeded", "v2")


def all_at_once(field: Field) -> Story:
    field.prepare("at-once")
    rollout = start(field.stack, "at-once", "v2", "Direct", keepBlue="PT0S")
    return story(field, rollout, "succeeded", "v2")


def queued(field: Field) -> Story:
    """Production is one at a time: the second waits, then starts from what the first left."""
    field.prepare("queue", 3)
    first = field.canary("queue", "v2", canaryDuration="PT4S")
    first.until("preparing", "shifting", "observing")
    second = start(field.stack, "queue", "v3", "AllAtOnce", keepBlue="PT0S")
    assert second.phase == "queued"
    first.until("succeeded")
    last = story(field, second, "succeeded", "v3")
    assert last.last["fromVersion"] == "v2"
    return last


def superseded(field: Field) -> Story:
    """Elsewhere the second takes the place of the first, which goes back to stable first."""
    name, alias = "supersede", "staging"
    function(field.stack, name, 3)
    first_one = start(field.stack, name, "v1", "AllAtOnce", alias=alias)
    first_one.until("succeeded")
    first = start(field.stack, name, "v2", "Canary", alias=alias, **SETTINGS)
    first.at_weight(3_000)
    second = start(field.stack, name, "v3", "AllAtOnce", alias=alias, keepBlue="PT0S")
    over = first.until("superseded")
    assert over["receipt"]["route"] == {"version": "v1", "weight": 10_000}
    last = second.ended("succeeded", serves="v3")
    assert last["fromVersion"] == "v1"
    return Story(last, first.phases(), [])


def approved(field: Field) -> Story:
    """Nobody approves a deployment of their own; a second person does."""
    name, alias = "approved", "guarded"
    rules = {"approvalsNeeded": 1}
    field.stack.api.put(f"/api/v1/environments/{alias}", json=rules).raise_for_status()
    function(field.stack, name, 2)
    first = start(field.stack, name, "v1", "AllAtOnce", alias=alias)
    second_person = person(field.stack, "eva")
    approve(field.stack, first, second_person)
    first.until("succeeded")
    rollout = start(field.stack, name, "v2", "AllAtOnce", alias=alias, keepBlue="PT0S")
    approve(field.stack, rollout, second_person)
    last = rollout.ended("succeeded", serves="v2")
    kinds = [event for event in rollout.events() if event["actor"] == "eva"]
    assert kinds, "the history names who approved"
    return Story(last, rollout.phases(), [])


def approve(stack: Stack, rollout: Rollout, person: httpx2.Client) -> None:
    waiting = rollout.until("awaiting-approval")
    own = stack.api.post(f"{rollout.path}/approve", json={})
    other = person.post(
        f"{rollout.path}/approve", json={"digest": "0" * 64, "reason": "not what I saw"}
    )
    said = person.post(f"{rollout.path}/approve", json={"digest": waiting["digest"]})
    assert (own.status_code, other.status_code, said.status_code) == (403, 409, 200)


def paused(field: Field) -> Story:
    """The clock stands while it is paused, and goes on where it stood."""
    field.prepare("paused")
    rollout = field.canary("paused", canaryDuration="PT3S")
    rollout.at_weight(3_000)
    held = rollout.give("pause", "lunch")
    time.sleep(4)
    still = rollout.document()
    assert (held["heldReason"], still["phase"], still["weight"]) == ("manual", "held", 3_000)
    assert still["observedSeconds"] == held["observedSeconds"]
    rollout.give("resume")
    return story(field, rollout, "succeeded", "v2")


def paused_and_failing(field: Field) -> Story:
    """The guards stay on while a person is awaited."""
    bad_later = "\n    if os.path.exists('/tmp/x') or time.time() - BORN > 8: raise OSError('late')"
    field.prepare(
        "guarded-pause", {1: "", 2: f"globals().setdefault('BORN', time.time()){bad_later}"}
    )
    rollout = field.canary("guarded-pause", canaryDuration="PT1H")
    rollout.at_weight(3_000)
    rollout.give("pause", "lunch")
    return story(field, rollout, "rolled-back", "v1")


def frozen(field: Field) -> Story:
    """A freeze that begins mid-rollout holds it; rolling back stays possible."""
    name, alias = "frozen", "seasonal"
    function(field.stack, name, 2)
    start(field.stack, name, "v1", "AllAtOnce", alias=alias).until("succeeded")
    rollout = start(field.stack, name, "v2", "Canary", alias=alias, **SETTINGS)
    rollout.at_weight(3_000)
    window = {
        "environment": alias,
        "endsAt": (datetime.now(UTC) + timedelta(hours=1)).isoformat(),
        "reason": "year-end",
    }
    field.stack.api.post("/api/v1/freezes", json=window).raise_for_status()
    held = rollout.until("held")
    assert (held["heldReason"], held["weight"]) == ("freeze", 3_000)
    assert field.stack.api.post(f"{rollout.path}/promote", json={}).status_code == 409
    rollout.give("rollback", "not this year")
    last = rollout.ended("rolled-back", serves="v1")
    return Story(last, rollout.phases(), [])


STORIES: Mapping[str, Callable[[Field], Story]] = {
    tale.__name__: tale
    for tale in (
        healthy_canary, failing_canary, slow_canary, dead_version, blue_green,
        rolled_back_after_success, rolling, regional, ab_test, all_at_once, queued, superseded,
        approved, paused, paused_and_failing, frozen,
    )
}  # fmt: skip

Told = Callable[[Callable[[Field], Story]], Story]


@pytest.fixture(scope="module")
def told() -> Iterator[Told]:
    """Begins every story; the answer waits for one of them."""
    require_backend("sandbox")
    settings = {
        "HOTSWAP_GATEWAY_PROCESSES": "2",
        "HOTSWAP_RUNNER_PROCESSES": "3",
        "HOTSWAP_RUNNER_REGIONS": "north,south,south",
    }
    stack = Stack("sandbox", **settings)
    try:
        stack.start()
        with Ledger(stack.gateway_url, stack.token) as ledger, ThreadPoolExecutor(AT_ONCE) as pool:
            field = Field(stack, ledger)
            running: dict[str, Future[Story]] = {
                name: pool.submit(tale, field) for name, tale in STORIES.items()
            }
            yield lambda tale: running[tale.__name__].result()
    finally:
        stack.close()


ALL_THE_WAY = ["queued", "preparing", "shifting", "observing"]


class TestHealthy:
    def test_canary_completes(self, told: Told) -> None:
        """C02, C60, C72."""
        found = told(healthy_canary)

        assert found.phases == [
            *ALL_THE_WAY, "shifting", "observing", "promoting", "settling", "succeeded",
        ]  # fmt: skip
        assert found.versions() == {"v1", "v2"}
        assert {entry.status for entry in found.calls} == {200}

    def test_all_at_once_completes(self, told: Told) -> None:
        found = told(all_at_once)

        assert found.phases == [*ALL_THE_WAY, "promoting", "settling", "succeeded"]
        assert {entry.status for entry in found.calls} == {200}

    def test_rolling_updates_runner_by_runner(self, told: Told) -> None:
        """C60."""
        found = told(rolling)

        runners = [step["runnerShare"] for step in found.last["steps"]]
        assert (len(runners), runners[-1]) == (3, 10_000)
        assert {entry.status for entry in found.calls} == {200}

    def test_regional_goes_region_by_region(self, told: Told) -> None:
        found = told(regional)

        waves = [step["regions"] for step in found.last["steps"]]
        assert waves == [["north"], ["north"], ["south"], ["south"]]
        assert {entry.status for entry in found.calls} == {200}

    def test_ab_test_keeps_units_where_they_are_until_a_person_decides(self, told: Told) -> None:
        """C63."""
        assert told(ab_test).phases[-4:] == ["held", "promoting", "settling", "succeeded"]


class TestBad:
    def test_canary_that_fails_goes_back_by_itself(self, told: Told) -> None:
        found = told(failing_canary)

        assert found.phases == [*ALL_THE_WAY, "rolling-back", "rolled-back"]
        assert "of the stable version" in found.last["reason"] or "Over" in found.last["reason"]
        assert {entry.version for entry in found.calls if entry.status != 200} == {"v2"}

    def test_canary_that_is_slow_goes_back_by_itself(self, told: Told) -> None:
        found = told(slow_canary)

        assert found.phases == [*ALL_THE_WAY, "rolling-back", "rolled-back"]
        assert "1,200 ms" in found.last["reason"]
        assert {entry.status for entry in found.calls} == {200}

    def test_version_that_does_not_start_gets_no_call(self, told: Told) -> None:
        """C26, C66."""
        found = told(dead_version)

        assert found.phases == ["queued", "preparing", "failed"]
        assert "no such module" in found.last["reason"]
        assert found.versions() == {"v1"}
        assert {entry.status for entry in found.calls} == {200}


class TestByHand:
    def test_blue_green_is_previewed_switched_and_taken_back(self, told: Told) -> None:
        """C61, C62."""
        found = told(blue_green)

        assert found.last["reason"].endswith("it smells")
        assert {entry.status for entry in found.calls} == {200}

    def test_what_succeeded_is_taken_back_by_one_call(self, told: Told) -> None:
        """C21, C22."""
        found = told(rolled_back_after_success)

        assert found.last["fromVersion"] == "v2"
        assert {entry.status for entry in found.calls} == {200}

    def test_pause_stops_the_clock(self, told: Told) -> None:
        """C07."""
        assert told(paused).phases.count("held") == 1

    def test_pause_leaves_the_guards_on(self, told: Told) -> None:
        """C82."""
        assert told(paused_and_failing).phases[-3:] == ["held", "rolling-back", "rolled-back"]

    def test_freeze_holds_and_still_lets_go_back(self, told: Told) -> None:
        """C83."""
        assert told(frozen).phases[-3:] == ["held", "rolling-back", "rolled-back"]

    def test_approval_is_a_second_persons(self, told: Told) -> None:
        """C81."""
        assert "awaiting-approval" in told(approved).phases


class TestInterrupted:
    def test_second_version_waits_in_production(self, told: Told) -> None:
        """C20."""
        assert told(queued).phases[0] == "queued"

    def test_second_version_takes_the_place_elsewhere(self, told: Told) -> None:
        """C20, C24."""
        assert told(superseded).phases[-2:] == ["rolling-back", "superseded"]
