"""Package bytes by their SHA-256, on whatever django-storages is set to.

The store is not trusted: whoever reads checks the hash again.
"""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from django.core.files import File
from django.core.files.storage import FileSystemStorage, default_storage

_CHUNK = 256 * 1024


class AtomicFileStorage(FileSystemStorage):
    """Files appear whole or not at all, also when the machine loses power."""

    def _save(self, name: str, content: "File[bytes]") -> str:
        path = Path(self.path(name))
        path.parent.mkdir(
            mode=self.directory_permissions_mode or 0o755, parents=True, exist_ok=True
        )
        descriptor, fresh = tempfile.mkstemp(dir=path.parent, prefix=".fresh-")
        try:
            with os.fdopen(descriptor, "wb") as file:
                for chunk in content.chunks():
                    file.write(chunk)
                file.flush()
                os.fsync(descriptor)
            Path(fresh).replace(path)
        except BaseException:
            Path(fresh).unlink(missing_ok=True)
            raise
        return name


def location(sha256: str) -> str:
    """Name of a package in the store."""
    return f"{sha256[:2]}/{sha256}.zip"


def keep(*, sha256: str, path: Path) -> None:
    """Store the bytes of `path` unless they are there whole. A repeat changes nothing."""
    if size(sha256) == path.stat().st_size:
        return
    with path.open("rb") as file:
        default_storage.save(location(sha256), File(file))


def size(sha256: str) -> int | None:
    """Stored bytes, or None when the package is not there."""
    try:
        return default_storage.size(location(sha256))
    except FileNotFoundError:
        return None


@contextmanager
def opened(sha256: str) -> Iterator[IO[bytes]]:
    """The package as a readable file.

    Raises:
        FileNotFoundError: it is not in the store.
    """
    with default_storage.open(location(sha256), "rb") as file:
        yield file


def download(sha256: str) -> "File[bytes]":
    """The package for a response that streams and closes it; raises FileNotFoundError."""
    return default_storage.open(location(sha256), "rb")


def chunks(sha256: str) -> Iterator[bytes]:
    """The package's bytes in pieces."""
    with opened(sha256) as file:
        while chunk := file.read(_CHUNK):
            yield chunk


def drop(sha256: str) -> None:
    """Remove a package; one that is not there is fine."""
    default_storage.delete(location(sha256))
