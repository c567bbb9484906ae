"""Packages on their way in: checked, hashed, built from text files, opened for the editor."""

import hashlib
import io
import tempfile
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

from functions import storage
from hotswap.core import archive, limits
from hotswap.core.errors import InvalidInput, PayloadTooLarge, Unavailable, UnsupportedPackage
from runtimes import catalog

EDITABLE_MAX_BYTES: Final = 256 * 1024
_EPOCH: Final = (1980, 1, 1, 0, 0, 0)
_FILE_MODE: Final = 0o100644 << 16
_CHUNK: Final = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Package:
    """A package that was looked into and found good. `path` is ours until the request ends."""

    path: Path
    sha256: str
    size_bytes: int
    summary: archive.PackageSummary


@dataclass(frozen=True, slots=True)
class PackageFile:
    """One file for the editor. `text` is None for what is not UTF-8 text or too long."""

    name: str
    size_bytes: int
    text: str | None


@contextmanager
def received(source: IO[bytes]) -> Iterator[Package]:
    """Take an upload to a temporary file and judge it. Nothing stays when it is refused.

    Raises:
        PayloadTooLarge, UnsupportedPackage: as `archive.inspect`.
    """
    with tempfile.NamedTemporaryFile(prefix="package-", suffix=".zip") as file:
        digest, size = hashlib.sha256(), 0
        while chunk := source.read(_CHUNK):
            size += len(chunk)
            if size > limits.PACKAGE_MAX_BYTES:
                most = limits.PACKAGE_MAX_BYTES // limits.MIB
                raise PayloadTooLarge(f"A package may have at most {most} MiB compressed.")
            digest.update(chunk)
            file.write(chunk)
        file.flush()
        path = Path(file.name)
        yield Package(path, digest.hexdigest(), size, archive.inspect(path))


@contextmanager
def fetched(sha256: str) -> Iterator[Path]:
    """A stored package as a local file, its hash verified.

    Raises:
        Unavailable: the store does not have it, or has something else.
    """
    digest = hashlib.sha256()
    with tempfile.NamedTemporaryFile(prefix="package-", suffix=".zip") as file:
        try:
            for chunk in storage.chunks(sha256):
                digest.update(chunk)
                file.write(chunk)
        except FileNotFoundError:
            raise Unavailable("The code of this version is not in the package store.") from None
        if digest.hexdigest() != sha256:
            raise Unavailable("The package store returned other bytes than were stored.")
        file.flush()
        yield Path(file.name)


def check_handler(*, names: tuple[str, ...], runtime: str, handler: str) -> None:
    """Raise UnsupportedPackage unless the file that holds the handler is in the package."""
    wanted = catalog.handler_files(catalog.get(runtime), handler)
    if not set(wanted) & set(names):
        raise UnsupportedPackage(
            f"The package was refused: the handler {handler} needs "
            f"{' or '.join(wanted)}, which is not in it (at its top, not in a folder).",
            reason="handler-missing",
        )


def from_files(files: Mapping[str, str | bytes]) -> IO[bytes]:
    """A zip of these files. The same files always make the same bytes, so the same hash."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as bundle:
        for name in sorted(files):
            _add(bundle, name, files[name])
    buffer.seek(0)
    return buffer


def with_edits(base: Path, edits: Mapping[str, str | None]) -> IO[bytes]:
    """The package `base` with some files replaced or added, and those of value None removed."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(base) as old, zipfile.ZipFile(buffer, "w") as bundle:
        kept = {m.filename: m for m in old.infolist() if not m.is_dir() and m.filename not in edits}
        added = {name: text for name, text in edits.items() if text is not None}
        for name in sorted({*kept, *added}):
            content = added[name] if name in added else old.read(name)
            _add(bundle, name, content, kept[name].external_attr if name in kept else _FILE_MODE)
    buffer.seek(0)
    return buffer


def editable_files(path: Path) -> list[PackageFile]:
    """The files of a package with their texts, as far as an editor can show them."""
    archive.inspect(path)
    with zipfile.ZipFile(path) as bundle:
        members = [member for member in bundle.infolist() if not member.is_dir()]
        left = 4 * EDITABLE_MAX_BYTES
        files = []
        for member in sorted(members, key=lambda member: member.filename):
            fits = member.file_size <= min(EDITABLE_MAX_BYTES, left)
            text = _text(bundle.read(member)) if fits else None
            left -= member.file_size if text is not None else 0
            files.append(PackageFile(member.filename, member.file_size, text))
    return files


def _add(
    bundle: zipfile.ZipFile, name: str, content: str | bytes, attributes: int = _FILE_MODE
) -> None:
    try:
        data = content.encode() if isinstance(content, str) else content
    except UnicodeEncodeError:
        raise InvalidInput(f"files: {name!a} holds text that is not Unicode.") from None
    info = zipfile.ZipInfo(name, _EPOCH)
    info.compress_type = zipfile.ZIP_DEFLATED
    info.create_system = 3
    info.external_attr = attributes
    bundle.writestr(info, data)


def _text(data: bytes) -> str | None:
    if b"\0" in data:
        return None
    try:
        return data.decode()
    except UnicodeDecodeError:
        return None
