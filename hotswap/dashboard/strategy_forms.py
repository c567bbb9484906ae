"""The start form: what each strategy asks, and its answers as the API spells them."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from deployments.types import ALL, Strategy

_UNITS: Final = {"S": "seconds", "M": "minutes", "H": "hours", "D": "days"}


@dataclass(frozen=True, slots=True)
class Field:
    """One setting.

    Attributes:
        key: as the API spells it, also in errors.
        kind: text, number, percent, duration, percents or share.
        value, unit: what the form starts with; the unit of a duration is S, M, H or D.
    """

    key: str
    label: str
    kind: str
    value: str = ""
    unit: str = ""
    hint: str = ""

    @property
    def units(self) -> Mapping[str, str]:
        return _UNITS


@dataclass(frozen=True, slots=True)
class Choice:
    """A strategy as the form shows it. `picture`: (basis points, seconds) of each step."""

    strategy: Strategy
    title: str
    sentence: str
    picture: tuple[tuple[int, float], ...]
    fields: tuple[Field, ...]


_INCREMENTS = Field(
    "increments", "Shares of all calls", "percents", "10, 50, 100", hint="Rising, the last is 100"
)
_STEP_TIME = Field("canaryDuration", "Each share for", "duration", "10", "M")
_KEEP = Field(
    "keepBlue", "Keep the old version warm for", "duration", "10", "M", hint="For a way back"
)

CHOICES: Final = (
    Choice(
        Strategy.CANARY,
        "Canary",
        "A small share of calls first, then more, each share judged before the next.",
        ((1_000, 3), (5_000, 3), (ALL, 3)),
        (_INCREMENTS, _STEP_TIME, _KEEP),
    ),
    Choice(
        Strategy.BLUE_GREEN,
        "Blue-green",
        "The new version stands ready at full size for you to try, then takes all calls at once.",
        ((0, 4), (ALL, 5)),
        (
            Field(
                "testDuration",
                "Time to try it",
                "duration",
                "5",
                "M",
                hint="With the preview key; other calls do not reach it",
            ),
            Field(
                "keepBlue", "Keep the old version warm for", "duration", "1", "H", "For a way back"
            ),
        ),
    ),
    Choice(
        Strategy.ROLLING,
        "Rolling",
        "Runner by runner: an updated runner serves only the new version.",
        ((2_500, 2), (5_000, 2), (7_500, 2), (ALL, 3)),
        (
            Field("batchSize", "Runners at a time", "percent", "25"),
            Field("batchDuration", "Each batch for", "duration", "5", "M"),
            _KEEP,
        ),
    ),
    Choice(
        Strategy.AB_TESTING,
        "A/B test",
        "Both versions side by side, each caller always on the same one; you decide.",
        ((5_000, 9),),
        (
            Field("share", "Calls to the new version", "share", "50"),
            Field("testDuration", "Compare for", "duration", "1", "H"),
        ),
    ),
    Choice(
        Strategy.ALL_AT_ONCE,
        "All at once",
        "Every call as soon as the new version is warm. Fastest; still guarded afterwards.",
        ((0, 0.4), (ALL, 8.6)),
        (_KEEP,),
    ),
    Choice(
        Strategy.REGIONAL,
        "Regional",
        "A canary in one region after the other; harm anywhere ends it everywhere.",
        ((1_000, 1), (3_300, 2), (4_300, 1), (6_600, 2), (7_600, 1), (ALL, 2)),
        (
            _INCREMENTS,
            _STEP_TIME,
            Field("bakeTime", "A finished region for", "duration", "30", "M"),
            _KEEP,
        ),
    ),
)

LIMITS: Final = (
    Field("rollbackThresholds.errorRate", "Bad calls, at most", "percent", "5"),
    Field(
        "rollbackThresholds.latencyP99Ms",
        "P99 time, at most (ms)",
        "number",
        hint="Empty: time is not judged",
    ),
    Field(
        "minimumCalls",
        "Calls to judge, at least",
        "number",
        hint="Empty: enough to find a 3 times higher error rate in 95 of 100 cases",
    ),
)
UNIT: Final = Field(
    "stickyBy",
    "Same caller, same version, by",
    "text",
    hint="header:x-user, cookie:session or user; empty: each call by chance",
)
MIRROR: Final = Field(
    "mirrorPercentage",
    "Repeat calls on the new version",
    "percent",
    hint="Answers are compared and thrown away; only for functions marked idempotent",
)


def choice_of(name: str) -> Choice:
    """The strategy of this name; the first one for any other name."""
    return next((choice for choice in CHOICES if choice.strategy == name), CHOICES[0])


def config_of(
    given: Mapping[str, str], choice: Choice, *, stable: int | None, candidate: str
) -> dict[str, Any]:
    """The form's answers as the settings of its strategy; empty fields are left out."""
    config: dict[str, Any] = {}
    for field in (*choice.fields, *LIMITS, UNIT, MIRROR):
        text = given.get(field.key, "").strip()
        if text:
            _put(config, field, _value(field, text, given))
    share = config.pop("share", None)
    if choice.strategy is Strategy.AB_TESTING and stable is not None:
        old = f"v{stable}"
        config |= {"versionA": old, "versionB": candidate}
        if isinstance(share, int | float):
            config["trafficSplit"] = {old: round(100 - share, 2), candidate: share}
    return config


def _put(config: dict[str, Any], field: Field, value: object) -> None:
    outer, _, inner = field.key.rpartition(".")
    (config.setdefault(outer, {}) if outer else config)[inner] = value


def _value(field: Field, text: str, given: Mapping[str, str]) -> object:
    """What stands in a field; text that is no number stays, and the planner says so."""
    if field.kind == "duration":
        unit = given.get(f"{field.key}.unit", field.unit)
        return f"P{text}D" if unit == "D" else f"PT{text}{unit}"
    if field.kind == "percents":
        return [_number(part) for part in text.replace("%", "").replace(";", ",").split(",")]
    if field.kind == "text":
        return text
    number = _number(text)
    if field.key == "rollbackThresholds.errorRate" and not isinstance(number, str):
        return round(number / 100, 6)
    return number


def _number(text: str) -> float | int | str:
    plain = text.strip().replace(",", ".")
    try:
        number = float(plain)
    except ValueError:
        return text.strip()
    return int(number) if number.is_integer() else number


def field_of(error: str) -> str:
    """The form's field that an error of the API belongs to."""
    if error == "name":
        return "alias"
    if error in ("versionA", "versionB", "trafficSplit"):
        return "share" if error == "trafficSplit" else "version"
    return "strategy" if error in ("canaryPercentage", "waves", "switchType") else error


def request_body(asked: Mapping[str, Any]) -> str:
    """The API's body that does the same as these arguments of the service."""
    body = {
        "functionName": asked["function_name"],
        "version": asked["version"],
        "alias": asked["alias"],
        "strategy": str(asked["strategy"]),
        "config": asked["config"],
        "message": asked["message"],
        "reversible": asked["reversible"],
    }
    return json.dumps(body, indent=2)
