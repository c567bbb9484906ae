"""Plans for a function of 30 s on eight runners in two regions, as tests ask for them."""

from collections.abc import Mapping
from typing import Any

import pytest

from deployments.strategies.base import PlanDefaults, compile_plan
from deployments.types import Fleet, Plan, Strategy
from hotswap.core.errors import InvalidInput

EIGHT = Fleet({f"runner-{n}": "eu" if n < 5 else "us" for n in range(8)})


def fleet(runners: int) -> Fleet:
    """So many runners without a region."""
    return Fleet({f"runner-{n}": "" for n in range(runners)})


def planned(strategy: Strategy, config: Mapping[str, object] | None = None, **about: Any) -> Plan:
    """The plan of these settings."""
    known: dict[str, Any] = {
        "fleet": EIGHT,
        "function_timeout_seconds": 30,
        "is_idempotent": False,
        "defaults": PlanDefaults(),
        "stable": 1,
        "candidate": 2,
    }
    return compile_plan(strategy=strategy, config=config or {}, **{**known, **about})


def faults(
    strategy: Strategy, config: Mapping[str, object] | None = None, **about: Any
) -> dict[str, str]:
    """The sentences with which these settings are refused, by field."""
    with pytest.raises(InvalidInput) as refused:
        planned(strategy, config, **about)
    errors: Any = refused.value.extras["errors"]
    assert refused.value.detail == "{field}: {message}".format(**errors[0])
    return {error["field"]: error["message"] for error in errors}
