"""Limits at their edges and refusals, through the real HTTP servers."""

import base64
import io
import os
import socket
import time
import zipfile
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from hotswap.core import limits
from tests import zips
from tests.e2e.stack import PYTHON_RUNTIME, Stack, package

SIZE = """
import os
DATA = os.path.join(os.path.dirname(__file__), "data.bin")

def handler(event, context):
    return os.path.getsize(DATA)
"""
ECHO = "def handler(event, context):\n    return event\n"

REFUSED = {
    "not-a-zip": b"plain text",
    "damaged": zips.packed()[:-9],
    "path-traversal": zips.named(b"../main.py"),
    "absolute-path": zips.named(b"/main.py"),
    "special-file": zips.member("main.py", b"/etc/passwd", attributes=0o120777 << 16),
    "bomb": zips.packed({"main.py": "", "zeros": bytes(1024 * 1024 + 1)}),
    "too-many-files": zips.packed({str(n): "" for n in range(10_001)}),
    "too-deep": zips.packed({"d/" * 20 + "main.py": ""}),
    "handler-missing": zips.packed({"folder/main.py": ""}),
}

pytestmark = pytest.mark.root


def create(stack: Stack, name: str, **settings: object) -> int:
    """Create a function without code; the status of the answer."""
    body = {"name": name, "runtime": PYTHON_RUNTIME, "handler": "app.handler", **settings}
    return stack.api.post("/api/v1/functions", json=body).status_code


def left_behind(stack: Stack) -> set[Path]:
    """Packages and temporary files that the platform keeps now."""
    folders = (stack.directory / "packages", stack.temporary)
    return {path for folder in folders for path in folder.rglob("*") if path.is_file()}


def package_of(size: int) -> bytes:
    """A zip of exactly so many bytes, with code that tells the size of the file beside it."""

    def pack(data: bytes) -> bytes:
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w", zipfile.ZIP_STORED) as archive:
            archive.writestr("app.py", SIZE)
            archive.writestr("data.bin", data)
        return packed.getvalue()

    return pack(os.urandom(size - len(pack(b""))))


class TestPackage:
    def test_of_fifty_mebibytes_is_taken_and_runs(self, stack: Stack) -> None:
        create(stack, "heavy")
        data = package_of(limits.PACKAGE_MAX_BYTES)
        versions = "/api/v1/functions/heavy/versions"
        as_zip = {"Content-Type": "application/zip"}

        fits = stack.api.post(versions, content=data, headers=as_zip)
        over = stack.api.post(versions, content=data + b"\0", headers=as_zip)
        encoded = stack.api.post(versions, json={"zipFile": base64.b64encode(data).decode()})

        assert (fits.status_code, fits.json()["codeSize"]) == (201, limits.PACKAGE_MAX_BYTES)
        assert (over.status_code, over.json()["type"]) == (413, "/problems/payload-too-large")
        assert (encoded.status_code, encoded.json()["version"]) == (201, "v2")
        size = int(stack.invoke("heavy").json()["body"])
        assert limits.PACKAGE_MAX_BYTES - 1_000 < size < limits.PACKAGE_MAX_BYTES

    def test_that_is_refused_leaves_nothing_behind(self, stack: Stack) -> None:
        create(stack, "spotless", handler="main.handler")
        versions = "/api/v1/functions/spotless/versions"
        before = left_behind(stack)

        reasons = [
            stack.api.post(versions, content=data, headers={"Content-Type": "application/zip"})
            .json()
            .get("reason")
            for data in REFUSED.values()
        ]

        assert reasons == list(REFUSED)
        assert stack.api.get(versions).json()["items"] == []
        assert left_behind(stack) == before

    def test_that_a_client_stops_sending_leaves_nothing_behind(self, stack: Stack) -> None:
        create(stack, "cut-off")
        before = left_behind(stack)
        address = urlsplit(stack.url)
        head = (
            f"POST /api/v1/functions/cut-off/versions HTTP/1.1\r\nHost: {address.netloc}\r\n"
            f"Authorization: Bearer {stack.token}\r\nContent-Type: application/zip\r\n"
            f"Content-Length: {20 << 20}\r\n\r\n"
        )

        with socket.create_connection((address.hostname, address.port)) as client:
            client.sendall(head.encode() + bytes(8 << 20))
            time.sleep(0.2)

        stack.wait(lambda: left_behind(stack) == before)
        assert stack.api.get("/api/v1/functions/cut-off/versions").json()["items"] == []

    def test_is_made_whole_or_not_at_all(self, stack: Stack) -> None:
        """A function whose first code is refused is not there, and its name is free."""
        body = {"name": "all-or-none", "runtime": PYTHON_RUNTIME, "handler": "app.handler"}
        code = {"zipFile": base64.b64encode(package({"other.py": ""})).decode()}

        refused = stack.api.post("/api/v1/functions", json={**body, "code": code})

        assert (refused.status_code, refused.json()["reason"]) == (422, "handler-missing")
        assert stack.api.get("/api/v1/functions/all-or-none").status_code == 404
        assert create(stack, "all-or-none") == 201


