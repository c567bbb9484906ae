from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deployments.analysis.evidence import Arm, Cell, Evidence, total
from deployments.analysis.verdict import judge
from deployments.types import Limits


@st.composite
def arms(draw: st.DrawFn) -> Arm:
    calls = draw(st.integers(0, 2_000))
    failed = draw(st.integers(0, calls))
    bad = draw(st.integers(min(1, failed), failed))
    return Arm(calls, bad, draw(st.integers(0, calls)), failed - bad)


def cells() -> st.SearchStrategy[Cell]:
    shares = st.sampled_from([0.0, 0.1, 0.25, 0.5, 1.0])
    return st.builds(Cell, st.booleans(), shares, arms(), arms())


def evidences() -> st.SearchStrategy[Evidence]:
    return st.builds(
        Evidence,
        st.lists(cells(), max_size=8).map(tuple),
        st.integers(0, 5),
        st.integers(0, 50),
        st.none() | st.floats(0, 5),
        st.booleans(),
    )


class TestArm:
    @pytest.mark.parametrize(
        "numbers",
        [(-1, 0, 0), (1, 2, 0), (1, 0, 2), (5, 3, 0, 3), (5, -1, 0), (5, 0, -1), (5, 0, 0, 1)],
    )
    def test_refuses_what_cannot_be_counts(self, numbers: tuple[int, ...]) -> None:
        with pytest.raises(ValueError, match="not the counts"):
            Arm(*numbers)

    def test_adds_up(self) -> None:
        assert total([Arm(10, 2, 1, 3), Arm(5, 1, 2)]) == Arm(15, 3, 3, 3)
        assert total([]) == Arm()


class TestEvidence:
    LIMITS = Limits(slow_ms=200, needs_proof=True)

    @settings(deadline=None)
    @given(evidences(), st.randoms())
    def test_judges_alike_however_cells_are_ordered_or_cut(
        self, evidence: Evidence, random: "st.random.Random"
    ) -> None:
        """S13, C43: a restart, a late gateway or other rows of the same counts change no bit."""
        pieces = [piece for cell in evidence.cells for piece in _cut(cell)]
        random.shuffle(pieces)

        again = replace(evidence, cells=tuple(pieces))

        assert _document(again, self.LIMITS) == _document(evidence, self.LIMITS)

    @settings(deadline=None)
    @given(evidences())
    def test_judges_a_repeated_tick_alike(self, evidence: Evidence) -> None:
        """S13, C36."""
        assert _document(evidence, self.LIMITS) == _document(evidence, self.LIMITS)

    def test_keeps_cold_apart_from_warm_and_shares_apart(self) -> None:
        arm = Arm(10, 1)
        cells = tuple(
            Cell(cold, share, arm, arm) for cold in (True, False) for share in (0.5, 0.1, 0.5)
        )

        warm = Evidence(cells, 0, 0, None, False).of(cold=False)

        assert [(cell.cold, cell.share, cell.candidate.calls) for cell in warm] == [
            (False, 0.1, 10),
            (False, 0.5, 20),
        ]


def _cut(cell: Cell) -> tuple[Cell, Cell]:
    (first, second), (third, fourth) = _halves(cell.candidate), _halves(cell.stable)
    return replace(cell, candidate=first, stable=third), replace(
        cell, candidate=second, stable=fourth
    )


def _halves(arm: Arm) -> tuple[Arm, Arm]:
    """Two arms of this sum. The failed calls stay together, so that both are possible counts."""
    quiet = (arm.calls - max(arm.failed, arm.slow)) // 2
    return Arm(arm.calls - quiet, arm.bad, arm.slow, arm.repeats), Arm(quiet)


def _document(evidence: Evidence, limits: Limits) -> str:
    judgement = judge(evidence, limits, duration_is_over=True, needs_samples=True)
    return repr(judgement.document())
