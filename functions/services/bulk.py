"""Many functions at once, for benchmarks and demonstrations."""

from datetime import datetime

from django.db import transaction

from functions.models import Function, FunctionVersion
from functions.packages import Package
from functions.services.artifacts import artifact_keep
from hotswap.records import services as records


def functions_seed(
    *,
    prefix: str,
    count: int,
    runtime: str,
    handler: str,
    package: Package,
    actor: str,
    now: datetime,
) -> int:
    """Make `count` functions with one version each, published as one revision.

    Functions `<prefix>-00001`, ... that exist already stay as they are.

    Returns:
        How many were made.
    """
    artifact_keep(package=package, now=now)
    names = {f"{prefix}-{n:05d}" for n in range(1, count + 1)}
    with transaction.atomic():
        taken = Function.objects.filter(name__in=names).values_list("name", flat=True)
        made = Function.objects.bulk_create(
            [
                Function(
                    name=name,
                    runtime=runtime,
                    handler=handler,
                    last_number=1,
                    created_by=actor,
                    created_at=now,
                    updated_at=now,
                )
                for name in sorted(names - set(taken))
            ],
            batch_size=1_000,
        )
        FunctionVersion.objects.bulk_create(
            [
                FunctionVersion(
                    function=function,
                    number=1,
                    artifact_id=package.sha256,
                    runtime=runtime,
                    handler=handler,
                    memory_mib=function.memory_mib,
                    timeout_seconds=function.timeout_seconds,
                    author=actor,
                    created_at=now,
                )
                for function in made
            ],
            batch_size=1_000,
        )
        records.routing_mark_dirty(keys=[f"function/{function.name}" for function in made], at=now)
        records.audit_append(
            verb="function.seed", subject=f"function/{prefix}-*", actor=actor, at=now
        )
    return len(made)
