"""Functions to report about, reports about them, and the callers who read the outcome."""

from dataclasses import dataclass, field

import msgspec
from django.contrib.auth import get_user_model
from django.http import HttpResponse
from django.test import Client
from rest_framework.test import APIClient

from functions.models import Artifact, Function, FunctionVersion
from hotswap import config
from hotswap.access import signing
from hotswap.core import clock, ids
from hotswap.wire.reports import (
    GatewayReport,
    Heartbeat,
    Invoked,
    LogRecord,
    LogReport,
    VersionCounts,
)

SHA256 = "a" * 64


@dataclass(frozen=True, slots=True)
class Deployed:
    """A function and the ids of its versions, v1 first."""

    name: str
    id: int
    versions: tuple[int, ...]


def deploy(name: str, versions: int = 1) -> Deployed:
    """Rows as they are after an upload; the code itself does not matter here."""
    now = clock.utc_now()
    artifact, _ = Artifact.objects.get_or_create(
        sha256=SHA256,
        defaults={
            "size_bytes": 1, "unpacked_bytes": 1, "files": 1, "created_at": now, "used_at": now,
        },
    )  # fmt: skip
    settings = {"runtime": "python3.11", "handler": "main.handler"}
    function = Function.objects.create(
        name=name, created_by="ada", created_at=now, updated_at=now, **settings
    )
    rows = [
        FunctionVersion.objects.create(
            function=function, number=number, artifact=artifact, author="ada", created_at=now,
            memory_mib=256, timeout_seconds=30, **settings,
        )
        for number in range(1, versions + 1)
    ]  # fmt: skip
    return Deployed(name, function.id, tuple(row.id for row in rows))


@dataclass(slots=True)
class Intake:
    """What gateways and runners do: post numbered reports."""

    node: str = "node-1"
    boot: str = field(default_factory=lambda: ids.request_id()[-12:])
    client: Client = field(default_factory=Client)

    def post(self, path: str, body: object, token: str | None = None) -> HttpResponse:
        shown = config.current().core.internal_token if token is None else token
        content = body if isinstance(body, bytes) else msgspec.json.encode(body)
        return self.client.post(
            f"/internal/v1/{path}",
            content,
            content_type="application/json",
            headers={"Authorization": f"Bearer {shown}"},
        )

    def logs(self, seq: int, lines: list[LogRecord]) -> HttpResponse:
        return self.post("logs", LogReport(self.node, self.boot, seq, lines))

    def calls(
        self,
        seq: int,
        counts: list[VersionCounts] | None = None,
        records: list[Invoked] | None = None,
        records_dropped: int = 0,
    ) -> HttpResponse:
        report = GatewayReport(
            self.node, self.boot, seq, counts or [], records or [], records_dropped
        )
        return self.post("reports", report)


def token(*scopes: str) -> str:
    """An access token of a user named ada."""
    get_user_model().objects.get_or_create(username="ada")
    return signing.sign(user="ada", scopes=scopes, now=clock.utc_now())


def reader(*scopes: str) -> APIClient:
    """A caller of the API with these scopes."""
    client = APIClient()
    client.credentials(HTTP_AUTHORIZATION=f"Bearer {token(*scopes)}")
    return client


def line(version_id: int, text: str = "hello", **changes: object) -> LogRecord:
    """A log line of now."""
    given = {"request_id": "r1", "instance": "i1", "time_ms": clock.epoch_ms(), "level": "INFO"}
    return LogRecord(version_id=version_id, text=text, **{**given, **changes})  # type: ignore[arg-type]  # names vary


def counts(version_id: int, *, minute: int, **changes: object) -> VersionCounts:
    """Ten calls of a version, nine of them good, all between 5 and 7.5 ms."""
    given = {
        "outcomes": {"ok": 9, "function-raised": 1}, "cold": 2, "total_us": 60_000,
        "init_us": 8_000, "billed_ms": 100, "memory_peak_kib": 30_720,
        "buckets": [0] * 5 + [10] + [0] * 16,
    }  # fmt: skip
    return VersionCounts(version_id=version_id, minute=minute, **{**given, **changes})  # type: ignore[arg-type]  # names vary


def invoked(version_id: int, request_id: str, **changes: object) -> Invoked:
    """A good call of now."""
    given = {
        "alias": "live", "user": "ada", "ended_ms": clock.epoch_ms(), "outcome": "ok",
        "status": 200, "cold": False, "total_us": 6_000, "queue_us": 500, "init_us": 0,
        "run_us": 5_000, "billed_ms": 5, "memory_kib": 20_480, "request_bytes": 10,
        "response_bytes": 20, "instance": "i1", "trace_id": "t1",
    }  # fmt: skip
    return Invoked(request_id=request_id, version_id=version_id, **{**given, **changes})  # type: ignore[arg-type]  # names vary


def heartbeat(**changes: object) -> Heartbeat:
    """A sign of life of a healthy runner without instances."""
    given = {
        "node": "node-1", "boot": "b1", "version": "0.1.0", "backend": "docker",
        "enforced": ["pid namespace"], "missing": [], "runtimes": ["python3.11"],
        "instances": [], "stem_cells": {"python3.11": 2}, "queued": 0,
        "memory_total_mib": 8_000, "memory_free_mib": 4_000, "load": 0.5, "table_revision": 0,
    }  # fmt: skip
    return Heartbeat(**{**given, **changes})  # type: ignore[arg-type]  # names vary
