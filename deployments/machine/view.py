"""What the machine sees of an attempt, and what it answers."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from deployments.analysis.verdict import Judgement
from deployments.states import Held, Phase
from deployments.types import Bps, Plan, Step


@dataclass(frozen=True, slots=True)
class Route:
    """How calls divide: the candidate's share in basis points, and other shares by runner."""

    weight: Bps = 0
    runner_weights: Mapping[str, Bps] = field(default_factory=dict)

    @property
    def has_traffic(self) -> bool:
        """Whether any call may reach the candidate."""
        return self.weight > 0 or any(self.runner_weights.values())


@dataclass(frozen=True, slots=True)
class Runner:
    """One live runner that can serve the function: its region, and instances ready to serve."""

    region: str = ""
    candidate_ready: int = 0
    stable_ready: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """One attempt and its world at one moment of the database's clock.

    Attributes:
        passed: what persons have let through: gates by name, and the words of `commands`.
        route: in force, as of the newest epoch.
        is_first: the alias served nothing before: there is no way back.
        is_alias_moved: the alias itself leads to the candidate.
        phase_seconds: since the phase began.
        observed_seconds: what the observation clock shows.
        is_overdue: the phase's deadline has passed.
        drain_seconds: longest time a call may still run.
        obstacle: why a queued attempt cannot start yet, for people; "" it can.
        is_served: the alias leads to the candidate already, without this attempt.
        newer: the deployment that wants this one's place; "" none.
        is_superseded: this rollback makes room for another attempt.
        is_gone: the function was deleted.
        freeze: why deployments may not advance now; "" they may.
        approval: "", "waiting", "enough" or "rejected", for the gate that is on now.
        approval_seconds: how long a start waits for it.
        hooks: kinds that the environment has.
        answers: gate -> "pending", "ok", "refused" or "late"; a gate not asked is missing.
        runners: name -> live runner.
        instances_wanted: of the candidate on every runner before it gets calls; fixed when the
            attempt begins, however many stable has later.
        failed_start: why no instance of the candidate starts; "" none failed.
        gateways: how many are alive.
        is_acked: every live gateway routes by the newest epoch.
        has_leases: every live gateway says it holds the lease of the newest epoch.
        is_lease_lost: a gateway had this epoch's lease and has it no more, or it ran out.
        candidate_in_flight, stable_in_flight: calls that run; None: a gateway has not said.
        evidence_age: seconds since the most silent live gateway reported; None: one never has.
        judgement: None: nothing is judged now.
        sources: what external sources say together (`services.sources.Standing`): "ok",
            "waiting" (nothing passes yet), "stale" or "signal" (hold), "breached" (fail).
        prefers_candidate: a stable version as bad as the candidate does not hold it up.
    """

    phase: Phase
    plan: Plan
    step_index: int = 0
    held: Held | None = None
    held_from: Phase | None = None
    passed: frozenset[str] = frozenset()
    extensions: int = 0
    route: Route = field(default_factory=Route)
    is_first: bool = False
    is_reversible: bool = True
    is_alias_moved: bool = False

    phase_seconds: float = 0.0
    observed_seconds: float = 0.0
    is_clock_running: bool = False
    is_overdue: bool = False
    drain_seconds: float = 30.0

    obstacle: str = ""
    is_served: bool = False
    newer: str = ""
    is_superseded: bool = False
    is_gone: bool = False
    freeze: str = ""
    approval: str = ""
    approval_seconds: float = 0.0
    hooks: frozenset[str] = frozenset()
    answers: Mapping[str, str] = field(default_factory=dict)

    runners: Mapping[str, Runner] = field(default_factory=dict)
    instances_wanted: int = 1
    failed_start: str = ""
    gateways: int = 0
    is_acked: bool = False
    has_leases: bool = False
    is_lease_lost: bool = False
    candidate_in_flight: int | None = None
    stable_in_flight: int | None = None

    evidence_age: float | None = None
    judgement: Judgement | None = None
    sources: str = "ok"
    sources_sentence: str = ""
    prefers_candidate: bool = False

    @property
    def step(self) -> Step:
        """The step that is on."""
        return self.plan.steps[self.step_index]

    @property
    def is_last_step(self) -> bool:
        """Whether promotion comes next."""
        return self.step_index + 1 >= len(self.plan.steps)

    @property
    def may_roll_back(self) -> bool:
        """Whether the machine may go back by itself; otherwise it stands and calls a person."""
        return self.is_reversible and self.plan.rolls_back and not self.is_first


class Clock(StrEnum):
    """What becomes of the observation clock."""

    KEEP = "keep"
    START = "start"
    STOP = "stop"
    RESET = "reset"
    RESTART = "restart"


class Move(StrEnum):
    """Where the alias itself must lead."""

    STAY = "stay"
    CANDIDATE = "candidate"
    STABLE = "stable"


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """One move, to be made in one transaction.

    Attributes:
        phase: the next phase; the present one to stay.
        reason: for people; what is waited for, where nothing moves.
        kind: the event to write; "" writes none.
        route: a new route, which needs a new epoch; None keeps it.
        passed: gates to note.
        wants: (hook kind, gate) to ask.
        deadline_seconds: for the next phase, from now; None: it has none.
        is_superseded: the rollback makes room for the newer deployment.
        must_publish: publish the route again: a gateway may have missed it.
        step_passed: a step was evaluated: no second one in the same tick.
        counts_dropped: calls still running are lost and belong into the receipt.
    """

    phase: Phase
    reason: str = ""
    kind: str = ""
    step_index: int | None = None
    route: Route | None = None
    alias: Move = Move.STAY
    held: Held | None = None
    held_from: Phase | None = None
    clock: Clock = Clock.KEEP
    extensions: int | None = None
    passed: frozenset[str] = frozenset()
    wants: tuple[tuple[str, str], ...] = ()
    deadline_seconds: float | None = None
    is_superseded: bool = False
    must_publish: bool = False
    step_passed: bool = False
    counts_dropped: bool = False
