"""ETag and If-Match: nobody overwrites what they have not seen."""

from django.http.response import HttpResponseBase
from rest_framework.request import Request
from rest_framework.response import Response

from hotswap.db.rows import Versioned, row_tag


def expected(request: Request) -> frozenset[str] | None:
    """Row tags that the caller knows, from `If-Match`; None when any state is fine."""
    header = request.headers.get("If-Match", "").strip()
    return None if header in ("", "*") else _tags(header)


def tagged(response: Response, row: Versioned) -> Response:
    """Add the row's `ETag`."""
    response["ETag"] = f'"{row_tag(row)}"'
    return response


def is_known(request: Request, response: HttpResponseBase) -> bool:
    """Whether `If-None-Match` names what `response` would send."""
    header = request.headers.get("If-None-Match", "")
    tag = response.get("ETag", "").strip('"')
    return bool(tag) and tag in _tags(header)


def _tags(header: str) -> frozenset[str]:
    return frozenset(part.strip().removeprefix("W/").strip('"') for part in header.split(","))
