"""Code packages: look into a zip that nobody trusts, and unpack it.

The zip is walked twice and from scratch. First the central directory: names, sizes, kinds
and counts are judged before a byte is inflated, every local header must tell the same story,
and members may not overlap. Then the members are read with real bytes counted, so that a lie
about a size ends the reading and not the disk. Nothing is taken from `zipfile.extract`.
"""

import os
import stat
import struct
import unicodedata
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from hotswap.core import limits
from hotswap.core.errors import PayloadTooLarge, UnsupportedPackage

_CHUNK = 64 * 1024
_RATIO_FREE_BYTES = limits.MIB  # small files may be as repetitive as they like
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_ENCRYPTED = 0x1 | 0x40 | 0x2000
_SIZES_FOLLOW = 0x8
_DOS_REPARSE_POINT = 0x400
_LOCAL_HEADER = struct.Struct("<4s5H3L2H")
_END = struct.Struct("<4s4H2LH")
_END_SIGNATURE = b"PK\x05\x06"
_CENTRAL_SIGNATURE = b"PK\x01\x02"
_ZIP64_LOCATOR = (b"PK\x06\x07", 20)
_ZIP64_SIZE = 0xFFFFFFFF
_WINDOWS_DEVICES = frozenset(
    ["con", "prn", "aux", "nul", *(f"com{n}" for n in range(10)), *(f"lpt{n}" for n in range(10))]
)


@dataclass(frozen=True, slots=True)
class PackageSummary:
    """What a package holds.

    Attributes:
        files: number of regular files.
        unpacked_bytes: their real size together.
        names: their paths with `/`, in the order of the zip.
    """

    files: int
    unpacked_bytes: int
    names: tuple[str, ...]


def inspect(path: Path) -> PackageSummary:
    """Judge a package by reading all of it; nothing is written.

    Raises:
        PayloadTooLarge: more than 50 MB compressed.
        UnsupportedPackage: any other reason; `extras["reason"]` names it for programs.
    """
    with _opened(path) as (archive, members):
        total = sum(_measure(archive, member) for member in members)
        return _summary(members, total)


def unpack(path: Path, target: Path) -> PackageSummary:
    """Write a package's files below `target`, an empty directory that only we can write.

    Files get mode 0644, or 0755 when they carry an execute bit; directories 0755. On an
    error what was written so far stays: the caller throws `target` away.

    Raises:
        PayloadTooLarge, UnsupportedPackage: as `inspect`.
    """
    with _opened(path) as (archive, members):
        folders = _Folders(target)
        for entry in archive.infolist():
            if entry.is_dir():
                folders.ensure(target / entry.filename)
        total = sum(_write(archive, member, folders) for member in members)
        return _summary(members, total)


def read(path: Path, name: str, *, limit: int) -> bytes:
    """Up to `limit` bytes of one file of a package.

    Raises:
        KeyError: no such file in it.
    """
    with _opened(path) as (archive, members):
        member = next((m for m in members if m.filename == name), None)
        if member is None:
            raise KeyError(name)
        with archive.open(member) as source:
            return source.read(limit)


def _summary(members: list[zipfile.ZipInfo], total: int) -> PackageSummary:
    return PackageSummary(len(members), total, tuple(m.filename for m in members))


def _refuse(reason: str, detail: str) -> UnsupportedPackage:
    return UnsupportedPackage(f"The package was refused: {detail}", reason=reason)


@contextmanager
def _opened(path: Path) -> Iterator[tuple[zipfile.ZipFile, list[zipfile.ZipInfo]]]:
    """The archive and its regular files, after every check that needs no inflating."""
    size = path.stat().st_size
    if size > limits.PACKAGE_MAX_BYTES:
        most = limits.PACKAGE_MAX_BYTES // limits.MIB
        raise PayloadTooLarge(f"A package may have at most {most} MiB compressed.")
    with path.open("rb") as file:
        _check_end(file, size)
        try:
            with zipfile.ZipFile(file) as archive:
                yield archive, _members(archive, file)
        except (zipfile.BadZipFile, zlib.error, EOFError, struct.error) as exc:
            raise _refuse("damaged", f"the zip file is damaged ({exc}).") from exc
        except (NotImplementedError, UnicodeDecodeError) as exc:
            raise _refuse("unsupported", f"it uses a zip feature we do not read ({exc}).") from exc


