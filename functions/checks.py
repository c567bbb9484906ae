"""What a name and a configuration must look like; the same sentences for the API and the portal."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Final

from functions.types import Configuration
from hotswap.core import limits
from hotswap.core.errors import InvalidInput, UnknownPlugin
from runtimes import catalog

NAME: Final = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?")
ALIAS: Final = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,63}")
VERSION: Final = re.compile(r"[vV]?([1-9][0-9]{0,8})")
VARIABLE: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
TAG: Final = re.compile(r"[\w][\w .:/=+@-]{0,63}")
RESERVED_VARIABLES: Final = frozenset(
    {"_HANDLER", "LAMBDA_TASK_ROOT", "AWS_LAMBDA_FUNCTION_NAME", "AWS_LAMBDA_FUNCTION_VERSION"}
    | {"AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "AWS_LAMBDA_LOG_STREAM_NAME", "TZ"}
)
TAGS_MAX: Final = 50
METADATA_MAX_BYTES: Final = 4_096
DESCRIPTION_MAX: Final = 1_000

BOUNDS: Final[Mapping[str, tuple[int, int]]] = {
    "memory_mib": (limits.MEMORY_MIN_MIB, limits.MEMORY_MAX_MIB),
    "timeout_seconds": (limits.TIMEOUT_MIN_SECONDS, limits.TIMEOUT_MAX_SECONDS),
    "reserved_concurrency": (0, 10_000),
    "max_instances": (1, 1_000),
    "idle_timeout_seconds": (1, 86_400),
    "max_queue": (0, 10_000),
}
API_NAMES: Final[Mapping[str, str]] = {
    "memory_mib": "memorySize",
    "timeout_seconds": "timeout",
    "reserved_concurrency": "reservedConcurrency",
    "max_instances": "maxInstances",
    "idle_timeout_seconds": "idleTimeout",
    "max_queue": "maxQueue",
}

Fault = tuple[str, str]
"""Field as the API names it, and the sentence."""


def check_name(name: str) -> None:
    """Raise InvalidInput unless `name` can name a function."""
    if len(name) > limits.FUNCTION_NAME_MAX or not NAME.fullmatch(name):
        most = limits.FUNCTION_NAME_MAX
        _refuse(
            [("name", f"A name has 1 to {most} letters, digits and dashes, no dash at an end.")]
        )


def check_alias_name(name: str) -> None:
    """Raise InvalidInput unless `name` can name an alias."""
    if not ALIAS.fullmatch(name) or VERSION.fullmatch(name):
        text = "An alias has 1 to 64 letters, digits, - and _, starts with a letter, and is no v3."
        _refuse([("name", text)])


def checked(configuration: Configuration) -> Configuration:
    """The configuration with the runtime's canonical name.

    Raises:
        InvalidInput: with every fault, not only the first, in `extras["errors"]`.
    """
    faults = list(_faults(configuration))
    try:
        runtime = catalog.get(configuration.runtime)
        catalog.check_handler(runtime, configuration.handler)
    except UnknownPlugin as exc:
        faults.append(("runtime", exc.detail))
    except InvalidInput as exc:
        faults.append(("handler", exc.detail))
    if faults:
        _refuse(faults)
    return replace(configuration, runtime=runtime.name)


def _refuse(faults: list[Fault]) -> None:
    field, message = faults[0]
    raise InvalidInput(
        f"{field}: {message}",
        errors=[{"field": field, "message": message} for field, message in faults],
    )


def _faults(configuration: Configuration) -> Iterator[Fault]:
    for name, (least, most) in BOUNDS.items():
        value = getattr(configuration, name)
        if value is not None and not least <= value <= most:
            yield API_NAMES[name], f"It must be from {least:,} to {most:,}, not {value:,}."
    if configuration.memory_mib % limits.MEMORY_STEP_MIB:
        yield "memorySize", f"It must be a multiple of {limits.MEMORY_STEP_MIB} MB."
    if len(configuration.description) > DESCRIPTION_MAX:
        yield "description", f"It may have at most {DESCRIPTION_MAX:,} characters."
    yield from _environment_faults(configuration.environment)
    yield from _label_faults(configuration)


def _environment_faults(environment: Mapping[str, str]) -> Iterator[Fault]:
    size = sum(len(name.encode()) + len(value.encode()) for name, value in environment.items())
    if size > limits.ENVIRONMENT_MAX_BYTES:
        most = limits.ENVIRONMENT_MAX_BYTES
        yield "environment", f"Names and values may have {most:,} bytes together, not {size:,}."
    for name, value in environment.items():
        if not VARIABLE.fullmatch(name):
            yield "environment", f"{name!r} is not a variable name: letters, digits and _ only."
        elif name in RESERVED_VARIABLES:
            yield "environment", f"{name} is set by the platform."
        elif "\0" in value:
            yield "environment", f"The value of {name} holds a NUL character."


def _label_faults(configuration: Configuration) -> Iterator[Fault]:
    if len(configuration.tags) > TAGS_MAX or len(set(configuration.tags)) < len(configuration.tags):
        yield "tags", f"There may be up to {TAGS_MAX} tags, each once."
    for tag in configuration.tags:
        if not TAG.fullmatch(tag):
            yield "tags", f"{tag!r} is not a tag: 1 to 64 letters, digits, blanks and .:/=+@_-."
    pairs = configuration.metadata.items()
    size = sum(len(name.encode()) + len(value.encode()) for name, value in pairs)
    if size > METADATA_MAX_BYTES:
        yield "metadata", f"Names and values may have {METADATA_MAX_BYTES:,} bytes together."
    texts = (configuration.description, *(text for pair in pairs for text in pair))
    if any("\0" in text for text in texts):
        yield "metadata", "Texts may not hold NUL characters."
