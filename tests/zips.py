"""Zip files for tests: honest ones, and forged ones that no library would write."""

import io
import struct
import zipfile
from collections.abc import Mapping
from pathlib import Path

HANDLER = {"main.py": "def handler(event, context):\n    return event\n"}


def packed(files: Mapping[str, str | bytes] = HANDLER, method: int = zipfile.ZIP_DEFLATED) -> bytes:
    """A zip of these files; the same files make the same bytes."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as bundle:
        for name, content in files.items():
            bundle.writestr(zipfile.ZipInfo(name), content, method, compresslevel=1)
    return buffer.getvalue()


def member(name: str, content: bytes = b"", *, attributes: int = 0o100644 << 16) -> bytes:
    """A zip of one member with these external attributes."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as bundle:
        info = zipfile.ZipInfo(name)
        info.create_system = 3
        info.external_attr = attributes
        bundle.writestr(info, content)
    return buffer.getvalue()


def named(*names: bytes) -> bytes:
    """A zip whose members have exactly these bytes as names."""
    stand_ins = [b"%04d" % i + b"x" * (len(name) - 4) for i, name in enumerate(names)]
    if any(len(name) < 4 for name in names):
        raise ValueError("forged names need four bytes or more")
    data = packed({stand_in.decode(): "" for stand_in in stand_ins})
    for stand_in, name in zip(stand_ins, names, strict=True):
        data = data.replace(stand_in, name)
    return data


def local_header(data: bytes, offset: int, layout: str, value: int, *, entry: int = 0) -> bytes:
    """The zip with a field of one member's local header overwritten."""
    return _overwritten(data, b"PK\x03\x04", entry, offset, layout, value)


def central_header(data: bytes, offset: int, layout: str, value: int, *, entry: int = 0) -> bytes:
    """The zip with a field of one entry of its directory overwritten."""
    return _overwritten(data, b"PK\x01\x02", entry, offset, layout, value)


def end_record(data: bytes, offset: int, layout: str, value: int) -> bytes:
    """The zip with a field of its end record overwritten."""
    return _overwritten(data, b"PK\x05\x06", 0, offset, layout, value)


def saved(folder: Path, data: bytes) -> Path:
    """The bytes as a file."""
    path = folder / "package.zip"
    path.write_bytes(data)
    return path


def _overwritten(
    data: bytes, signature: bytes, entry: int, offset: int, layout: str, value: int
) -> bytes:
    at = -1
    for _ in range(entry + 1):
        at = data.index(signature, at + 1)
    forged = bytearray(data)
    struct.pack_into(layout, forged, at + offset, value)
    return bytes(forged)
