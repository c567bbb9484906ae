"""What the judge looks at: counted calls of both versions, in strata that may be compared."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Arm:
    """Calls of one version that ended.

    Attributes:
        bad: failed calls, counted once per client, kind of failure and minute.
        slow: calls above the limit of time.
        repeats: failed calls that `bad` leaves out because their client, kind and minute was
            counted before. All that failed are `bad + repeats`.

    Raises:
        ValueError: the numbers cannot be counts of one set of calls.
    """

    calls: int = 0
    bad: int = 0
    slow: int = 0
    repeats: int = 0

    def __post_init__(self) -> None:
        is_possible = (
            min(self.bad, self.slow, self.repeats) >= 0
            and self.failed <= self.calls
            and self.slow <= self.calls
            and (self.bad > 0 or self.repeats == 0)
        )
        if not is_possible:
            raise ValueError(f"not the counts of one set of calls: {self}")

    @property
    def failed(self) -> int:
        """All failed calls."""
        return self.bad + self.repeats

    def __add__(self, other: "Arm") -> "Arm":
        return Arm(
            self.calls + other.calls,
            self.bad + other.bad,
            self.slow + other.slow,
            self.repeats + other.repeats,
        )


@dataclass(frozen=True, slots=True)
class Cell:
    """Both versions over one stretch in which calls were drawn alike.

    Attributes:
        cold: the calls waited for a new instance; such are only compared with each other.
        share: chance that a call was sent to the candidate, 0 to 1.
    """

    cold: bool
    share: float
    candidate: Arm
    stable: Arm


@dataclass(frozen=True, slots=True)
class Evidence:
    """All that is known of one attempt.

    Attributes:
        cells: one for each epoch, region, and cold or warm; their order does not matter.
        failing_clients: distinct clients that saw the candidate fail.
        clients: distinct clients seen, of either version, as far as they are counted.
        age_seconds: since the oldest of the live gateways' last reports; None: one has none.
        carries_all: the candidate gets every call, so nothing runs beside it to compare with.
    """

    cells: tuple[Cell, ...]
    failing_clients: int
    clients: int
    age_seconds: float | None
    carries_all: bool

    @property
    def candidate(self) -> Arm:
        """Every call of the candidate."""
        return total(cell.candidate for cell in self.cells)

    @property
    def stable(self) -> Arm:
        """Every call of the stable version."""
        return total(cell.stable for cell in self.cells)

    def of(self, *, cold: bool) -> tuple[Cell, ...]:
        """The cold or the warm calls: one cell for each share, in its order.

        Cells of one share are added up, so that however the counts arrived, over how many
        gateways or after how many restarts, the same counts give the same numbers, bit by bit.
        """
        by_share: dict[float, list[Cell]] = defaultdict(list)
        for cell in self.cells:
            if cell.cold == cold:
                by_share[cell.share].append(cell)
        return tuple(
            Cell(cold, share, total(c.candidate for c in cells), total(c.stable for c in cells))
            for share, cells in sorted(by_share.items())
        )


def total(arms: Iterable[Arm]) -> Arm:
    """The sum; no calls for none."""
    return sum(arms, Arm())
