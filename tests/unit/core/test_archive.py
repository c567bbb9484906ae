"""Packages that nobody trusts."""

import contextlib
import io
import os
import random
import stat
import zipfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hotswap.core import archive, limits
from hotswap.core.errors import HotSwapError, PayloadTooLarge, UnsupportedPackage
from tests import zips

TWO = {"a.txt": b"first" * 50, "b.txt": b"second" * 50}


def refusal(folder: Path, data: bytes) -> str:
    """Why the package is refused, by looking and by unpacking alike."""
    path, target = zips.saved(folder, data), folder / "target"
    target.mkdir(exist_ok=True)
    with pytest.raises(UnsupportedPackage) as looked:
        archive.inspect(path)
    with pytest.raises(UnsupportedPackage) as unpacked:
        archive.unpack(path, target)
    assert sorted(p.name for p in folder.iterdir()) == ["package.zip", "target"]
    assert looked.value.extras == unpacked.value.extras
    return str(looked.value.extras["reason"])


def of_size(size: int) -> bytes:
    """A zip file of exactly `size` bytes."""
    frame = len(zips.packed({"a": b""}, zipfile.ZIP_STORED))
    return zips.packed({"a": bytes(size - frame)}, zipfile.ZIP_STORED)


class TestInspect:
    def test_counts_files_and_their_real_bytes(self, tmp_path):
        path = zips.saved(tmp_path, zips.packed({"a.txt": "12345", "deep/er/b.txt": "123"}))

        summary = archive.inspect(path)

        assert summary == archive.PackageSummary(2, 8, ("a.txt", "deep/er/b.txt"))

    def test_takes_plain_folders(self, tmp_path):
        path = zips.saved(tmp_path, zips.packed({"lib/": "", "lib/a.py": "1"}))

        assert archive.inspect(path).names == ("lib/a.py",)

    def test_takes_what_a_streaming_writer_makes(self, tmp_path):
        class Pipe(io.RawIOBase):
            def __init__(self) -> None:
                self.data = b""

            def writable(self) -> bool:
                return True

            def write(self, data) -> int:
                self.data += bytes(data)
                return len(data)

        pipe = Pipe()
        with zipfile.ZipFile(pipe, "w", zipfile.ZIP_DEFLATED) as bundle:
            bundle.writestr("a.txt", "text")
            with bundle.open("b.txt", "w", force_zip64=True) as file:
                file.write(b"long")

        assert archive.inspect(zips.saved(tmp_path, pipe.data)).unpacked_bytes == 8

    def test_takes_an_empty_package(self, tmp_path):
        assert archive.inspect(zips.saved(tmp_path, zips.packed({}))).files == 0


class TestUnpack:
    def test_writes_files_with_plain_modes_and_keeps_the_execute_bit(self, tmp_path):
        data = io.BytesIO()
        with zipfile.ZipFile(data, "w") as bundle:
            for name, mode in (("run.sh", 0o100775), ("lib/data.txt", 0o100600)):
                info = zipfile.ZipInfo(name)
                info.create_system, info.external_attr = 3, mode << 16
                bundle.writestr(info, name)
        target = tmp_path / "target"
        target.mkdir()

        archive.unpack(zips.saved(tmp_path, data.getvalue()), target)

        modes = {p.name: stat.S_IMODE(p.stat().st_mode) for p in target.rglob("*")}
        assert modes == {"run.sh": 0o755, "lib": 0o755, "data.txt": 0o644}
        assert (target / "lib/data.txt").read_text() == "lib/data.txt"

    def test_keeps_empty_folders(self, tmp_path):
        target = tmp_path / "target"
        target.mkdir()

        archive.unpack(zips.saved(tmp_path, zips.packed({"cache/": ""})), target)

        assert (target / "cache").is_dir()

    def test_does_not_overwrite_what_is_there(self, tmp_path):
        target = tmp_path / "target"
        target.mkdir()
        (target / "main.py").write_text("mine")

        with pytest.raises(FileExistsError):
            archive.unpack(zips.saved(tmp_path, zips.packed()), target)

        assert (target / "main.py").read_text() == "mine"


