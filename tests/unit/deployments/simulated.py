"""A whole world around the pure machine: gateways, runners, a judge, persons, and time.

Nothing here sleeps or talks: a random walk over it takes microseconds a step. The world
applies decisions as `deployments.services.transitions` does, and gateways behave as
`hotswap.wire.rollouts` says: only larger epochs, leases, everything to stable without one.
"""

from dataclasses import dataclass, field, replace
from typing import Any

from deployments.analysis.verdict import Cause, Judgement, Meter, Verdict
from deployments.machine import (
    Clock,
    Decision,
    Move,
    Route,
    Runner,
    View,
    command,
    decide,
    is_leased,
)
from deployments.states import TERMINAL, WITH_TRAFFIC, Command, Held, Phase, check_move
from deployments.types import ALL, OnInconclusive, Plan, Step
from hotswap.core.errors import IllegalTransition
from hotswap.wire.rollouts import LEASE_SECONDS

NO_WAY_BACK = (Phase.ROLLING_BACK, Phase.ROLLBACK_STUCK)
FRESH_SECONDS = 1.5


def judged(verdict: Verdict, cause: Cause = Cause.NONE) -> Judgement:
    """A judgement without its arithmetic."""
    meter = Meter(3.0, 0.9, "")
    return Judgement(verdict, cause, f"It is {verdict}.", (), 100, 50, meter, 0.0, 0.0)


def canary(**changes: Any) -> Plan:
    """10 %, 50 %, 100 %, a minute each."""
    weights = (1_000, 5_000, ALL)
    steps = tuple(Step(name=f"{w}", weight=w, hold_seconds=60.0) for w in weights)
    return replace(Plan(steps=steps, keep_blue_seconds=60.0), **changes)


def blue_green() -> Plan:
    """Nothing for a minute, then everything."""
    steps = (
        Step(name="green", weight=0, hold_seconds=60.0, needs_samples=False, is_judged=False),
        Step(name="switch", weight=ALL, needs_samples=False),
    )
    return Plan(steps=steps, keep_blue_seconds=60.0, warms_fully=True)


def rolling() -> Plan:
    """Half of the runners, then all."""
    shares = (5_000, ALL)
    steps = tuple(Step(name=f"{s}", weight=ALL, hold_seconds=30.0, runner_share=s) for s in shares)
    return Plan(steps=steps, keep_blue_seconds=30.0)


PLANS = {
    "canary": canary(),
    "canary with an approval": canary(
        steps=(
            Step(name="10 %", weight=1_000, hold_seconds=30.0, gate="approval"),
            Step(name="100 %", weight=ALL, hold_seconds=30.0),
        )
    ),
    "no way back": canary(rolls_back=False),
    "careless": canary(on_inconclusive=OnInconclusive.PROMOTE),
    "strict": canary(on_inconclusive=OnInconclusive.ROLL_BACK),
    "with a time to be held": canary(hold_timeout_seconds=300.0),
    "decided by a person": canary(
        steps=(Step(name="half", weight=5_000, hold_seconds=60.0),), is_decided_by_person=True
    ),
    "all at once": Plan(
        steps=(Step(name="100 %", weight=ALL, needs_samples=False),), keep_blue_seconds=0.0
    ),
    "blue-green": blue_green(),
    "rolling": rolling(),
}


@dataclass(slots=True)
class Gateway:
    """One gateway: what it routes by, and what it last told."""

    is_alive: bool = True
    epoch: int = 0
    route: Route = field(default_factory=Route)
    lease_until: float = 0.0
    reported_at: float | None = None
    reported_epoch: int = 0
    had_lease: bool = False
    has_lease: bool = False
    in_flight: int = 0
    stable_in_flight: int = 0
    told_in_flight: int = 0
    told_stable: int = 0

    def take(self, epoch: int, route: Route) -> None:
        """Only larger epochs count."""
        if epoch > self.epoch:
            self.epoch, self.route = epoch, route

    def may_split(self, now: float) -> bool:
        return not is_leased(self.route) or now < self.lease_until

    def sends_to_candidate(self, now: float) -> bool:
        return self.is_alive and self.route.has_traffic and self.may_split(now)


