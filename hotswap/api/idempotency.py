"""`Idempotency-Key`: the repeat of an unsafe request gets the first answer."""

import hashlib
from typing import Final

from django.http.response import HttpResponseBase
from rest_framework.request import Request
from rest_framework.response import Response

from hotswap.core import clock
from hotswap.core.errors import BadRequest
from hotswap.records import services as records
from hotswap.records.models import IdempotencyKey

HEADER: Final = "Idempotency-Key"
KEY_MAX: Final = 255
_KEPT_HEADERS: Final = ("Content-Type", "ETag", "Location")


class Replay(Exception):  # control flow of one request, never an error
    """The request was answered before; `answer` is the row that has it."""

    def __init__(self, answer: IdempotencyKey) -> None:
        super().__init__()
        self.answer = answer


class Claim:
    """A key that this request holds until it is answered."""

    def __init__(self, actor: str, key: str) -> None:
        self._actor = actor
        self._key = key

    def settle(self, response: HttpResponseBase) -> None:
        """Keep the answer; a failure of ours frees the key, so that a repeat may succeed."""
        if response.status_code >= 500 or not isinstance(response, Response):
            records.idempotency_release(actor=self._actor, key=self._key)
            return
        response.add_post_render_callback(self._keep)

    def _keep(self, response: Response) -> None:
        headers = {name: response[name] for name in _KEPT_HEADERS if name in response}
        records.idempotency_answer(
            actor=self._actor,
            key=self._key,
            status=response.status_code,
            headers=headers,
            body=response.content,
        )


def claim(request: Request) -> Claim | None:
    """Claim the request's key; None without the header.

    Raises:
        Replay: it was answered before.
        InvalidInput, Conflict: as `idempotency_claim`.
    """
    key = request.headers.get(HEADER, "")
    if not key:
        return None
    if len(key) > KEY_MAX or not key.isprintable():
        raise BadRequest(f"{HEADER} has 1 to {KEY_MAX} printable characters.")
    actor = request.user.get_username()
    known = records.idempotency_claim(
        actor=actor, key=key, request_sha256=_fingerprint(request), now=clock.utc_now()
    )
    if known is not None:
        raise Replay(known)
    return Claim(actor, key)


def _fingerprint(request: Request) -> str:
    """Hash of method, address and body. Reading the body here keeps it for the parsers."""
    http = request._request
    digest = hashlib.sha256(f"{http.method} {http.get_full_path()}\n".encode())
    digest.update(http.headers.get("Content-Type", "").partition(";")[0].encode() + b"\n")
    digest.update(http.body)
    return digest.hexdigest()
