"""`GET /internal/v1/artifacts/<sha256>`: package bytes for runners."""

from collections.abc import AsyncIterator, Iterator
from typing import Final

from asgiref.sync import sync_to_async
from django.http import HttpRequest, StreamingHttpResponse
from django.views.decorators.http import require_GET

from functions import selectors, storage
from hotswap.api.internal import internal_only
from hotswap.core.errors import NotFound

_END: Final = b""


@internal_only
@require_GET
async def artifact(request: HttpRequest, sha256: str) -> StreamingHttpResponse:
    """Stream a package. The runner checks the hash: the store is not trusted."""
    row = await sync_to_async(selectors.artifact_get)(sha256=sha256)
    chunks = storage.chunks(row.sha256)
    try:
        first = await sync_to_async(_next)(chunks)
    except FileNotFoundError:
        raise NotFound("The package store does not have this package.") from None
    response = StreamingHttpResponse(_streamed(first, chunks), content_type="application/zip")
    response["Content-Length"] = str(row.size_bytes)
    return response


def _next(chunks: Iterator[bytes]) -> bytes:
    return next(chunks, _END)


async def _streamed(chunk: bytes, chunks: Iterator[bytes]) -> AsyncIterator[bytes]:
    while chunk:
        yield chunk
        chunk = await sync_to_async(_next)(chunks)
