"""Numbers as people read them."""

import math
from typing import Final

_MANY: Final = 1e6


def count(value: int) -> str:
    """12,345"""
    return f"{value:,}"


def percent(rate: float) -> str:
    """Three digits: 0.05 % or 12.5 %."""
    return f"{rate * 100:.3g} %"


def chance(probability: float) -> str:
    """Whole percent. Neither never nor always: that is not for a statistic to say."""
    if probability < 0.01:
        return "less than 1 %"
    return f"{min(99, math.floor(probability * 100))} %"


def e_value(log_e: float) -> str:
    """An E-value from its logarithm, readable at any size."""
    if log_e >= math.log(_MANY):
        return "over a million"
    value = math.exp(log_e)
    if value < 0.01:
        return "under 0.01"
    return f"{value:,.2g}" if value < 10 else f"{value:,.0f}"
