"""The values that planners, judge and machine exchange. Pure: no framework, no clock."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

Bps = int
"""Basis points; 10,000 is everything."""

ALL: Final[Bps] = 10_000


class Strategy(StrEnum):
    """Names as the API spells them."""

    ALL_AT_ONCE = "AllAtOnce"
    CANARY = "Canary"
    BLUE_GREEN = "BlueGreen"
    ROLLING = "Rolling"
    AB_TESTING = "ABTesting"
    REGIONAL = "Regional"


class OnInconclusive(StrEnum):
    """What follows when time is over and the evidence decides nothing."""

    EXTEND = "extend"
    HOLD = "hold"
    ROLL_BACK = "rollback"
    PROMOTE = "promote"


class Concurrency(StrEnum):
    """What becomes of a deployment while another runs on the same alias."""

    QUEUE = "queue"
    SUPERSEDE = "supersede"
    REJECT = "reject"


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What the judge holds a candidate to.

    Attributes:
        error_rate: highest acceptable share of bad calls, 0 < rate < 1; None: only relative.
        slow_ms: a call above it is slow; None: latency is not judged.
        slow_rate: highest acceptable share of slow calls; 0.01 makes `slow_ms` a P99.
        ratio: how many times worse than stable is still accepted (rho).
        alpha: chance of a false rollback over all gates together.
        needs_proof: PASS wants evidence of health, not only none of harm.
        min_calls: calls of the candidate before any PASS; None: from the detection table.
    """

    error_rate: float | None = 0.05
    slow_ms: int | None = None
    slow_rate: float = 0.01
    ratio: float = 1.5
    alpha: float = 0.01
    needs_proof: bool = False
    min_calls: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One move of traffic, and what must be seen before the next.

    Exactly one of the three shapes: `weight` on all runners; `weight` on `runner_share` of
    them, rising from step to step (rolling); `weight` on the runners of `regions`, those of
    `finished_regions` being at 100 % (regional).

    Attributes:
        weight: the candidate's share in basis points, 0 to 10,000.
        hold_seconds: shortest time of observation, from the last gateway's acknowledgement.
        needs_samples: PASS wants the judge's minimum of calls; False for tests by hand.
        gate: "" or what must be said before the next step: "approval", or a hook's kind.
        is_judged: False leaves only the guards against disaster on (blue-green at 0 %).
    """

    name: str
    weight: Bps
    hold_seconds: float = 0.0
    needs_samples: bool = True
    gate: str = ""
    is_judged: bool = True
    runner_share: Bps | None = None
    regions: tuple[str, ...] = ()
    finished_regions: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a strategy compiles to. The engine knows plans, never strategies.

    Attributes:
        steps: at least one; the last sends everything to the candidate unless
            `is_decided_by_person`.
        keep_blue_seconds: how long the old version stays warm after promotion; the guards
            stay on and one call brings it back.
        warms_fully: PREPARING starts as many candidate instances as stable has, not one.
        is_decided_by_person: the plan ends by promote or roll back, never by itself (A/B).
        rolls_back: False freezes in HELD and calls a person instead.
        unit: `hotswap.wire.rollouts.SplitRoute.unit`.
        mirror: share of stable calls repeated on the candidate.
        hold_timeout_seconds: a HELD attempt rolls back after it; 0 never.
        progress_deadline_seconds: for PREPARING and every SHIFTING.
        extensions: how often an inconclusive step is given its time again.
        has_barrier: between steps every region must be judged (regional).
    """

    steps: tuple[Step, ...]
    limits: Limits = field(default_factory=Limits)
    keep_blue_seconds: float = 600.0
    warms_fully: bool = False
    is_decided_by_person: bool = False
    rolls_back: bool = True
    unit: str = ""
    mirror: Bps = 0
    hold_timeout_seconds: float = 0.0
    progress_deadline_seconds: float = 600.0
    on_inconclusive: OnInconclusive = OnInconclusive.EXTEND
    after_extensions: OnInconclusive = OnInconclusive.HOLD
    extensions: int = 2
    has_barrier: bool = False


@dataclass(frozen=True, slots=True)
class Fleet:
    """The live runners that a plan is made for: name -> region ("" where none is set)."""

    regions: Mapping[str, str]
