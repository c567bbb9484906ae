"""One number from a JSON document on a web server."""

import json
from collections.abc import Mapping

from deployments.sources.metrics import READ_SECONDS, NoReading, Source, filled, number, steps_of
from deployments.sources.outbound import Call, exchange


async def read(source: Source, facts: Mapping[str, str]) -> float:
    """Get the document and follow the path to a number.

    Raises:
        NoReading: no 200, no JSON, nothing at the path, or no finite number there.
        Unreachable, RefusedAddress: as `exchange`.
    """
    answer = await exchange(
        Call(
            url=filled(source.url, facts),
            headers={"Accept": "application/json"},
            timeout_seconds=READ_SECONDS,
        )
    )
    if answer.status != 200:
        raise NoReading(f"The server answered {answer.status}.")
    if answer.is_cut:
        raise NoReading("The document is too large.")
    try:
        found: object = json.loads(answer.body)
    except (ValueError, RecursionError):
        raise NoReading("The answer is not JSON.") from None
    for step in steps_of(filled(source.json_path, facts)):
        found = _followed(found, step)
    return number(found)


def _followed(found: object, step: str | int) -> object:
    if isinstance(step, int) and isinstance(found, list) and step < len(found):
        return found[step]
    if isinstance(step, str) and isinstance(found, dict) and step in found:
        return found[step]
    raise NoReading(f"The document has no {step!r} there.")
