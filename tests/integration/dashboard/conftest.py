"""A signed-in browser without a browser, and functions in bulk. Imports wait for Django."""

import json
import shutil
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from django.test import Client

Make = Callable[[int], None]


@pytest.fixture
def browser(db: None) -> "Client":
    """Signed in as ada, who is no staff."""
    from django.contrib.auth import get_user_model
    from django.test import Client

    client = Client()
    client.force_login(get_user_model().objects.create_user("ada", password="correct horse"))
    return client


@pytest.fixture
def make_functions(db: None) -> Make:
    """Makes so many functions with two versions, an alias and calls each, in one go."""
    return _make


def _make(count: int) -> None:
    from django.db import transaction

    from functions.models import Alias, AliasTarget, Artifact, Function, FunctionVersion
    from hotswap.core import clock
    from hotswap.wire.reports import LATENCY_BUCKETS_MS
    from runners.models import InvocationMinute

    now = clock.utc_now()
    stamped = {"created_at": now, "updated_at": now}
    code = {"runtime": "python3.11", "handler": "app.handler"}
    artifact, _ = Artifact.objects.get_or_create(
        sha256="a" * 64,
        defaults={
            "size_bytes": 1,
            "unpacked_bytes": 1,
            "files": 1,
            "created_at": now,
            "used_at": now,
        },
    )
    functions = Function.objects.bulk_create(
        Function(name=f"function-{n:05}", last_number=2, created_by="ada", **code, **stamped)
        for n in range(Function.objects.count(), count)
    )
    versions = FunctionVersion.objects.bulk_create(
        FunctionVersion(
            function=function,
            number=number,
            artifact=artifact,
            memory_mib=256,
            timeout_seconds=30,
            author="ada",
            created_at=now,
            **code,
        )
        for function in functions
        for number in (1, 2)
    )
    with transaction.atomic():
        aliases = Alias.objects.bulk_create(
            Alias(function=function, name="live", **stamped) for function in functions
        )
        AliasTarget.objects.bulk_create(
            AliasTarget(alias=alias, version=version, weight_bps=10_000)
            for alias, version in zip(aliases, versions[::2], strict=True)
        )
    minute = int(now.timestamp()) // 60
    InvocationMinute.objects.bulk_create(
        InvocationMinute(
            version_id=version.pk,
            function_id=version.function_id,
            minute=minute - ago,
            outcomes=json.loads('{"ok": 9, "function-raised": 1}'),
            calls=10,
            cold=1,
            total_us=1_000,
            init_us=10,
            billed_ms=100,
            memory_peak_kib=1_024,
            buckets=[10] + [0] * len(LATENCY_BUCKETS_MS),
        )
        for version in versions[::2]
        for ago in range(3)
    )


@pytest.fixture(autouse=True)
def empty_store() -> Iterator[None]:
    """No packages of other tests, and no tries to sign in."""
    from django.core.cache import cache

    from hotswap import config

    cache.clear()
    yield
    shutil.rmtree(config.current().core.state_dir / "packages", ignore_errors=True)
