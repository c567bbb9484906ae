"""Random walks: whatever happens in whatever order, the rules hold and an end is reached.

Rules are those of the state machine's contract: precedence, absorbing rollback, one way back,
order of effects, observation clock, evidence for PASS, guards, epochs, leases, weights,
catching up, terminal phases, superseding, and the random walk itself.
"""

import random
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from deployments.analysis.verdict import Cause, Verdict
from deployments.states import TERMINAL, Command
from tests.unit.deployments.simulated import PLANS, World

WALKS = 1_000
WALKS_SLOW = 100_000
STEPS = 40
HOOKS = frozenset(
    {"confirm-rollout", "pre-rollout", "rollout", "confirm-traffic-increase", "confirm-promotion"}
)
GATEWAYS = ("g0", "g1")
RUNNERS = ("r0", "r1", "r2", "r3")
VERDICTS = (
    (Verdict.PASS, Cause.NONE),
    (Verdict.FAIL, Cause.NONE),
    (Verdict.HELD, Cause.SHARED_CAUSE),
    (Verdict.INCONCLUSIVE, Cause.NO_TRAFFIC),
    (Verdict.INCONCLUSIVE, Cause.FEW_SAMPLES),
    (Verdict.INCONCLUSIVE, Cause.STALE_METRICS),
    (Verdict.INCONCLUSIVE, Cause.TIME),
)
COMMANDS = tuple(c for c in Command if c not in (Command.RETRY, Command.APPROVE, Command.REJECT))
TIMES = (0.1, 0.5, 1.0, 5.0, 31.0, 61.0, 700.0)
WORDS = ("ok", "ok", "refused", "late")


def world_of(choose: Callable[[int], int]) -> World:
    """A world of any kind; `choose(n)` picks from 0 to n - 1."""
    plan = list(PLANS.values())[choose(len(PLANS))]
    return World(
        plan,
        is_first=choose(6) == 0,
        is_reversible=choose(6) != 0,
        approval="waiting" if choose(5) == 0 else "",
        hooks=HOOKS if choose(5) == 0 else frozenset(),
    )


def happen(world: World, event: int, choose: Callable[[int], int]) -> None:
    """One of the things that can happen."""
    gateway, runner = GATEWAYS[choose(len(GATEWAYS))], RUNNERS[choose(len(RUNNERS))]
    events: tuple[Callable[[], object], ...] = (
        world.tick,
        lambda: (world.tick(), world.tick()),  # a duplicate
        lambda: forward(world, TIMES[choose(len(TIMES))]),
        lambda: world.deliver_newest(gateway),
        lambda: world.deliver(gateway, choose(1 + len(world.routes))),  # late, or again
        lambda: world.report(gateway),
        lambda: everybody(world),
        lambda: world.judge(*VERDICTS[choose(len(VERDICTS))]),
        lambda: world.give(COMMANDS[choose(len(COMMANDS))]),
        lambda: world.call(gateway, 1 - 2 * choose(2)),
        lambda: world.crash(gateway),
        lambda: world.restart(gateway, choose(1 + len(world.routes))),
        lambda: world.warm(runner, choose(2)) if runner in world.runners else None,
        lambda: world.lose_runner(runner) if choose(2) else world.add_runner(runner),
        lambda: world.answer(WORDS[choose(len(WORDS))]),
        lambda: around(world, choose),
    )
    events[event % len(events)]()


EVENTS = 16


def forward(world: World, seconds: float) -> None:
    """Time passes, and nobody looks."""
    world.now += seconds


def everybody(world: World) -> None:
    """A calm second: routes arrive, everybody reports, instances are ready."""
    for runner in world.runners:
        world.warm(runner, 1)
    for name in world.gateways:
        world.deliver_newest(name)
        world.report(name)
        world.report(name)
    world.tick()


def around(world: World, choose: Callable[[int], int]) -> None:
    """Rare things."""
    match choose(7):
        case 0:
            world.freeze = "" if world.freeze else "Frozen."
        case 1:
            world.newer = "another"
        case 2:
            world.is_gone = True
        case 3:
            world.failed_start = "" if world.failed_start else "it raises"
        case 4:
            world.sources = ("ok", "waiting", "stale", "breached")[choose(4)]
        case 5 if world.approval:
            world.approval = ("enough", "rejected")[choose(2)]


def walk(seed: int) -> str:
    """One random sequence, then the way out. Returns where it ended."""
    chance = random.Random(seed)

    def choose(n: int) -> int:
        return chance.randrange(n)

    world = world_of(choose)
    for _ in range(STEPS):
        # Most walks should get far: calm seconds and ticks are more frequent than accidents.
        event = chance.choice((0, 2, 3, 5, 6, 6, 6, 7)) if chance.random() < 0.7 else choose(EVENTS)
        happen(world, event, choose)
        world.check()
    world.calm_down(healthy=chance.random() < 0.7)
    return world.phase


def walks(count: int, seed: int) -> dict[str, int]:
    ends: dict[str, int] = {}
    for number in range(count):
        try:
            phase = walk(seed + number)
        except AssertionError as exc:
            raise AssertionError(f"walk({seed + number}): {exc}") from exc
        ends[phase] = ends.get(phase, 0) + 1
    return ends


def test_rules_hold_on_every_walk_and_each_ends() -> None:
    """Rules 1 to 7 and 9 to 15 of the contract, C03, C28, C34, C36."""
    ends = walks(WALKS, 1)

    assert set(ends) == set(TERMINAL)  # the walks go everywhere
    assert min(ends.values()) > WALKS / 500


@pytest.mark.slow
@pytest.mark.timeout(1_800)
def test_rules_hold_on_a_hundred_thousand_walks() -> None:
    """Rule 15."""
    chunk = WALKS_SLOW // 20
    seeds = [1_000_000 + number * chunk for number in range(20)]
    with ProcessPoolExecutor(mp_context=get_context("spawn")) as pool:
        parts = list(pool.map(partial(walks, chunk), seeds))
    ends = {phase: sum(part.get(phase, 0) for part in parts) for phase in TERMINAL}

    assert sum(ends.values()) == WALKS_SLOW
    assert min(ends.values()) > 0


class Machine(RuleBasedStateMachine):
    """The same events, chosen by Hypothesis: what fails shrinks to a short story."""

    world: World

    @initialize(numbers=st.lists(st.integers(0, 5_039), min_size=5, max_size=5))
    def begin(self, numbers: list[int]) -> None:
        given = iter(numbers)
        self.world = world_of(lambda n: next(given) % n)

    @rule(event=st.integers(0, EVENTS - 1), number=st.integers(0, 5_039))
    def something_happens(self, event: int, number: int) -> None:
        state = number

        def choose(n: int) -> int:
            nonlocal state
            state, picked = divmod(state, n)
            return picked

        happen(self.world, event, choose)

    @rule()
    def a_calm_second(self) -> None:
        self.world.now += 1.0
        everybody(self.world)

    @invariant()
    def rules_hold(self) -> None:
        if hasattr(self, "world"):
            self.world.check()

    def teardown(self) -> None:
        if hasattr(self, "world"):
            self.world.calm_down(healthy=True)


TestMachine = Machine.TestCase
TestMachine.settings = settings(max_examples=200, stateful_step_count=30, deadline=None)
