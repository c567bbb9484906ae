"""Writes of the portal: saved test events, and functions made from a starter."""

import json
from datetime import datetime

from django.db import transaction

from functions import packages
from functions import selectors as functions
from functions.services.versions import function_create_with_code
from functions.starters import Starter
from functions.types import Configuration
from hotswap.core.errors import InvalidInput, NotFound
from hotswap.dashboard.models import TestEvent

EVENT_NAME_MAX = 64
EVENT_MAX_BYTES = 256 * 1024
EVENTS_MAX = 50


@transaction.atomic
def test_event_save(
    *, function_name: str, name: str, payload: str, actor: str, now: datetime
) -> TestEvent:
    """Keep a payload under a name; the same name replaces it.

    Raises:
        NotFound: no such function.
        InvalidInput: a bad name, no JSON, too large, or too many events.
    """
    _check_event(name, payload)
    function = functions.function_lock(name=function_name)
    events = TestEvent.objects.filter(function=function)
    if events.exclude(name=name).count() >= EVENTS_MAX:
        raise InvalidInput(f"A function keeps up to {EVENTS_MAX} events; delete one first.")
    event, _ = events.update_or_create(
        name=name,
        defaults={"payload": payload, "author": actor, "updated_at": now},
        create_defaults={
            "function": function,
            "payload": payload,
            "author": actor,
            "created_at": now,
            "updated_at": now,
        },
    )
    return event


def test_event_delete(*, function_name: str, name: str) -> None:
    """Forget a saved event. Raises NotFound."""
    function = functions.function_get(name=function_name)
    count, _ = TestEvent.objects.filter(function=function, name=name).delete()
    if not count:
        raise NotFound(f"Function {function_name} has no event {name!r}.")


@transaction.atomic
def function_from_starter(
    *, starter: Starter, runtime: str, name: str, actor: str, now: datetime
) -> None:
    """Make a function, its version 1 and its first test event from a starter.

    Raises:
        as `function_create_with_code`.
    """
    configuration = Configuration(
        runtime=runtime,
        handler=starter.handler,
        description=starter.description,
        timeout_seconds=starter.timeout_seconds,
    )
    with packages.received(packages.from_files(starter.files)) as package:
        function_create_with_code(
            name=name,
            configuration=configuration,
            package=package,
            actor=actor,
            now=now,
            message=f"From the starter {starter.title}",
        )
    test_event_save(function_name=name, name="hello", payload=starter.event, actor=actor, now=now)


def _check_event(name: str, payload: str) -> None:
    if not 0 < len(name) <= EVENT_NAME_MAX or not name.isprintable():
        raise InvalidInput(f"An event's name has 1 to {EVENT_NAME_MAX} printable characters.")
    if len(payload.encode()) > EVENT_MAX_BYTES:
        raise InvalidInput(f"A saved event may have {EVENT_MAX_BYTES // 1024} KiB.")
    try:
        json.loads(payload)
    except ValueError as exc:
        raise InvalidInput(f"The event is not JSON: {exc}.") from None