class TestLimits:
    def test_takes_a_file_of_50_mib(self, tmp_path):
        path = zips.saved(tmp_path, of_size(limits.PACKAGE_MAX_BYTES))

        assert path.stat().st_size == limits.PACKAGE_MAX_BYTES
        assert archive.inspect(path).files == 1

    def test_refuses_one_byte_more(self, tmp_path):
        with pytest.raises(PayloadTooLarge):
            archive.inspect(zips.saved(tmp_path, of_size(limits.PACKAGE_MAX_BYTES + 1)))

    @pytest.mark.parametrize("extra", [0, 1], ids=["250 MiB", "one byte more"])
    def test_bounds_what_unpacks(self, tmp_path, extra):
        block = random.Random(1).randbytes(20 * 1024).ljust(limits.MIB, b"\0")
        count = limits.UNPACKED_MAX_BYTES // limits.MIB
        data = zips.packed({**{f"{n}": block for n in range(count)}, "extra": b"x" * extra})

        if extra:
            assert refusal(tmp_path, data) == "too-large"
        else:
            summary = archive.inspect(zips.saved(tmp_path, data))
            assert summary.unpacked_bytes == limits.UNPACKED_MAX_BYTES

    def test_takes_10_000_files(self, tmp_path):
        data = zips.packed({str(n): "" for n in range(limits.PACKAGE_MAX_FILES)})

        assert archive.inspect(zips.saved(tmp_path, data)).files == limits.PACKAGE_MAX_FILES

    def test_refuses_one_file_more(self, tmp_path):
        data = zips.packed({str(n): "" for n in range(limits.PACKAGE_MAX_FILES + 1)})

        assert refusal(tmp_path, data) == "too-many-files"

    def test_counts_entries_itself(self, tmp_path):
        data = zips.packed({str(n): "" for n in range(limits.PACKAGE_MAX_FILES + 1)})
        lying = zips.end_record(zips.end_record(data, 8, "<H", 1), 10, "<H", 1)

        assert refusal(tmp_path, lying) == "too-many-files"

    def test_lets_small_files_be_as_repetitive_as_they_like(self, tmp_path):
        data = zips.packed({"zeros": bytes(limits.MIB)})

        assert archive.inspect(zips.saved(tmp_path, data)).unpacked_bytes == limits.MIB

    def test_refuses_a_ratio_over_100_above_that(self, tmp_path):
        assert refusal(tmp_path, zips.packed({"zeros": bytes(limits.MIB + 1)})) == "bomb"

    def test_takes_20_levels(self, tmp_path):
        name = "/".join(["d"] * (limits.PACKAGE_MAX_DEPTH - 1) + ["file"])

        assert archive.inspect(zips.saved(tmp_path, zips.packed({name: ""}))).names == (name,)

    def test_refuses_21_levels(self, tmp_path):
        name = "/".join(["d"] * limits.PACKAGE_MAX_DEPTH + ["file"])

        assert refusal(tmp_path, zips.packed({name: ""})) == "too-deep"


BAD_NAMES = {
    b"../evil": "path-traversal",
    b"a/../../evil": "path-traversal",
    b"a/./evil": "path-traversal",
    b"a/.. /evil": "path-traversal",
    b"..%2fevil": "path-traversal",
    b"%2e%2e/evil": "path-traversal",
    "a/\uff0e\uff0e/evil".encode(): "path-traversal",
    "a/\u2025/evil".encode(): "path-traversal",
    b"/etc/passwd": "absolute-path",
    b"//host/share": "absolute-path",
    b"C:/windows/x": "absolute-path",
    b"C:evil": "absolute-path",
    b"..\\evil": "absolute-path",
    b"a\\b\\c": "absolute-path",
    b"file:stream": "absolute-path",
    b"name\0.txt": "bad-name",
    b"line\nfeed": "bad-name",
    b"bell\x07x": "bad-name",
    b"a//b/c": "bad-name",
    b"dot./file": "bad-name",
    b"blank /file": "bad-name",
    b" blank/file": "bad-name",
    b"a%2fb": "bad-name",
    b"lib/CON.txt": "bad-name",
    b"lib/nul/file": "bad-name",
    b"COM1": "bad-name",
    b"x" * 256: "bad-name",
    b"/".join([b"x" * 100] * 11): "bad-name",
}


