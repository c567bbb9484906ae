"""Invocations that were recorded one by one."""

from collections.abc import Iterable

from django.db.models import QuerySet

from functions import selectors as functions
from hotswap.core.errors import NotFound
from runners.models import InvocationRecord

NEWEST_FIRST = ("-ended_at", "-id")


def invocation_list(*, function_id: int) -> QuerySet[InvocationRecord]:
    """Records of a function, newest first, without their errors' stacks."""
    rows = InvocationRecord.objects.filter(function_id=function_id)
    return rows.order_by(*NEWEST_FIRST).defer("error")


def invocation_recent(*, limit: int) -> QuerySet[InvocationRecord]:
    """The newest records of all functions."""
    return InvocationRecord.objects.order_by("-id").defer("error")[:limit]


def invocation_get(*, function_id: int, request_id: str) -> InvocationRecord:
    """A record by the request id that its caller was given.

    Raises:
        NotFound: no such call, no longer kept, or counted without a record under load.
    """
    rows = InvocationRecord.objects.filter(function_id=function_id, request_id=request_id)
    record = rows.order_by("id").first()
    if record is None:
        raise NotFound(
            f"There is no record of invocation {request_id}. Under load some calls are counted"
            " without one, and old records are deleted."
        )
    return record


def invocation_versions(*, function_id: int, request_ids: Iterable[str]) -> dict[str, int]:
    """Version id by request id; calls without a record are left out."""
    rows = InvocationRecord.objects.filter(
        function_id=function_id, request_id__in=list(request_ids)
    )
    return dict(rows.values_list("request_id", "version_id"))


def version_numbers(*, version_ids: Iterable[int]) -> dict[int, int]:
    """Version number by version id; versions that are gone are left out."""
    labels = functions.version_labels(ids=sorted(set(version_ids)))
    return {version_id: number for version_id, (_, number) in labels.items()}
