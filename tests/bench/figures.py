"""What a benchmark finds: named figures, the goal of each, and whether it holds."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any, Literal


class NotMeasured(Exception):
    """A measurement could not be taken; the message says why."""


@dataclass(frozen=True, slots=True)
class Goal:
    """A bound that a figure keeps."""

    kind: Literal[">=", "<="]
    limit: float

    def holds(self, value: float) -> bool:
        return value >= self.limit if self.kind == ">=" else value <= self.limit

    def __str__(self) -> str:
        return f"{self.kind} {self.limit:g}"


def at_least(limit: float) -> Goal:
    return Goal(">=", limit)


def at_most(limit: float) -> Goal:
    return Goal("<=", limit)


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured number.

    Attributes:
        value: None when it could not be measured here; `note` says why.
        goal: None for figures that stand beside another one to explain it.
        runs: what each run gave, in order.
        failed: the measurement broke off; such a figure does not hold.
    """

    name: str
    value: float | None
    unit: str
    goal: Goal | None = None
    runs: tuple[float, ...] = ()
    note: str = ""
    failed: bool = False

    @property
    def holds(self) -> bool | None:
        """None when nothing was measured or nothing is asked."""
        if self.failed:
            return False
        if self.value is None or self.goal is None:
            return None
        return self.goal.holds(self.value)

    def document(self) -> dict[str, Any]:
        """As one line of `--json`."""
        fields = {
            "figure": self.name,
            "value": None if self.value is None else round(self.value, 4),
            "unit": self.unit,
            "goal": str(self.goal) if self.goal else None,
            "holds": self.holds,
            "runs": [round(run, 4) for run in self.runs],
        }
        return {**fields, "note": self.note} if self.note else fields


def median_of(name: str, unit: str, runs: Sequence[float], goal: Goal | None = None) -> Figure:
    """The figure that is the median of its runs."""
    return Figure(name, median(runs), unit, goal, tuple(runs))


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that `share` of all do not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def unmeasured(name: str, unit: str, goal: Goal | None, why: str) -> Figure:
    """A figure that this machine cannot give."""
    return Figure(name, None, unit, goal, (), why)