class TestNames:
    @pytest.mark.parametrize(("name", "reason"), BAD_NAMES.items(), ids=repr)
    def test_refuses_what_some_system_reads_as_elsewhere(self, tmp_path, name, reason):
        data = zips.named(name)
        if not name.isascii():  # mark the name as UTF-8, as its writer would
            data = zips.local_header(data, 6, "<H", 0x800)
            data = zips.central_header(data, 8, "<H", 0x800)

        assert refusal(tmp_path, data) == reason

    @pytest.mark.parametrize(
        "names",
        [
            (b"same.txt", b"same.txt"),
            (b"Case.txt", b"case.txt"),
            (b"Lib/a.txt", b"lib/b.txt"),
            (b"node", b"node/file"),
            (b"node/file", b"node"),
        ],
        ids=["twice", "case", "folder case", "file then folder", "folder then file"],
    )
    def test_refuses_names_that_fall_together(self, tmp_path, names):
        assert refusal(tmp_path, zips.named(*names)) == "name-clash"

    @pytest.mark.parametrize("name", ["naïve.txt", "日本/語.py", "a b.txt", ".env", "...x", "@s/x"])
    def test_takes_ordinary_names(self, tmp_path, name):
        data = zips.packed({name: "x"})

        assert archive.inspect(zips.saved(tmp_path, data)).names == (name,)


class TestKinds:
    @pytest.mark.parametrize(
        "mode",
        [stat.S_IFLNK, stat.S_IFCHR, stat.S_IFBLK, stat.S_IFIFO, stat.S_IFSOCK, stat.S_IFDIR],
        ids=["link", "character device", "block device", "pipe", "socket", "folder as file"],
    )
    def test_refuses_what_is_not_a_plain_file(self, tmp_path, mode):
        data = zips.member("name", b"/etc/passwd", attributes=(mode | 0o777) << 16)

        assert refusal(tmp_path, data) == "special-file"

    @pytest.mark.parametrize("bit", [stat.S_ISUID, stat.S_ISGID], ids=["setuid", "setgid"])
    def test_refuses_the_rights_of_others(self, tmp_path, bit):
        data = zips.member("name", b"", attributes=(stat.S_IFREG | bit | 0o755) << 16)

        assert refusal(tmp_path, data) == "special-file"

    def test_refuses_a_windows_link(self, tmp_path):
        assert refusal(tmp_path, zips.member("name", attributes=0x400)) == "special-file"


