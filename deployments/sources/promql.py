"""One number from a server that speaks Prometheus's HTTP API (Mimir, Thanos, VictoriaMetrics)."""

import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

from deployments.sources.metrics import READ_SECONDS, NoReading, Source, filled, number
from deployments.sources.outbound import Answer, Call, exchange

_FORM = {"Content-Type": "application/x-www-form-urlencoded", "Accept": "application/json"}


async def read(source: Source, facts: Mapping[str, str]) -> float:
    """Ask an instant query; its answer must be one scalar, or a vector of one series.

    Raises:
        NoReading: anything but one finite number.
        Unreachable, RefusedAddress: as `exchange`.
    """
    base = filled(source.url, facts).rstrip("/")
    answer = await exchange(
        Call(
            url=f"{base}/api/v1/query",
            method="POST",
            headers=_FORM,
            body=_encoded(filled(source.query, facts)),
            timeout_seconds=READ_SECONDS,
        )
    )
    document = _document(answer)
    if answer.status != 200 or document.get("status") != "success":
        said = str(document.get("error", "no reason"))[:200]
        raise NoReading(f"Prometheus answered {answer.status}: {said}.")
    return _value(document.get("data"))


def _encoded(query: str) -> bytes:
    return urlencode({"query": query}).encode()


def _document(answer: Answer) -> Mapping[str, Any]:
    try:
        document = json.loads(answer.body)
    except (ValueError, RecursionError):
        raise NoReading(f"The answer ({answer.status}) is not JSON.") from None
    if not isinstance(document, dict):
        raise NoReading("The answer is not what Prometheus answers.")
    return document


def _value(data: object) -> float:
    if not isinstance(data, dict):
        raise NoReading("The answer has no data.")
    kind, result = data.get("resultType"), data.get("result")
    if kind == "vector" and isinstance(result, list):
        if len(result) != 1:
            found = f"{len(result)} series" if result else "nothing"
            raise NoReading(f"The query found {found}; it must find one series.")
        pair = result[0].get("value") if isinstance(result[0], dict) else None
    elif kind == "scalar":
        pair = result
    else:
        raise NoReading(f"The query gave a {kind}; it must give a scalar or a vector.")
    if not isinstance(pair, list) or len(pair) != 2 or not isinstance(pair[1], str):
        raise NoReading("The answer is not what Prometheus answers.")
    try:
        return number(float(pair[1]))
    except ValueError:
        raise NoReading(f"{pair[1][:40]!r} is not a number.") from None
