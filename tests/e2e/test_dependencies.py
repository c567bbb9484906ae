"""Functions that bring real libraries along, called over HTTP."""

import base64
import io
import struct
import time
import zlib

import pytest

from tests.e2e.dependencies import NODE_PACKAGES, PILLOW, node_packages, python_package
from tests.e2e.stack import PYTHON_RUNTIME, Stack, package

THUMBNAIL = '''\
"""Makes a thumbnail of the image that is sent."""

import base64
import io

from PIL import Image


def handler(event, context):
    image = Image.open(io.BytesIO(event))
    image.thumbnail((64, 64))
    made = io.BytesIO()
    image.save(made, "JPEG")
    return {
        "statusCode": 200,
        "headers": {"Content-Type": "image/jpeg", "X-Format": image.format or "changed"},
        "body": base64.b64encode(made.getvalue()).decode(),
        "isBase64Encoded": True,
    }
'''

TICKET = """\
import { createRequire } from 'node:module';
import { nanoid } from 'nanoid';

const ms = createRequire(import.meta.url)('ms');

export const handler = async (event) => ({ id: nanoid(10), milliseconds: ms(event.lasts) });
"""

pytestmark = pytest.mark.root


class TestThumbnail:
    def test_of_an_image_is_made_by_pillow_from_the_zip(self, each_stack: Stack) -> None:
        _, version = PYTHON_RUNTIME.split("python")
        files = {**python_package(PILLOW, version), "app.py": THUMBNAIL}
        name = f"thumbnail-{time.time_ns()}"
        created = each_stack.api.post(
            "/api/v1/functions",
            json={"name": name, "runtime": PYTHON_RUNTIME, "handler": "app.handler"},
        )
        uploaded = each_stack.api.post(
            f"/api/v1/functions/{name}/versions",
            content=package(files),
            headers={"Content-Type": "application/zip"},
        )

        answer = each_stack.gateway.post(
            f"/api/v1/functions/{name}/invoke",
            content=png(320, 160),
            headers={"X-HotSwap-Mode": "raw", "Content-Type": "image/png"},
        )

        assert (created.status_code, uploaded.status_code) == (201, 201), uploaded.text
        assert (answer.status_code, answer.headers["content-type"]) == (200, "image/jpeg")
        assert jpeg_size(answer.content) == (64, 32)

    def test_comes_back_in_an_envelope_too(self, stack: Stack) -> None:
        files = {"app.py": "def handler(event, context):\n    return bytes(range(256))\n"}
        stack.deploy("all-bytes", files)

        reply = stack.invoke("all-bytes").json()

        assert reply["isBase64Encoded"] is True
        assert base64.b64decode(reply["body"]) == bytes(range(256))


class TestNodePackages:
    def test_are_found_in_node_modules(self, each_stack: Stack) -> None:
        runtime = newest_node(each_stack)
        files = {**node_packages(*NODE_PACKAGES), "index.mjs": TICKET}
        name = f"ticket-{time.time_ns()}"
        each_stack.deploy(name, files, runtime=runtime, handler="index.handler")

        answers = [
            each_stack.gateway.post(
                f"/api/v1/functions/{name}/invoke",
                json={"lasts": "2 days"},
                headers={"X-HotSwap-Mode": "raw"},
            ).json()
            for _ in range(2)
        ]

        assert [answer["milliseconds"] for answer in answers] == [172_800_000] * 2
        assert [len(answer["id"]) for answer in answers] == [10, 10]
        assert answers[0]["id"] != answers[1]["id"]


def newest_node(stack: Stack) -> str:
    """The newest Node.js that this platform's runner offers."""
    [runner] = stack.api.get("/api/v1/runners").json()["items"]
    found = sorted(name for name in runner["runtimes"] if name.startswith("node"))
    if not found:
        pytest.skip("this machine has no Node.js")
    return found[-1]


def png(width: int, height: int) -> bytes:
    """A picture with a gradient, as a PNG file."""
    rows = b"".join(
        b"\0" + bytes(v for x in range(width) for v in (x % 256, y % 256, 128))
        for y in range(height)
    )
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    )


def jpeg_size(data: bytes) -> tuple[int, int]:
    """Width and height of a JPEG file, from its first frame header."""
    stream = io.BytesIO(data)
    assert stream.read(2) == b"\xff\xd8"
    while marker := stream.read(2):
        (length,) = struct.unpack(">H", stream.read(2))
        segment = stream.read(length - 2)
        if marker == b"\xff\xc0":
            height, width = struct.unpack(">xHH", segment[:5])
            return width, height
    raise AssertionError("no frame in this JPEG")