class TestDamage:
    @pytest.mark.parametrize(
        "data",
        [b"", b"PK", b"%PDF-1.7", b"\x7fELF", b"Rar!\x1a\x07\x00", b"not a zip" * 99],
        ids=["empty", "two bytes", "pdf", "elf", "rar", "text"],
    )
    def test_refuses_what_is_not_a_zip(self, tmp_path, data):
        assert refusal(tmp_path, data) == "not-a-zip"

    @pytest.mark.parametrize("kept", [0.3, 0.6, 0.9, 0.99])
    def test_refuses_a_truncated_upload(self, tmp_path, kept):
        data = zips.packed(TWO)

        assert refusal(tmp_path, data[: int(len(data) * kept)]) == "damaged"

    def test_refuses_a_zip_behind_something_else(self, tmp_path):
        assert refusal(tmp_path, b"\x7fELF" + zips.packed(TWO)) == "not-a-zip"

    def test_refuses_something_behind_the_zip(self, tmp_path):
        assert refusal(tmp_path, zips.packed(TWO) + b"%PDF") == "damaged"

    def test_refuses_a_gap_before_the_first_member(self, tmp_path):
        hidden = zips.packed(TWO)
        data = hidden[:4] + hidden

        assert refusal(tmp_path, data) in ("damaged", "overlap")

    def test_refuses_wrong_bytes(self, tmp_path):
        data = bytearray(zips.packed(TWO, zipfile.ZIP_STORED))
        data[data.index(b"firstfirst")] ^= 1

        assert refusal(tmp_path, bytes(data)) == "damaged"

    def test_refuses_encryption(self, tmp_path):
        data = zips.central_header(zips.local_header(zips.packed(TWO), 6, "<H", 1), 8, "<H", 1)

        assert refusal(tmp_path, data) == "encrypted"

    @pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA], ids=["bzip2", "lzma"])
    def test_refuses_rare_methods(self, tmp_path, method):
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w", method) as bundle:
            bundle.writestr("a", b"a" * 99)

        assert refusal(tmp_path, buffer.getvalue()) == "unsupported"

    def test_refuses_a_zip64_locator(self, tmp_path):
        data = zips.packed(TWO)
        end = data.index(b"PK\x05\x06")

        assert refusal(tmp_path, data[:end] + b"PK\x06\x07" + bytes(16) + data[end:]) in (
            "unsupported",
            "damaged",
        )


class TestLies:
    @pytest.mark.parametrize(
        ("offset", "layout", "value"),
        [(6, "<H", 8), (8, "<H", 0), (14, "<L", 1), (18, "<L", 1), (22, "<L", 1), (30, "<B", 90)],
        ids=["flags", "method", "checksum", "packed size", "size", "name"],
    )
    def test_refuses_two_stories_about_one_member(self, tmp_path, offset, layout, value):
        data = zips.local_header(zips.packed(TWO), offset, layout, value)

        assert refusal(tmp_path, data) == "header-mismatch"

    @pytest.mark.parametrize("size", [1, 10**8], ids=["smaller", "larger"])
    def test_refuses_a_wrong_size(self, tmp_path, size):
        data = zips.local_header(zips.packed(TWO), 22, "<L", size)
        data = zips.central_header(data, 24, "<L", size)

        assert refusal(tmp_path, data) in ("damaged", "bomb")

    def test_refuses_members_that_share_bytes(self, tmp_path):
        data = zips.packed({"aaaa": b"x" * 500, "aaab": b"x" * 500})
        shared = zips.central_header(data, 42, "<L", 0, entry=1)

        assert refusal(tmp_path, shared) in ("overlap", "header-mismatch")

    def test_refuses_a_member_that_reaches_into_the_next(self, tmp_path):
        data = zips.packed(TWO, zipfile.ZIP_STORED)
        for size in (18, 22):
            data = zips.local_header(data, size, "<L", 400)
            data = zips.central_header(data, size + 2, "<L", 400)

        assert refusal(tmp_path, data) == "overlap"


class TestHostileBytes:
    @settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(
        changes=st.lists(
            st.tuples(st.integers(0, 400), st.integers(0, 255)), min_size=1, max_size=6
        )
    )
    def test_end_in_a_refusal_or_inside_the_target(self, tmp_path, changes):
        data = bytearray(zips.packed({"a.txt": b"text" * 20, "lib/b.txt": b"more" * 20}))
        for at, value in changes:
            data[at % len(data)] = value
        folder = tmp_path / os.urandom(8).hex()
        target = folder / "in" / "target"
        target.mkdir(parents=True)

        with contextlib.suppress(HotSwapError):
            archive.unpack(zips.saved(folder, bytes(data)), target)

        assert {p.name for p in folder.iterdir()} == {"package.zip", "in"}
        assert {p.name for p in target.parent.iterdir()} == {"target"}