def _check_end(file: BinaryIO, size: int) -> None:
    """Judge the end record by hand: `zipfile` would first load whatever it announces."""
    if file.read(4) not in (b"PK\x03\x04", _END_SIGNATURE):
        raise _refuse("not-a-zip", "it is not a zip file.")
    tail_start = max(0, size - _END.size - 0xFFFF)
    file.seek(tail_start)
    tail = file.read()
    at = tail.rfind(_END_SIGNATURE)
    if at < 0 or len(tail) - at < _END.size:
        raise _refuse("damaged", "the zip file is cut off: its end record is missing.")
    _, _, _, _, count, directory_bytes, directory_at, comment = _END.unpack_from(tail, at)
    if at + _END.size + comment != len(tail):
        raise _refuse("damaged", "something follows the end of the zip file.")
    locator, locator_bytes = _ZIP64_LOCATOR
    if tail[max(0, at - locator_bytes) :].startswith(locator):
        raise _refuse("unsupported", "it is a Zip64 file, which a small package never needs.")
    if directory_at + directory_bytes != tail_start + at:
        raise _refuse("damaged", "its directory is not where the end record says.")
    file.seek(directory_at)
    entries = max(count, file.read(directory_bytes).count(_CENTRAL_SIGNATURE))
    if entries > limits.PACKAGE_MAX_FILES:
        most = f"{limits.PACKAGE_MAX_FILES:,}"
        raise _refuse("too-many-files", f"it has {entries:,} entries; {most} are allowed.")


def _members(archive: zipfile.ZipFile, file: BinaryIO) -> list[zipfile.ZipInfo]:
    entries = archive.infolist()
    for entry in entries:
        _check_name(entry)
        _check_kind(entry)
    _check_unique(entries)
    _check_places(entries, file, archive.start_dir)
    members = [entry for entry in entries if not entry.is_dir()]
    _check_sizes(members)
    return members


def _check_name(entry: zipfile.ZipInfo) -> None:
    """Refuse every path that some system could read as pointing elsewhere."""
    name = entry.orig_filename
    parts = name.removesuffix("/").split("/")
    shown = name[:80].encode("unicode_escape").decode()
    if entry.filename != name or any(unicodedata.category(c) in ("Cc", "Cs") for c in name):
        raise _refuse("bad-name", f"{shown} holds a control character.")
    if "\\" in name or name.startswith("/") or ":" in name:
        raise _refuse("absolute-path", f"{shown} is not a relative path with forward slashes.")
    if any(_is_dots(part) for part in parts):
        raise _refuse("path-traversal", f"{shown} leaves the package's own folder.")
    if any(_is_odd(part) for part in parts) or len(name.encode()) > 1_024:
        raise _refuse("bad-name", f"{shown} is a name that not every system can store.")
    if len(parts) > limits.PACKAGE_MAX_DEPTH:
        most = limits.PACKAGE_MAX_DEPTH
        raise _refuse("too-deep", f"{shown} is nested deeper than {most} levels.")


def _is_dots(part: str) -> bool:
    """`.` and `..` in any disguise: full-width dots, per cent signs, blanks around them."""
    plain = unicodedata.normalize("NFKC", part).lower().replace("%2e", ".")
    plain = plain.replace("%2f", "/").replace("%5c", "/")
    return any(piece.strip() and set(piece.strip()) == {"."} for piece in plain.split("/"))


def _is_odd(part: str) -> bool:
    plain = part.lower()
    return (
        part != part.strip()
        or part == ""
        or part.endswith(".")
        or plain.partition(".")[0] in _WINDOWS_DEVICES
        or "%2f" in plain
        or "%5c" in plain
        or len(part.encode()) > 255
    )


def _check_kind(entry: zipfile.ZipInfo) -> None:
    """Only plain files and folders, packed in a way that we read."""
    mode = entry.external_attr >> 16
    kind = stat.S_IFMT(mode)
    allowed = (0, stat.S_IFDIR) if entry.is_dir() else (0, stat.S_IFREG)
    if kind not in allowed or entry.external_attr & _DOS_REPARSE_POINT:
        raise _refuse("special-file", f"{entry.filename} is a link, device or other special file.")
    if not entry.is_dir() and mode & (stat.S_ISUID | stat.S_ISGID):
        raise _refuse("special-file", f"{entry.filename} asks for the rights of another user.")
    if entry.flag_bits & _ENCRYPTED:
        raise _refuse("encrypted", f"{entry.filename} is encrypted.")
    if entry.compress_type not in _METHODS:
        raise _refuse("unsupported", f"{entry.filename} is not packed with stored or deflate.")
    if entry.is_dir() and entry.file_size:
        raise _refuse("damaged", f"{entry.filename} is a folder with content of its own.")


def _check_unique(entries: list[zipfile.ZipInfo]) -> None:
    """No two names that fall together, also where case or accents do not count."""
    spellings: dict[str, str] = {}
    taken: set[str] = set()
    files: set[str] = set()
    folders: set[str] = set()
    for entry in entries:
        parts = entry.filename.removesuffix("/").split("/")
        paths = ["/".join(parts[: n + 1]) for n in range(len(parts))]
        for path in paths:
            folded = unicodedata.normalize("NFC", path).casefold()
            if spellings.setdefault(folded, path) != path:
                raise _refuse("name-clash", f"{path} and {spellings[folded]} differ only in case.")
        if paths[-1] in taken:
            raise _refuse("name-clash", f"{paths[-1]} is there twice.")
        taken.add(paths[-1])
        folders.update(paths if entry.is_dir() else paths[:-1])
        files.update(() if entry.is_dir() else paths[-1:])
    if clash := files & folders:
        raise _refuse("name-clash", f"{min(clash)} is a file and a folder at once.")


