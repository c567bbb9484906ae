"""The functions and the payload that are measured, and the runtimes they are measured on."""

import json
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from runtimes import catalog, interpreters

HANDLERS = Path(__file__).with_name("handlers")
_SOURCES = {"python": "app.py", "node": "index.js"}
_MODULES = {"python": "app", "node": "index"}
_LINES = 16


@dataclass(frozen=True, slots=True)
class Sample:
    """The measured function in one language.

    Attributes:
        interpreter: what runs it on this machine, on the platform and without it.
    """

    language: str
    runtime: str
    interpreter: Path

    @property
    def folder(self) -> Path:
        return HANDLERS / self.language

    @property
    def files(self) -> dict[str, str]:
        """Path -> text, as the API takes them."""
        name = _SOURCES[self.language]
        return {name: (self.folder / name).read_text()}

    def entry(self, name: str = "handler") -> str:
        """The handler's name as the runtime writes it."""
        return f"{_MODULES[self.language]}.{name}"


def python() -> Sample:
    """The Python that also runs the benchmarks: the bare server's packages fit only that one."""
    return _sample("python", f"python{sys.version_info.major}.{sys.version_info.minor}")


def node() -> Sample:
    """The first Node.js of the catalogue that this machine has."""
    names = [r.name for r in catalog.all_runtimes().values() if r.language == "node"]
    for name in names:
        if interpreters.find(catalog.get(name)) is not None:
            return _sample("node", name)
    raise LookupError(f"none of {', '.join(names)} is on this machine")


@cache
def _sample(language: str, runtime: str) -> Sample:
    found = interpreters.find(catalog.get(runtime))
    if found is None:
        raise LookupError(f"{runtime} is not on this machine")
    return Sample(language, runtime, found.path)


def payload() -> bytes:
    """An order as JSON, 1 KiB give or take 16 bytes."""
    lines = [
        {"sku": f"HS-{number:04}", "name": f"article {number:02}", "price": 9.5, "quantity": 2}
        for number in range(_LINES)
    ]
    return json.dumps({"order": "4711", "lines": lines}, separators=(",", ":")).encode()
