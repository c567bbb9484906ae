"""The runtimes HotSwap knows: one folder `runtimes/<language>/` each, read from its manifest.

A manifest is data. Its texts may hold `{version}` ("3.11") and `{compact}` ("311"); its
`command` holds `{interpreter}`, `{bootstrap}` and `{socket}`. Adding a version is adding a
`[[versions]]` table; adding a language is adding a folder.
"""

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from hotswap.core.errors import InvalidInput, UnknownPlugin

HANDLER_MAX: Final = 128  # as on AWS Lambda
_HERE: Final = Path(__file__).parent


@dataclass(frozen=True, slots=True)
class Runtime:
    """One language in one version.

    Attributes:
        name: canonical, such as "python3.11"; part of the API.
        aliases: other accepted spellings, lower case.
        command: how a bootstrap is started; see `argv`.
        handler_pattern: full match with the groups `module` and `attribute`.
        handler_files: archive members of which one must exist, with `{module}`.
        official_image: vendor's base image.
        debian_suite: Debian suite whose base can carry it; empty where none does.
        npm_binary: npm package that holds the interpreter for a Debian base; empty where
            the suite's own package is used.
        end_of_support: last day of the vendor's security fixes.
    """

    name: str
    language: str
    version: str
    label: str
    aliases: tuple[str, ...]
    bootstrap: Path
    command: tuple[str, ...]
    source_suffixes: tuple[str, ...]
    handler_example: str
    handler_pattern: str
    handler_files: tuple[str, ...]
    module_dots_are_folders: bool
    official_image: str
    end_of_support: date
    debian_suite: str = ""
    npm_binary: str = ""

    def argv(self, *, interpreter: str, bootstrap: str, socket: str) -> list[str]:
        """The command that starts a bootstrap; paths as the sandbox sees them."""
        paths = {"interpreter": interpreter, "bootstrap": bootstrap, "socket": socket}
        return [part.format_map(paths) for part in self.command]


@cache
def all_runtimes() -> Mapping[str, Runtime]:
    """Every runtime by canonical name, languages and versions in the manifests' order."""
    found = {}
    for manifest in sorted(_HERE.glob("*/manifest.toml")):
        for runtime in _read(manifest):
            found[runtime.name] = runtime
    return MappingProxyType(found)


def get(name: str) -> Runtime:
    """The runtime of that name; capitals do not matter, aliases such as `Python311` work.

    Raises:
        UnknownPlugin: no such runtime; the message names all there are.
    """
    try:
        return _spellings()[name.lower()]
    except KeyError:
        known = ", ".join(all_runtimes())
        raise UnknownPlugin(f"runtime {name!r} is not one of: {known}") from None


def check_handler(runtime: Runtime, handler: str) -> None:
    """Raise InvalidInput unless `handler` has the form that `runtime` expects."""
    if len(handler) > HANDLER_MAX:
        raise InvalidInput(
            f"The handler has {len(handler)} characters; at most {HANDLER_MAX} are allowed."
        )
    if not re.fullmatch(runtime.handler_pattern, handler):
        raise InvalidInput(
            f"{handler!r} is not a handler for {runtime.label}: "
            f"write it like {runtime.handler_example!r}, a file without its suffix and, "
            f"after a dot, what it exports."
        )


def handler_files(runtime: Runtime, handler: str) -> tuple[str, ...]:
    """Archive members of which at least one must exist for `handler` to be found.

    Raises:
        InvalidInput: `handler` has not the form that `runtime` expects.
    """
    check_handler(runtime, handler)
    match = re.fullmatch(runtime.handler_pattern, handler)
    module = match["module"] if match else handler
    if runtime.module_dots_are_folders:
        module = module.replace(".", "/")
    return tuple(pattern.format(module=module) for pattern in runtime.handler_files)


@cache
def _spellings() -> dict[str, Runtime]:
    spellings: dict[str, Runtime] = {}
    for runtime in all_runtimes().values():
        for spelling in (runtime.name, *runtime.aliases):
            if spelling in spellings:
                raise ValueError(f"{spelling!r} names two runtimes")
            spellings[spelling] = runtime
    return spellings


def _read(manifest: Path) -> list[Runtime]:
    shared = tomllib.loads(manifest.read_text("utf-8"))
    versions: list[dict[str, Any]] = shared.pop("versions")
    return [_runtime(manifest.parent, {**shared, **own}) for own in versions]


def _runtime(folder: Path, entry: dict[str, Any]) -> Runtime:
    names = {"version": entry["version"], "compact": entry["version"].replace(".", "")}
    entry["name"] = entry["name"].format_map(names)
    entry["label"] = entry["label"].format_map(names)
    entry["aliases"] = [alias.format_map(names) for alias in entry["aliases"]]
    entry["bootstrap"] = folder / entry["bootstrap"]
    frozen: dict[str, Any] = {
        key: tuple(value) if isinstance(value, list) else value for key, value in entry.items()
    }
    return Runtime(**frozen)