class TestInvocation:
    @pytest.mark.parametrize("door", ["web", "gateway"])
    def test_carries_six_mebibytes_each_way(self, stack: Stack, door: str) -> None:
        stack.deploy(f"wide-{door}", {"app.py": ECHO}, memorySize=512)
        client = stack.api if door == "web" else stack.gateway
        data = os.urandom(limits.REQUEST_MAX_BYTES)
        raw = {"X-HotSwap-Mode": "raw", "Content-Type": "application/octet-stream"}

        url = f"/api/v1/functions/wide-{door}/invoke"
        fits = client.post(url, content=data, headers=raw)
        over = client.post(url, content=data + b"x", headers=raw)

        assert (fits.status_code, fits.content == data) == (200, True)
        assert (over.status_code, over.json()["type"]) == (413, "/problems/payload-too-large")

    def test_streams_through_the_portals_address(self, stack: Stack) -> None:
        source = (
            "import time\ndef handler(event, context):\n"
            "    for n in range(5):\n        yield f'{n};'\n        time.sleep(0.1)\n"
        )
        stack.deploy("dripping", {"app.py": source})

        with stack.api.stream(
            "POST", "/api/v1/functions/dripping/invoke-stream", json={}
        ) as answer:
            arrivals = [(time.monotonic(), text) for text in answer.iter_text()]

        assert "".join(text for _, text in arrivals) == "0;1;2;3;4;"
        assert arrivals[-1][0] - arrivals[0][0] > 0.25


class TestConfiguration:
    def test_of_an_environment_ends_at_four_kibibytes(self, stack: Stack) -> None:
        source = "import os\ndef handler(event, context):\n    return len(os.environ['BIG'])\n"
        room = limits.ENVIRONMENT_MAX_BYTES - len("BIG")
        stack.deploy("settled", {"app.py": source}, environment={"BIG": "x" * room})

        assert stack.invoke("settled").json()["body"] == str(room)
        assert create(stack, "unsettled", environment={"BIG": "x" * (room + 1)}) == 422

    def test_of_a_name_ends_at_64_characters(self, stack: Stack) -> None:
        longest = "n" * limits.FUNCTION_NAME_MAX
        stack.deploy(longest, {"app.py": ECHO})

        assert stack.invoke(longest, 1).json()["body"] == "1"
        assert create(stack, longest + "n") == 422

    def test_of_memory_is_kept_from_the_function(self, stack: Stack) -> None:
        source = (
            "def handler(event, context):\n"
            "    return context.memory_limit_in_mb, len(b'x' * (event << 20))\n"
        )
        stack.deploy("small", {"app.py": source}, memorySize=128)

        fits, over = stack.invoke("small", 32), stack.invoke("small", 512)

        assert (fits.status_code, fits.json()["body"]) == (200, f'["128",{32 << 20}]')
        assert (over.status_code, over.json()["type"]) == (502, "/problems/out-of-memory")
