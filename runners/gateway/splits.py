"""A rollout on one alias: which version a call gets. Nothing here runs without a rollout."""

import hashlib
import hmac
from collections.abc import Iterator
from random import random
from typing import TYPE_CHECKING

from hotswap.core import clock
from hotswap.core.limits import BASIS_POINTS
from hotswap.wire.rollouts import (
    CLIENTS_MAX,
    PREVIEW_COOKIE,
    PREVIEW_HEADER,
    SplitRoute,
    unit_place,
)
from runners.gateway.evidence import Evidence
from runners.gateway.http1 import Connection, Request
from runners.gateway.mirror import Mirror

if TYPE_CHECKING:
    from runners.gateway.routes import Target

_PREVIEW_HEADER = PREVIEW_HEADER.encode()
_PREVIEW_COOKIE = PREVIEW_COOKIE.encode()
_STABLE = "X-HotSwap-Rollout: stable\r\n"
_CANDIDATE = "X-HotSwap-Rollout: candidate\r\n"


class Draw:
    """What a split decided for one call.

    Attributes:
        header: what the caller is told, a complete line.
        client: who calls, for evidence; "" when the call was not drawn and is none.
        mirror: repeats the call on the candidate once it was answered.
    """

    __slots__ = ("client", "header", "mirror", "split", "target")

    def __init__(self, split: "Split", target: "Target", header: str, client: str) -> None:
        self.split = split
        self.target = target
        self.header = header
        self.client = client
        self.mirror: Mirror | None = None

    @property
    def wants_mirror(self) -> bool:
        """Whether this call is one of those to repeat."""
        split = self.split
        if not split.mirror or not self.client or self.target is not split.stable:
            return False
        return random() * BASIS_POINTS < split.mirror  # noqa: S311  # a share

    def ended(self, *, runner: str, outcome: str, status: int, cold: bool, total_us: int) -> None:
        """The call is over: count it if it was drawn."""
        if self.client:
            self.split.evidence.count(
                self.split,
                version=self.target.id,
                runner=runner,
                client=self.client,
                outcome=outcome,
                status=status,
                cold=cold,
                total_us=total_us,
                slow_us=self.split.slow_us,
            )


class Split:
    """A `SplitRoute` with the versions it divides its alias between."""

    __slots__ = (
        "_is_leased", "_preview", "_salt", "_unit", "_unit_name", "_weight", "_weights",
        "attempt", "candidate", "epoch", "evidence", "mirror", "slow_us", "stable", "tally",
        "versions",
    )  # fmt: skip

    def __init__(
        self, route: SplitRoute, stable: "Target", candidate: "Target", evidence: Evidence
    ) -> None:
        self.attempt = route.attempt
        self.epoch = route.epoch
        self.stable = stable
        self.candidate = candidate
        self.mirror = route.mirror
        self.slow_us = route.slow_ms * 1000
        self._weight = route.weight
        self._weights = route.runner_weights
        self._is_leased = route.is_leased
        self._salt = route.salt
        self._preview = route.preview_sha256
        self._unit, _, name = route.unit.partition(":")
        self._unit_name = name.encode()
        self.versions = (stable.stats, candidate.stats)
        self.evidence = evidence
        self.tally = evidence.tally(route.attempt, route.salt)
        self.tally.watch(self.versions)

    @property
    def wanted(self) -> Iterator[bytes]:
        """Names of the headers that choosing reads."""
        if self._preview:
            yield from (_PREVIEW_HEADER, b"cookie")
        if self._unit == "header":
            yield self._unit_name
        elif self._unit == "cookie":
            yield b"cookie"

    def holds(self, now: float) -> bool:
        """Whether calls are divided at this monotonic time; if not, all are stable."""
        return not self._is_leased or now < self.tally.lease_until

    @property
    def lease_seconds(self) -> float:
        """How long the lease still lasts; infinity for a split that needs none."""
        if not self._is_leased:
            return float("inf")
        return max(0.0, self.tally.lease_until - clock.monotonic())

    def draw(self, request: Request, user: str, connection: Connection, runner: str) -> Draw:
        """Choose for one call that `runner` is going to serve."""
        if self._is_leased and clock.monotonic() >= self.tally.lease_until:
            return Draw(self, self.stable, _STABLE, "")
        if self._preview and self._shows_key(request):
            self.tally.previewed += 1
            return Draw(self, self.candidate, _CANDIDATE, "")
        unit = self._unit_of(request, user) if self._unit else ""
        client = unit or f"{user}\n{connection.peer}"
        if len(self.tally.clients) < CLIENTS_MAX:
            self.tally.clients.add(client)
        place = unit_place(self._salt, unit) if unit else int(random() * BASIS_POINTS)  # noqa: S311
        if place < self._weights.get(runner, self._weight):
            return Draw(self, self.candidate, _CANDIDATE, client)
        return Draw(self, self.stable, _STABLE, client)

    def _shows_key(self, request: Request) -> bool:
        key = request.headers.get(_PREVIEW_HEADER) or _cookie(request, _PREVIEW_COOKIE)
        if not key:
            return False
        return hmac.compare_digest(hashlib.sha256(key).hexdigest(), self._preview)

    def _unit_of(self, request: Request, user: str) -> str:
        if self._unit == "user":
            return user
        if self._unit == "header":
            value = request.headers.get(self._unit_name, b"")
        else:
            value = _cookie(request, self._unit_name)
        return value.decode("utf-8", "surrogateescape")


def _cookie(request: Request, name: bytes) -> bytes:
    """The value of a cookie; empty when it was not sent."""
    for pair in request.headers.get(b"cookie", b"").split(b";"):
        key, _, value = pair.strip().partition(b"=")
        if key == name:
            return value
    return b""
