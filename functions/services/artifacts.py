"""Packages in the store: kept while a version uses them, collected after."""

from datetime import datetime

from django.db import transaction

from functions import storage
from functions.models import Artifact
from functions.packages import Package


def artifact_keep(*, package: Package, now: datetime) -> None:
    """Store a package once. The row comes first: every byte in the store has one to find it by.

    A repeat with the same bytes only notes that they are wanted.
    """
    Artifact.objects.bulk_create(
        [
            Artifact(
                sha256=package.sha256,
                size_bytes=package.size_bytes,
                unpacked_bytes=package.summary.unpacked_bytes,
                files=package.summary.files,
                created_at=now,
                used_at=now,
            )
        ],
        update_conflicts=True,
        unique_fields=["sha256"],
        update_fields=["used_at"],
    )
    storage.keep(sha256=package.sha256, path=package.path)


def artifact_touch(*, sha256: str, now: datetime) -> None:
    """Note that a package is wanted, so that it is not collected meanwhile."""
    Artifact.objects.filter(sha256=sha256).update(used_at=now)


def artifacts_collect(*, unused_since: datetime) -> int:
    """Remove packages that no version uses and nobody wanted since. Returns how many."""
    idle = Artifact.objects.filter(versions=None, used_at__lt=unused_since)
    return sum(
        _collect(sha256=sha256, unused_since=unused_since)
        for sha256 in idle.values_list("sha256", flat=True)
    )


@transaction.atomic
def _collect(*, sha256: str, unused_since: datetime) -> bool:
    """Remove one package. The row's lock is held meanwhile: an upload of the same bytes waits
    for it, finds neither row nor bytes afterwards, and stores them anew."""
    locked = Artifact.objects.select_for_update().filter(sha256=sha256, used_at__lt=unused_since)
    artifact = locked.first()
    if artifact is None or artifact.versions.exists():
        return False
    storage.drop(sha256)
    artifact.delete()
    return True
