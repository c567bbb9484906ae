"""A rollout as gateways and runners see it, and the evidence they send back.

The table entry `split/<function>/<alias>` divides an alias while a rollout runs on it: its
gateway body is a `SplitRoute`, its runner body a `WarmRoute`. Without the entry, or once the
lease of a `SplitRoute` has run out, the alias's own weights in `FunctionRoute.aliases` hold,
and those lead to the stable version until the rollout is promoted.

Every half second a gateway that holds a split posts an `EvidenceReport`, also when no call
came: silence and zero are different things. The answer carries the leases. So the gateway
that cannot show its evidence cannot renew either, and returns to the stable version.
"""

import hashlib

import msgspec

from hotswap.core.limits import BASIS_POINTS

EVIDENCE_SECONDS = 0.5
WINDOW_SECONDS = 10
LEASE_SECONDS = 30
PREVIEW_HEADER = "x-hotswap-preview"
PREVIEW_COOKIE = "hotswap-preview"
CLIENTS_MAX = 8
FAILURES_MAX = 500


def unit_place(salt: str, unit: str) -> int:
    """Where a unit stands, from 0 to 9,999: the same for ever under one salt."""
    text = f"{salt}\n{unit}".encode("utf-8", "surrogateescape")
    digest = hashlib.blake2b(text, digest_size=8).digest()
    return int.from_bytes(digest, "big") % BASIS_POINTS


class SplitRoute(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """How one alias divides its calls.

    A call on runner r goes to the candidate when its place, a number from 0 to 9,999, is below
    `runner_weights.get(r, weight)`. The place is random, or `unit_place(salt, unit)` where
    the call has a unit: a unit that has moved to the candidate stays there as weights rise.

    Attributes:
        attempt: id of the rollout's attempt, 32 hex digits.
        epoch: rises with every change of this route; evidence names the epoch it belongs to.
        stable, candidate: version numbers.
        weight: the candidate's share in basis points.
        runner_weights: other shares on runners of these names (rolling batches, regions).
        is_leased: the split ends when the lease is not renewed; False for 0 and 100 %.
        salt: a new one for every attempt.
        unit: where a call's unit is read: "", "header:<lower-case name>", "cookie:<name>",
            or "user" (whose token it is).
        preview_sha256: hex digest of the key that opens the candidate to whoever shows it in
            the header or cookie; "" is none. Such calls are no evidence: they were not drawn.
        mirror: share of stable calls, in basis points, repeated on the candidate; the answer
            is compared and dropped.
        slow_ms: a call that took longer counts as slow; 0 counts none.
    """

    attempt: str
    epoch: int
    stable: int
    candidate: int
    weight: int
    runner_weights: dict[str, int] = {}
    is_leased: bool = False
    salt: str = ""
    unit: str = ""
    preview_sha256: str = ""
    mirror: int = 0
    slow_ms: int = 0


class WarmRoute(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """Instances that every runner keeps ready while the entry is there.

    Attributes:
        versions: version number -> instances; neither idle time nor eviction goes below.
    """

    function: str
    versions: dict[str, int]


class Failure(msgspec.Struct, array_like=True, frozen=True):
    """One failed call that is evidence: the first of its client, kind and minute here.

    Attributes:
        client: 16 hex digits, a keyed hash of the unit, else of user and address.
        kind: a problem slug, or "http-5xx" for an answer of the function's own.
        minute: epoch minutes.
    """

    client: str
    kind: str
    minute: int


class ArmCounts(msgspec.Struct, array_like=True):
    """Drawn calls of one version that ended since the last report, of one stratum.

    Bad is what the function or the platform did wrong: a fault of the function, a 5xx, a
    lost instance. Calls that the caller spoilt or left, and those refused for their number,
    are no evidence and not in `calls`; but a caller who left after `slow_ms` waited too long,
    and is counted as slow.

    Attributes:
        epoch: of the split when the call was routed.
        runner: name of the runner that served it.
        cold: the call waited for a new instance.
        window: epoch seconds of the call's end, a multiple of `WINDOW_SECONDS`.
        bad: all bad calls, repeated ones too.
        slow: calls above `slow_ms`.
        buckets: per bucket of `hotswap.wire.reports.LATENCY_BUCKETS_MS`, and above.
        failures: at most `FAILURES_MAX`; `failures_left_out` counts the rest.
    """

    attempt: str
    epoch: int
    version_id: int
    runner: str
    cold: bool
    window: int
    calls: int
    bad: int
    slow: int
    total_us: int
    buckets: list[int]
    failures: list[Failure]
    failures_left_out: int = 0


class SplitState(msgspec.Struct, array_like=True):
    """One split as a gateway holds it now.

    Attributes:
        epoch: the newest that routes calls here.
        has_lease: False when an `is_leased` split sends everything to the stable version.
        in_flight: version id -> calls that run now, however they were routed.
        clients: up to `CLIENTS_MAX` client hashes seen since the last report.
        previewed: calls that a preview key opened.
        mirrored, mirror_same, mirror_different, mirror_failed: repeated calls and how their
            answers compared to the stable version's.
        dropped: version id -> calls that a lost runner or gateway ended without an answer.
    """

    attempt: str
    epoch: int
    has_lease: bool
    in_flight: dict[int, int]
    clients: list[str]
    previewed: int = 0
    mirrored: int = 0
    mirror_same: int = 0
    mirror_different: int = 0
    mirror_failed: int = 0
    dropped: dict[int, int] = {}


class EvidenceReport(msgspec.Struct, rename="camel"):
    """`POST /internal/v1/evidence`: counted once by (node, boot, seq), as every report."""

    node: str
    boot: str
    seq: int
    splits: list[SplitState]
    arms: list[ArmCounts]


class EvidenceAnswer(msgspec.Struct, rename="camel"):
    """Attempt -> milliseconds that its lease still has, counted from when the report was sent."""

    leases: dict[str, int]
