"""Whether units fall to the arms of a test as they should (sample ratio mismatch).

Where they do not, something loses or doubles units of one arm, and no result counts. The test
is the Bayes factor of a Dirichlet-multinomial against the intended shares, which is an
e-process: Lindon & Malek, arXiv:2011.03567. A chi-squared test looked at after every unit
would alarm in percents of sound tests instead.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from deployments.analysis.wording import count, e_value, percent

ALPHA: Final = 0.001
CONCENTRATION: Final = 1_000.0
"""How near the intended shares a mismatch is looked for: within some percent, as bugs cause."""


@dataclass(frozen=True, slots=True)
class Split:
    """What the counts say of the split."""

    log_bayes_factor: float
    is_mismatch: bool
    sentence: str


def check_split(counts: Sequence[int], shares: Sequence[float], alpha: float = ALPHA) -> Split:
    """Whether units per arm fit the intended shares; may be asked after every unit.

    Args:
        shares: intended, positive, of sum 1.
        alpha: chance of ever alarming on a sound test.
    """
    log_factor = log_bayes_factor(counts, shares)
    is_mismatch = log_factor >= math.log(1 / alpha)
    seen = " and ".join(count(units) for units in counts)
    wanted = " and ".join(percent(share) for share in shares)
    sentence = (
        f"{seen} units where {wanted} were intended; evidence {e_value(log_factor)} of"
        f" {e_value(math.log(1 / alpha))} needed"
    )
    if is_mismatch:
        sentence = f"The split is not the intended one, no result counts: {sentence}"
    return Split(log_factor, is_mismatch, f"{sentence}.")


def log_bayes_factor(
    counts: Sequence[int], shares: Sequence[float], concentration: float = CONCENTRATION
) -> float:
    """log of (chance of the sequence of arms under a Dirichlet prior / under `shares`)."""
    terms = [math.lgamma(concentration) - math.lgamma(concentration + sum(counts))]
    for units, share in zip(counts, shares, strict=True):
        prior = concentration * share
        terms += [math.lgamma(prior + units), -math.lgamma(prior), -units * math.log(share)]
    return math.fsum(terms)
