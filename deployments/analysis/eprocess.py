"""Evidence that may be looked at after every call: three e-processes, all as log E.

An e-process starts at 1 and, while its null hypothesis holds, is not expected to grow. So by
Ville's inequality the chance that it ever reaches 1/alpha, at any number of looks, is at most
alpha. docs/judging.md derives the three; Ramdas et al., arXiv:2210.01948, is the survey.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

ABOVE: Final = (1.5, 2.0, 3.0, 4.0, 6.0, 8.0, 12.0, 16.0, 24.0, 32.0, 48.0, 64.0)
"""Rates that `above` bets on, in multiples of the limit."""

WORSE: Final = (1.25, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0, 12.0, 16.0, 24.0, 32.0, 64.0)
"""Ratios that `worse` bets on, in multiples of the accepted ratio."""

BELOW: Final = (0.0, 0.1, 0.25, 0.5, 0.75)
"""Rates that `below` bets on, in multiples of the limit."""

NOT_WORSE: Final = (0.1, 0.25, 0.5, 0.75)
"""Ratios that proof of health bets on where there is no limit, in multiples of the accepted."""

_HIGHEST_RATE: Final = 0.95

_EVERYWHERE, _WARM_ONLY, _COLD_ONLY = 0.5, 0.4, 0.1


@dataclass(frozen=True, slots=True)
class Count:
    """Events among independent trials.

    Attributes:
        trials: need not be whole: see `of_failures`.
    """

    trials: float
    events: int


def of_failures(calls: int, bad: int, repeats: int) -> Count:
    """Failures of clients that repeat theirs, as so many independent ones.

    `bad` of the `bad + repeats` failures count. The calls are scaled by the same factor, the
    mean number of failures in a burst (in surveys the design effect of a cluster sample), so
    that the rate stays what it was and only the weight of the evidence shrinks. Without the
    scaling, a version that fails every call of a few busy clients would look healthy: one
    failure a minute among a thousand calls.
    """
    if not repeats:
        return Count(calls, bad)
    return Count(calls * bad / (bad + repeats), bad)


def rates_above(limit: float) -> tuple[float, ...]:
    """What `above` bets on."""
    highest = max(_HIGHEST_RATE, (1 + limit) / 2)
    return tuple(min(limit * multiple, highest) for multiple in ABOVE)


def above(count: Count, limit: float) -> float:
    """log E against "the rate is at most `limit`" (test A)."""
    return rate_log_e(count, limit, rates_above(limit))


def below(count: Count, limit: float) -> float:
    """log E against "the rate is at least `limit`" (test P, proof of health)."""
    return rate_log_e(count, limit, [limit * multiple for multiple in BELOW])


def rate_log_e(count: Count, null: float, rates: Sequence[float]) -> float:
    """log of the mean likelihood ratio of `rates` to `null`, each strictly between 0 and 1.

    The null may be composite: for every true rate on its far side from `rates` the mean of
    one factor, p*q/null + (1-p)*(1-q)/(1-null), is at most 1. A rate of 0 is allowed.
    """
    others = count.trials - count.events
    return log_mean_exp(
        [
            _times(count.events, rate / null) + others * math.log((1 - rate) / (1 - null))
            for rate in rates
        ]
    )


def worse(pairs: Iterable[tuple[Count, Count]], ratio: float) -> float:
    """log E against "the candidate's rate is at most `ratio` times stable's" (test R).

    Args:
        pairs: candidate and stable, one for each stratum of calls drawn alike.
    """
    return ratio_log_e(pairs, ratio, WORSE)


def not_worse(pairs: Iterable[tuple[Count, Count]], ratio: float) -> float:
    """log E against "the candidate's rate is at least `ratio` times stable's"."""
    return ratio_log_e(pairs, ratio, NOT_WORSE)


def ratio_log_e(
    pairs: Iterable[tuple[Count, Count]], ratio: float, multiples: Sequence[float]
) -> float:
    """log of the mean likelihood ratio of `ratio * multiple` to `ratio`, from events alone.

    Of all events a share falls on the candidate, whose odds are the odds of its trials times
    the ratio of rates; how many events there are says nothing. So an outage that both share,
    a change of traffic or of weight cancels out.
    """
    known = [pair for pair in pairs if pair[0].trials > 0 and pair[1].trials > 0]
    return log_mean_exp(
        [
            math.fsum(
                _ratio_term(candidate, stable, ratio, multiple) for candidate, stable in known
            )
            for multiple in multiples
        ]
    )


def either(warm: float, cold: float) -> float:
    """log E of harm in warm calls, in cold calls, or in both.

    The E-values multiply where harm is everywhere. But cold calls that are equally slow in
    both versions would then hide any slowness of the warm ones, so the bet is spread over
    the three places where harm can be; the mean of e-processes is one.
    """
    return log_sum_exp(
        [
            math.log(_EVERYWHERE) + warm + cold,
            math.log(_WARM_ONLY) + warm,
            math.log(_COLD_ONLY) + cold,
        ]
    )


def log_mean_exp(values: Sequence[float]) -> float:
    return log_sum_exp(values) - math.log(len(values))


def log_sum_exp(values: Sequence[float]) -> float:
    top = max(values)
    return top + math.log(math.fsum(math.exp(value - top) for value in values))


def _ratio_term(candidate: Count, stable: Count, ratio: float, multiple: float) -> float:
    odds = ratio * candidate.trials / stable.trials
    events = candidate.events + stable.events
    return candidate.events * math.log(multiple) - events * math.log(
        (1 + multiple * odds) / (1 + odds)
    )


def _times(events: int, factor: float) -> float:
    """events * log(factor), where no event leaves even a factor of 0 untouched."""
    if events == 0:
        return 0.0
    return events * math.log(factor) if factor > 0 else -math.inf