class World:
    """One attempt and everything around it. Methods are the events of a walk."""

    def __init__(
        self,
        plan: Plan,
        *,
        is_first: bool = False,
        is_reversible: bool = True,
        approval: str = "",
        hooks: frozenset[str] = frozenset(),
        gateways: int = 2,
    ) -> None:
        self.plan = plan
        self.is_first = is_first
        self.is_reversible = is_reversible
        self.now = 1_000.0
        self.gateways = {f"g{n}": Gateway() for n in range(gateways)}
        self.runners = {f"r{n}": Runner("", 0, 1) for n in range(3)}
        self.routes: list[tuple[int, Route]] = []

        self.phase = Phase.QUEUED
        self.step = 0
        self.held: Held | None = None
        self.held_from: Phase | None = None
        self.passed: frozenset[str] = frozenset()
        self.extensions = 0
        self.epoch = 0
        self.route = Route()
        self.alias = "none" if is_first else "from"
        self.phase_since = self.now
        self.observed = 0.0
        self.observing_since: float | None = None
        self.deadline: float | None = None
        self.lease_until: float | None = None
        self.is_superseded = False
        self.row_version = 1
        self.alias_moves = 0

        self.approval = approval
        self.hooks = hooks
        self.answers: dict[str, str] = {}
        self.newer = ""
        self.is_gone = False
        self.freeze = ""
        self.failed_start = ""
        self.judgement = judged(Verdict.INCONCLUSIVE, Cause.FEW_SAMPLES)
        self.sources = "ok"
        self.last_look = self.now

    # What is seen

    @property
    def live(self) -> list[Gateway]:
        return [gateway for gateway in self.gateways.values() if gateway.is_alive]

    def view(self) -> View:
        current = [g for g in self.live if g.reported_at and g.reported_epoch >= self.epoch]
        is_everyone = len(current) == len(self.live)
        reports = [g.reported_at for g in self.live]
        told = [at for at in reports if at is not None]
        age = self.now - min(told) if told and len(told) == len(reports) else None
        leased = is_leased(self.route)
        ran_out = self.lease_until is not None and self.lease_until < self.now
        return View(
            phase=self.phase,
            plan=self.plan,
            step_index=self.step,
            held=self.held,
            held_from=self.held_from,
            passed=self.passed,
            extensions=self.extensions,
            route=self.route,
            is_first=self.is_first,
            is_reversible=self.is_reversible,
            is_alias_moved=self.alias == "to",
            phase_seconds=self.now - self.phase_since,
            observed_seconds=self.observed_seconds,
            is_clock_running=self.observing_since is not None,
            is_overdue=self.deadline is not None and self.deadline <= self.now,
            newer=self.newer,
            is_superseded=self.is_superseded,
            is_gone=self.is_gone,
            freeze=self.freeze,
            approval=self.approval,
            approval_seconds=3_600.0,
            hooks=self.hooks,
            answers=dict(self.answers),
            runners=dict(self.runners),
            failed_start=self.failed_start,
            gateways=len(self.live),
            is_acked=all(g.epoch >= self.epoch for g in self.live),
            has_leases=is_everyone and all(g.has_lease for g in current),
            is_lease_lost=leased
            and (ran_out or any(g.had_lease and not g.has_lease for g in current)),
            candidate_in_flight=sum(g.told_in_flight for g in current) if is_everyone else None,
            stable_in_flight=sum(g.told_stable for g in current) if is_everyone else None,
            evidence_age=age,
            judgement=(
                self.judgement if self.phase in WITH_TRAFFIC and self.route.has_traffic else None
            ),
            sources=self.sources,
        )

    @property
    def observed_seconds(self) -> float:
        since = self.observing_since
        return self.observed + (self.now - since if since is not None else 0.0)

    # What the machine does

    def tick(self) -> Decision:
        view = self.view()
        decision = decide(view)
        self.check_decision(view, decision)
        self.apply(view, decision)
        return decision

    def give(self, wanted: Command) -> bool:
        """A person's command; whether it was taken."""
        view = self.view()
        try:
            decision = command(view, wanted, actor="eva")
        except IllegalTransition:
            return False
        self.apply(view, decision)
        return True

    def apply(self, view: View, decision: Decision) -> None:
        was = self.phase
        is_move = decision.phase is not was
        if is_move:
            check_move(was, decision.phase)
        assert was not in TERMINAL or not is_move  # rule 13
        self._clock(decision.clock)
        if decision.route is not None:
            self._publish(decision.route)
        if decision.step_index is not None:
            self.step = decision.step_index
        self.phase = decision.phase
        self.passed |= decision.passed
        self.extensions = self.extensions if decision.extensions is None else decision.extensions
        if self.phase is not Phase.HELD:
            self.held = self.held_from = None
        elif decision.held is not None:
            self.held, self.held_from = decision.held, decision.held_from
        if is_move:
            self._enter(decision)
        if decision.is_superseded:
            self.is_superseded = True
        if decision.alias is not Move.STAY:
            self.alias = "to" if decision.alias is Move.CANDIDATE else "from"
            self.alias_moves += decision.alias is Move.CANDIDATE
        for _, gate in decision.wants:
            self.answers.setdefault(gate, "pending")
        self._lease(view, decision)
        self.last_look = self.now
        self.row_version += 1
        self.check()

    def _enter(self, decision: Decision) -> None:
        self.phase_since = self.now
        seconds = decision.deadline_seconds
        self.deadline = None if seconds is None else self.now + seconds

    def _clock(self, clock: Clock) -> None:
        if clock is Clock.STOP:
            self.observed = self.observed_seconds
        if clock in (Clock.RESET, Clock.RESTART):
            self.observed = 0.0
        if clock in (Clock.STOP, Clock.RESET):
            self.observing_since = None
        if clock is Clock.RESTART or (clock is Clock.START and self.observing_since is None):
            self.observing_since = self.now

    def _publish(self, route: Route) -> None:
        self.epoch += 1
        self.route = route
        self.routes.append((self.epoch, route))

    def _lease(self, view: View, decision: Decision) -> None:
        if not is_leased(self.route):
            self.lease_until = None
            return
        is_new = decision.route is not None and not is_leased(view.route)
        if (view.evidence_age is not None and view.evidence_age < 5.0) or is_new:
            self.lease_until = self.now + LEASE_SECONDS

    # What happens elsewhere

    def deliver(self, name: str, which: int) -> None:
        """A published route arrives: any of them, in any order, as often as it likes."""
        if self.routes:
            epoch, route = self.routes[which % len(self.routes)]
            self.gateways[name].take(epoch, route)

    def deliver_newest(self, name: str) -> None:
        self.deliver(name, len(self.routes) - 1)

    def report(self, name: str) -> None:
        """A gateway reports and gets the lease that is left."""
        gateway = self.gateways[name]
        if not gateway.is_alive:
            return
        has_lease = gateway.may_split(self.now)
        same = gateway.reported_epoch == gateway.epoch
        gateway.had_lease = has_lease or (same and gateway.had_lease)
        gateway.has_lease = has_lease
        gateway.reported_epoch = gateway.epoch
        gateway.reported_at = self.now
        gateway.told_in_flight = gateway.in_flight
        gateway.told_stable = gateway.stable_in_flight
        if self.lease_until is not None:
            gateway.lease_until = max(self.now, self.lease_until)

    def crash(self, name: str) -> None:
        self.gateways[name].is_alive = False

    def restart(self, name: str, which: int) -> None:
        """It comes back with any old copy of the table, no lease and no calls."""
        if not self.gateways[name].is_alive:
            self.gateways[name] = Gateway()
            self.deliver(name, which)

    def call(self, name: str, change: int) -> None:
        gateway = self.gateways[name]
        if change > 0 and gateway.sends_to_candidate(self.now):
            gateway.in_flight += 1
        elif change < 0:
            gateway.in_flight = max(0, gateway.in_flight - 1)

    def judge(self, verdict: Verdict, cause: Cause = Cause.NONE) -> None:
        self.judgement = judged(verdict, cause)

    def warm(self, name: str, ready: int) -> None:
        self.runners[name] = replace(self.runners[name], candidate_ready=ready)

    def lose_runner(self, name: str) -> None:
        if len(self.runners) > 1:
            self.runners.pop(name, None)

    def add_runner(self, name: str) -> None:
        self.runners.setdefault(name, Runner("", 0, 1))

    def answer(self, word: str) -> None:
        for gate, said in self.answers.items():
            if said == "pending":
                self.answers[gate] = word

    # What must hold

    def check_decision(self, view: View, decision: Decision) -> None:
        """Rules about one move of the machine itself."""
        fails = view.judgement is not None and view.judgement.verdict is Verdict.FAIL
        if fails and view.may_roll_back and view.phase in WITH_TRAFFIC:
            assert decision.phase is Phase.ROLLING_BACK  # rules 1 and 7
        if decision.step_index is not None and view.phase is Phase.OBSERVING:
            assert decision.step_index <= view.step_index + 1  # rule 12
        goes_on = view.phase is Phase.OBSERVING and (
            decision.phase is Phase.PROMOTING or (decision.step_index or 0) > view.step_index
        )
        if goes_on:  # rule 6
            assert view.observed_seconds >= view.step.hold_seconds
            assert view.is_acked
            assert view.evidence_age is not None
            assert view.evidence_age < FRESH_SECONDS
            assert not view.freeze
            careless = view.plan.on_inconclusive is OnInconclusive.PROMOTE
            if view.step.is_judged and view.judgement is not None and not careless:
                assert view.judgement.verdict is Verdict.PASS
            assert any(r.candidate_ready for r in view.runners.values())  # rule 11
        is_move = decision.phase is not view.phase
        if is_move and decision.phase is Phase.SUCCEEDED:
            assert view.is_acked or view.is_first
        if is_move and decision.phase in (Phase.ROLLED_BACK, Phase.SUPERSEDED):
            assert view.is_acked  # rule 4: route, acknowledgement, drain
            is_drained = view.candidate_in_flight == 0
            assert is_drained or view.observed_seconds >= view.drain_seconds
        if view.phase in NO_WAY_BACK:
            assert decision.phase in (
                *NO_WAY_BACK, Phase.ROLLED_BACK, Phase.SUPERSEDED,
            )  # rule 2  # fmt: skip

    def check(self) -> None:
        """What holds at any time."""
        assert 0 <= self.route.weight <= ALL
        assert all(0 <= weight <= ALL for weight in self.route.runner_weights.values())
        assert self.alias_moves <= 1  # once (C02)
        if self.phase in (*NO_WAY_BACK, Phase.ROLLED_BACK, Phase.SUPERSEDED):
            assert not self.route.has_traffic  # rule 4: the route first
        if self.phase in (Phase.QUEUED, Phase.AWAITING_APPROVAL, Phase.PREPARING, Phase.FAILED):
            assert not self.route.has_traffic
        if self.phase in TERMINAL:
            self._check_end()
        for gateway in self.live:  # rule 10
            if gateway.sends_to_candidate(self.now) and is_leased(gateway.route):
                assert self.now - self.last_look <= LEASE_SECONDS + 5

    def _check_end(self) -> None:
        """Rule 15: everything on the one version or on the other."""
        if self.phase is Phase.SUCCEEDED:
            assert (self.alias, self.route.weight) == ("to", ALL)
            assert not self.route.runner_weights
        else:
            assert self.alias in ("from", "none") or self.is_first
            assert not self.route.has_traffic

    # The way out

    def calm_down(self, *, healthy: bool) -> None:
        """Everybody does their part from now on; a terminal phase must follow."""
        self.freeze = ""
        self.failed_start = ""
        self.sources = "ok"
        self.approval = "enough" if self.approval else ""
        self.judge(Verdict.PASS if healthy else Verdict.FAIL)
        for name in self.gateways:
            self.restart(name, len(self.routes) - 1)
        for name in self.runners:
            self.warm(name, 1)
        for _ in range(400):
            if self.phase in TERMINAL:
                return
            self._part()
            self.tick()
        raise AssertionError(f"stuck in {self.phase} ({self.held}) of {self.plan}")

    def _part(self) -> None:
        self.answer("ok")
        for name, gateway in self.gateways.items():
            self.deliver_newest(name)
            gateway.in_flight = gateway.stable_in_flight = 0
            self.report(name)
        if self.approval == "" and self.held is Held.GATE:
            self.approval = "enough"
        if self.held is Held.IRREVERSIBLE:
            self.give(Command.PROMOTE_FULL)
        if self.held in (Held.MANUAL, Held.IRREVERSIBLE):
            self.give(Command.RESUME)
        if self.held is Held.DECISION:
            self.give(Command.PROMOTE)
        self.now += 4.0
        for name in self.gateways:
            self.report(name)
