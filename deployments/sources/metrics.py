"""Metrics that somebody else measures: what one is, and one reading of it."""

import math
import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from deployments.sources.outbound import url_checked
from hotswap.core.errors import InvalidInput

SOURCES_MAX: Final = 10
QUERY_MAX: Final = 1_000
READ_SECONDS: Final = 4.0

_NAME: Final = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,63}")
_MEMBERS: Final = frozenset(
    {"name", "type", "url", "query", "jsonPath", "metric", "threshold", "comparison", "role"}
)
_COMPARISONS: Final[Mapping[str, Callable[[float, float], bool]]] = {
    ">": operator.gt,
    ">=": operator.ge,
    "<": operator.lt,
    "<=": operator.le,
}


class SourceType(StrEnum):
    """Where a metric comes from."""

    PROMQL = "promql"
    HTTP = "http"
    RUNNER = "runner"


class Role(StrEnum):
    """What a breach does: a guardrail rolls back, a signal holds until it is over."""

    GUARDRAIL = "guardrail"
    SIGNAL = "signal"


class RunnerMetric(StrEnum):
    """What the runners measure of the candidate's instances: percent of a core, and MiB."""

    CPU = "cpu"
    MEMORY = "memory"


class NoReading(Exception):
    """The source gave no number; the reason is one sentence. It never decides anything."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """One metric of a deployment.

    Attributes:
        url: of the Prometheus server, or of the JSON document.
        query, json_path: which of them depends on the type; `{{function}}`, `{{alias}}`,
            `{{candidate}}` and `{{stable}}` are filled in, as they are in `url`.
        comparison: `value comparison threshold` is a breach.
    """

    name: str
    type: SourceType
    threshold: float
    comparison: str = ">"
    role: Role = Role.GUARDRAIL
    url: str = ""
    query: str = ""
    json_path: str = ""
    metric: str = ""

    def is_breached_by(self, value: float) -> bool:
        """Whether a reading is on the wrong side of the threshold."""
        return _COMPARISONS[self.comparison](value, self.threshold)


def sources_checked(config: Mapping[str, Any]) -> list[Source]:
    """The sources that a deployment's settings name under "metrics".

    Raises:
        InvalidInput: with the path of the first fault.
    """
    given = config.get("metrics", [])
    if not isinstance(given, list) or len(given) > SOURCES_MAX:
        raise InvalidInput(f"metrics: A list of at most {SOURCES_MAX} sources.")
    sources = [_source(item, f"metrics.{index}") for index, item in enumerate(given)]
    names = [source.name for source in sources]
    if len(set(names)) < len(names):
        raise InvalidInput("metrics: Every source needs a name of its own.")
    return sources


def filled(template: str, facts: Mapping[str, str]) -> str:
    """The template with `{{name}}` replaced; the values are names and version numbers."""
    for name, value in facts.items():
        template = template.replace("{{" + name + "}}", value)
    return template


def number(value: object) -> float:
    """A finite number as it stands in JSON; raises NoReading for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise NoReading(f"{type(value).__name__} is not a number.")
    try:
        found = float(value)
    except OverflowError:
        raise NoReading("The number is too large.") from None
    if not math.isfinite(found):
        raise NoReading(f"{found} is not a finite number.")
    return found


def _source(item: object, path: str) -> Source:
    if not isinstance(item, Mapping):
        raise InvalidInput(f"{path}: This must be an object.")
    if unknown := sorted(set(item) - _MEMBERS):
        raise InvalidInput(
            f"{path}.{unknown[0]}: Unknown; there are {', '.join(sorted(_MEMBERS))}."
        )
    kind = _one_of(item, "type", list(SourceType), path)
    comparison = _one_of(item, "comparison", list(_COMPARISONS), path, default=">")
    role = _one_of(item, "role", list(Role), path, default=Role.GUARDRAIL)
    return Source(
        name=_name(item, path),
        type=SourceType(kind),
        threshold=_threshold(item, path),
        comparison=comparison,
        role=Role(role),
        **_place(SourceType(kind), item, path),
    )


def _place(kind: SourceType, item: Mapping[str, Any], path: str) -> dict[str, str]:
    """The members that say where the number is; each type has its own."""
    if kind is SourceType.RUNNER:
        return {"metric": _one_of(item, "metric", list(RunnerMetric), path)}
    url = url_checked(item.get("url"), field_name=f"{path}.url")
    if kind is SourceType.PROMQL:
        return {"url": url, "query": _text(item, "query", path)}
    json_path = _text(item, "jsonPath", path)
    steps_of(json_path, path=f"{path}.jsonPath")
    return {"url": url, "json_path": json_path}


_STEP: Final = re.compile(r"\.([A-Za-z_][A-Za-z0-9_-]*)|\[(0|[1-9][0-9]{0,5})\]|\['([^'\]]+)'\]")


def steps_of(json_path: str, *, path: str = "jsonPath") -> list[str | int]:
    """Members and indices of `$.a.b[0]['c d']`; raises InvalidInput for anything else."""
    if not json_path.startswith("$"):
        raise InvalidInput(f"{path}: It begins with $, as in $.data.value.")
    steps: list[str | int] = []
    at = 1
    while at < len(json_path):
        match = _STEP.match(json_path, at)
        if match is None:
            raise InvalidInput(f"{path}: Only members and indices: $.data[0].value.")
        member, index, quoted = match.groups()
        steps.append(int(index) if index is not None else member or quoted)
        at = match.end()
    return steps


def _name(item: Mapping[str, Any], path: str) -> str:
    name = item.get("name")
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise InvalidInput(f"{path}.name: 1 to 64 letters, digits, . _ and -, a letter first.")
    return name


def _threshold(item: Mapping[str, Any], path: str) -> float:
    try:
        return number(item.get("threshold"))
    except NoReading:
        raise InvalidInput(f"{path}.threshold: A finite number.") from None


def _text(item: Mapping[str, Any], member: str, path: str) -> str:
    text = item.get(member)
    if not isinstance(text, str) or not 0 < len(text) <= QUERY_MAX or "\0" in text:
        raise InvalidInput(f"{path}.{member}: 1 to {QUERY_MAX:,} characters.")
    return text


def _one_of(
    item: Mapping[str, Any], member: str, names: list[Any], path: str, *, default: str | None = None
) -> str:
    value = item.get(member, default)
    if value not in names:
        raise InvalidInput(f"{path}.{member}: One of {', '.join(names)}.")
    return str(value)