def _check_places(entries: list[zipfile.ZipInfo], file: BinaryIO, directory_at: int) -> None:
    """Every local header agrees with the directory, and no two members share bytes."""
    free_from = 0
    for entry in sorted(entries, key=lambda entry: entry.header_offset):
        if entry.header_offset < free_from or (free_from == 0 and entry.header_offset):
            raise _refuse("overlap", f"{entry.filename} shares its bytes with another entry.")
        free_from = _local_end(entry, file)
    if free_from > directory_at:
        raise _refuse("overlap", "the last entry reaches into the directory.")


def _local_end(entry: zipfile.ZipInfo, file: BinaryIO) -> int:
    """Where a member's bytes end, after comparing its local header with the directory."""
    file.seek(entry.header_offset)
    header = file.read(_LOCAL_HEADER.size)
    signature, _, flags, method, _, _, crc, packed, unpacked, name_bytes, extra_bytes = (
        _LOCAL_HEADER.unpack(header)
    )
    name = file.read(name_bytes)
    encoding = "utf-8" if flags & 0x800 else "cp437"
    sizes = _local_sizes(file.read(extra_bytes), packed, unpacked)
    same = (
        signature == b"PK\x03\x04"
        and flags == entry.flag_bits
        and method == entry.compress_type
        and name.decode(encoding) == entry.orig_filename
        and (
            (crc, *sizes) == (entry.CRC, entry.compress_size, entry.file_size)
            or (flags & _SIZES_FOLLOW and (crc, *sizes) == (0, 0, 0))
        )
    )
    if not same:
        raise _refuse("header-mismatch", f"{entry.filename} is described in two different ways.")
    content_at: int = entry.header_offset + len(header) + name_bytes + extra_bytes
    return content_at + entry.compress_size


def _local_sizes(extra: bytes, packed: int, unpacked: int) -> tuple[int, int]:
    """Sizes of a local header; writers that stream keep them in a Zip64 field."""
    if _ZIP64_SIZE not in (packed, unpacked):
        return packed, unpacked
    while len(extra) >= 4:
        kind, length = struct.unpack_from("<HH", extra)
        if kind == 1 and length == 16:
            unpacked, packed = struct.unpack_from("<QQ", extra, 4)
            break
        extra = extra[4 + length :]
    return packed, unpacked


def _check_sizes(members: list[zipfile.ZipInfo]) -> None:
    if sum(member.file_size for member in members) > limits.UNPACKED_MAX_BYTES:
        most = limits.UNPACKED_MAX_BYTES // limits.MIB
        raise _refuse("too-large", f"it unpacks to more than {most} MiB.")
    for member in members:
        most = max(_RATIO_FREE_BYTES, member.compress_size * limits.PACKAGE_MAX_RATIO)
        if member.file_size > most:
            ratio = limits.PACKAGE_MAX_RATIO
            raise _refuse("bomb", f"{member.filename} unpacks to over {ratio} times its size.")


def _content(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> Iterator[bytes]:
    """A member's bytes; `zipfile` stops at the announced size and verifies the checksum."""
    count = 0
    with archive.open(member) as source:
        while chunk := source.read(_CHUNK):
            count += len(chunk)
            yield chunk
    if count != member.file_size:
        raise _refuse("damaged", f"{member.filename} is shorter than announced.")


def _measure(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> int:
    return sum(len(chunk) for chunk in _content(archive, member))


class _Folders:
    """Makes folders below the target, each once."""

    def __init__(self, target: Path) -> None:
        self.target = target
        self._made = {target}

    def ensure(self, folder: Path) -> None:
        if folder in self._made:
            return
        self.ensure(folder.parent)
        folder.mkdir(exist_ok=True)
        folder.chmod(0o755)
        self._made.add(folder)


def _write(archive: zipfile.ZipFile, member: zipfile.ZipInfo, folders: _Folders) -> int:
    path = folders.target / member.filename
    folders.ensure(path.parent)
    mode = 0o755 if (member.external_attr >> 16) & stat.S_IXUSR else 0o644
    # O_EXCL never follows a link and never meets a file: names are unique and `target` is ours.
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, mode)
    with os.fdopen(descriptor, "wb") as file:
        os.fchmod(descriptor, mode)
        return sum(file.write(chunk) for chunk in _content(archive, member))
