"""The settings of all strategies as the OpenAPI document shows them; planners check them."""

from typing import Any, Final

from deployments.sources.metrics import SOURCES_MAX
from deployments.strategies.base import (
    CALLS_MOST,
    EXTENSIONS_MOST,
    LATENCY_MOST_MS,
    RATE_LEAST,
    RATE_MOST,
    SUCCESS_LEAST,
    SUCCESS_MOST,
    ApprovalBefore,
)
from deployments.types import OnInconclusive


def _duration(text: str) -> dict[str, Any]:
    return {"type": "string", "format": "duration", "description": text, "example": "PT10M"}


def _number(least: float, most: float, text: str) -> dict[str, Any]:
    return {"type": "number", "minimum": least, "maximum": most, "description": text}


def _whole(least: int, most: int, text: str) -> dict[str, Any]:
    return {"type": "integer", "minimum": least, "maximum": most, "description": text}


def _flag(text: str) -> dict[str, Any]:
    return {"type": "boolean", "description": text}


def _word(words: list[str], text: str) -> dict[str, Any]:
    return {"type": "string", "enum": words, "description": text}


_SHARE: Final = {"type": "number", "minimum": 0.01, "maximum": 100}
_VERSION: Final = {"type": "string", "example": "v2"}

COMMON: Final[dict[str, Any]] = {
    "rollbackOnErrorRate": _number(RATE_LEAST, RATE_MOST, "share of failed calls; 0.05 by itself"),
    "rollbackOnLatencyP99": _whole(1, LATENCY_MOST_MS, "milliseconds; not judged by itself"),
    "rollbackThresholds": {
        "type": "object",
        "description": "the same limits; of errorRate and successRate the stricter one holds",
        "properties": {
            "errorRate": _number(RATE_LEAST, RATE_MOST, "share of failed calls"),
            "successRate": _number(SUCCESS_LEAST, SUCCESS_MOST, "share of calls that succeed"),
            "latencyP99Ms": _whole(1, LATENCY_MOST_MS, "milliseconds"),
        },
        "additionalProperties": False,
    },
    "rollbackOnFailure": _flag("false: hold and call a person instead; true by itself"),
    "needsProof": _flag("go on only when health is proved, not only when no harm is seen"),
    "minimumCalls": _whole(1, CALLS_MOST, "calls of the new version before a step may pass"),
    "keepBlue": _duration("how long the old version stays warm after promotion; PT10M by itself"),
    "stickyBy": {
        "type": "string",
        "description": "keeps a caller on one version: header:<name>, cookie:<name> or user",
        "example": "header:X-User",
    },
    "mirrorPercentage": _number(0, 100, "calls of the old version repeated on the new one"),
    "holdTimeout": _duration("a held deployment rolls back after it; never by itself"),
    "progressDeadline": _duration("for starting, and for every move of traffic; PT10M by itself"),
    "onInconclusive": _word(
        [str(word) for word in OnInconclusive], "when a step's time is over and nothing is decided"
    ),
    "afterExtensions": _word(["hold", "rollback", "promote"], "when the extensions are used up"),
    "extensions": _whole(0, EXTENSIONS_MOST, "how often a step is given its time again"),
    "metrics": {
        "type": "array",
        "items": {"type": "object"},
        "maxItems": SOURCES_MAX,
        "description": "external sources: name, type, threshold and what the type needs",
    },
    "approvalBefore": _word([str(word) for word in ApprovalBefore], "what people must approve"),
}
OWN: Final[dict[str, Any]] = {
    "canaryPercentage": {**_SHARE, "description": "Canary, Regional: the first share; 10"},
    "increments": {
        "type": "array",
        "items": _SHARE,
        "maxItems": 20,
        "description": "Canary, Regional: rising shares, the last 100; [10, 50, 100]",
    },
    "canaryDuration": _duration("Canary, Regional: for each share; PT10M"),
    "testDuration": _duration("BlueGreen: at 0 %, PT5M; ABTesting: of the test, PT1H"),
    "switchType": _word(["Instant"], "BlueGreen"),
    "batchSize": {**_SHARE, "minimum": 1, "description": "Rolling: per cent of the runners; 25"},
    "batchDuration": _duration("Rolling: for each batch; PT5M"),
    "versionA": {**_VERSION, "description": "ABTesting: one arm"},
    "versionB": {**_VERSION, "description": "ABTesting: the other arm"},
    "trafficSplit": {
        "type": "object",
        "additionalProperties": _SHARE,
        "description": "ABTesting: per cent by version, together 100; halves by itself",
        "example": {"v1": 50, "v2": 50},
    },
    "manualPromotion": _flag("ABTesting: a person decides; true by itself"),
    "waves": {
        "type": "array",
        "items": {"type": ["string", "array"], "items": {"type": "string"}},
        "description": "Regional: regions in their order, several at once as a list",
    },
    "bakeTime": _duration("Regional: at 100 % of a region before the next; PT30M"),
}
SETTINGS: Final[dict[str, Any]] = {
    "type": "object",
    "description": "The strategy's settings. They may stand beside `strategy` instead.",
    "properties": {**OWN, **COMMON},
    "additionalProperties": False,
}
