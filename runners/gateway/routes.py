"""The gateway's look-ups, built from the routing table: name -> function -> version."""

from bisect import bisect_right
from itertools import accumulate
from random import random

import msgspec

from hotswap.core.errors import NotFound
from hotswap.core.limits import BASIS_POINTS
from hotswap.wire.table import FunctionRoute, VersionRoute
from runners.gateway.stats import Stats, VersionStats
from runners.link.feed import Changed

LATEST = "$LATEST"
DEFAULT_ALIAS = "production"

_decode = msgspec.json.Decoder(FunctionRoute).decode


class Target:
    """One version as a call needs it."""

    __slots__ = ("function", "id", "label", "memory_mib", "number", "stats", "timeout_seconds")

    def __init__(self, function: str, version: VersionRoute, stats: VersionStats) -> None:
        self.function = function
        self.id = version.id
        self.number = version.number
        self.label = f"v{version.number}"
        self.memory_mib = version.memory_mib
        self.timeout_seconds = version.timeout_ms / 1000
        self.stats = stats


class Choice:
    """Where an alias leads: one target, or several by weight."""

    __slots__ = ("_bounds", "_targets", "alias")

    def __init__(self, alias: str, weighted: list[tuple[Target, int]]) -> None:
        self.alias = alias
        self._targets = [target for target, weight in weighted if weight]
        self._bounds = list(accumulate(weight for _, weight in weighted if weight))

    def pick(self) -> Target:
        if len(self._targets) == 1:
            return self._targets[0]
        return self._targets[bisect_right(self._bounds, random() * BASIS_POINTS)]  # noqa: S311  # a share


class FunctionTarget:
    """One function: every name a caller may use for its versions."""

    __slots__ = ("choices", "default", "name", "versions")

    def __init__(self, route: FunctionRoute, stats: Stats) -> None:
        self.name = route.name
        self.versions = {
            version.number: Target(route.name, version, stats.version(version.id, route.name))
            for version in route.versions
        }
        self.choices = {
            alias: Choice(alias, [(self.versions[n], w) for n, w in weighted if n in self.versions])
            for alias, weighted in route.aliases.items()
        }
        if route.latest in self.versions:
            self.choices[LATEST] = Choice(LATEST, [(self.versions[route.latest], BASIS_POINTS)])
        self.default = self.choices.get(DEFAULT_ALIAS) or self.choices.get(LATEST)

    def resolve(self, alias: str | None, version: str | None) -> tuple[Target, str]:
        """The target of a call and the alias it was reached by ("" for a version number).

        Raises:
            NotFound: no such alias or version, or no version at all.
        """
        if version:
            return self._by_version(version), ""
        choice = self.default if not alias else self.choices.get(alias)
        if choice is None and alias:
            return self._by_version(alias, "alias"), ""
        if choice is None:
            raise NotFound(f"function {self.name} has no version yet; upload its code first")
        return choice.pick(), choice.alias

    def _by_version(self, text: str, kind: str = "version") -> Target:
        number = text.removeprefix("v")
        target = self.versions.get(int(number)) if number.isdecimal() else None
        if target is not None:
            return target
        if text == LATEST and LATEST in self.choices:
            return self.choices[LATEST].pick()
        known = ", ".join([*sorted(self.choices), *(f"v{n}" for n in list(self.versions)[-5:])])
        raise NotFound(f"function {self.name} has no {kind} {text!r}; it has {known or 'none'}")


class Routes:
    """Functions by name. A change replaces whole functions; calls in flight keep theirs."""

    def __init__(self, stats: Stats) -> None:
        self._stats = stats
        self._functions: dict[str, FunctionTarget] = {}

    def apply(self, changed: Changed) -> None:
        """Take the changed `function/` entries."""
        functions = dict(self._functions)
        for key, body in changed.items():
            kind, _, name = key.partition("/")
            if kind != "function":
                continue
            if body is None:
                functions.pop(name, None)
            else:
                functions[name] = FunctionTarget(_decode(body), self._stats)
        self._functions = functions

    def get(self, name: str) -> FunctionTarget | None:
        return self._functions.get(name)

    def __len__(self) -> int:
        return len(self._functions)
