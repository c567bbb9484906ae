"""The gateway's look-ups, built from the routing table: name -> function -> version."""

import logging
from bisect import bisect_right
from collections.abc import Mapping
from itertools import accumulate
from random import random

import msgspec

from hotswap.core.errors import NotFound
from hotswap.core.limits import BASIS_POINTS
from hotswap.wire.rollouts import SplitRoute
from hotswap.wire.table import FunctionRoute, VersionRoute
from runners.gateway.evidence import Evidence
from runners.gateway.http1 import WANTED
from runners.gateway.splits import Split
from runners.gateway.stats import Stats, VersionStats
from runners.link.feed import Changed

log = logging.getLogger("hotswap.routes")

LATEST = "$LATEST"
DEFAULT_ALIAS = "production"
EPOCHS_MAX = 1_000  # attempts whose newest epoch is remembered

_decode = msgspec.json.Decoder(FunctionRoute).decode
_decode_split = msgspec.json.Decoder(SplitRoute).decode


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
    """One function: every name a caller may use for its versions.

    Attributes:
        splits: alias -> the rollout on it; empty for a function that has none.
    """

    __slots__ = ("choices", "default", "name", "splits", "versions")

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
        self.splits: dict[str, Split] = {}

    def divide(self, routes: Mapping[str, SplitRoute], evidence: Evidence) -> None:
        """Take the splits of this function's aliases; one whose versions are not here waits."""
        self.splits = {
            alias: Split(
                route, self.versions[route.stable], self.versions[route.candidate], evidence
            )
            for alias, route in routes.items()
            if alias in self.choices
            and route.stable in self.versions
            and route.candidate in self.versions
        }

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
    """Functions by name. A change replaces whole functions; calls in flight keep theirs.

    Attributes:
        wanted: the headers that calls are routed by; changes in place as splits come and go.
    """

    def __init__(self, stats: Stats, evidence: Evidence) -> None:
        self._stats = stats
        self._evidence = evidence
        self._functions: dict[str, FunctionTarget] = {}
        self._splits: dict[str, dict[str, SplitRoute]] = {}
        self._epochs: dict[str, int] = {}
        self.wanted = set(WANTED)

    def apply(self, changed: Changed) -> None:
        """Take the changed `function/` and `split/` entries of a revision, all or none.

        Raises:
            MsgspecError: an entry cannot be read; nothing has changed.
        """
        functions, splits = _decoded(changed)
        for (name, alias), split in splits.items():
            self._set_split(name, alias, split)
        fresh = dict(self._functions)
        for name, function in functions.items():
            if function is None:
                fresh.pop(name, None)
            else:
                fresh[name] = FunctionTarget(function, self._stats)
        for name in functions.keys() | {name for name, _ in splits}:
            if name in fresh:
                fresh[name].divide(self._splits.get(name, {}), self._evidence)
        # No call runs between these lines: a revision takes hold as a whole.
        self._functions = fresh
        self._hold()

    def _set_split(self, name: str, alias: str, split: SplitRoute | None) -> None:
        known = self._splits.get(name, {})
        if split is None:
            routes = {other: route for other, route in known.items() if other != alias}
        elif split.epoch < self._epochs.get(split.attempt, 0):
            log.warning(
                "split %s/%s: epoch %d of %s is older than %d and is refused",
                name, alias, split.epoch, split.attempt, self._epochs[split.attempt],
            )  # fmt: skip
            return
        else:
            self._epochs[split.attempt] = split.epoch
            if len(self._epochs) > EPOCHS_MAX:
                self._epochs.pop(next(iter(self._epochs)))
            routes = {**known, alias: split}
        if routes:
            self._splits[name] = routes
        else:
            self._splits.pop(name, None)

    def splits(self) -> list[Split]:
        """The rollouts that divide calls here."""
        functions = self._functions
        return [
            split
            for name in self._splits
            if name in functions
            for split in functions[name].splits.values()
        ]

    def _hold(self) -> None:
        splits = self.splits()
        self._evidence.hold(splits)
        wanted = WANTED.union(*(split.wanted for split in splits))
        self.wanted &= wanted
        self.wanted |= wanted

    def get(self, name: str) -> FunctionTarget | None:
        return self._functions.get(name)

    def __len__(self) -> int:
        return len(self._functions)


def _decoded(
    changed: Changed,
) -> tuple[dict[str, FunctionRoute | None], dict[tuple[str, str], SplitRoute | None]]:
    """The functions by name, and the splits by function and alias, among the changes."""
    functions: dict[str, FunctionRoute | None] = {}
    splits: dict[tuple[str, str], SplitRoute | None] = {}
    for key, body in changed.items():
        kind, _, name = key.partition("/")
        if kind == "function":
            functions[name] = _decode(body) if body is not None else None
        elif kind == "split":
            function, _, alias = name.partition("/")
            splits[function, alias] = _decode_split(body) if body is not None else None
    return functions, splits
