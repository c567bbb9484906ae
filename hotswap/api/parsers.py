"""Request bodies with a bound: read this much and not a byte more."""

import base64
import binascii
import json
from collections.abc import Mapping
from typing import IO, Any

from rest_framework.exceptions import ParseError
from rest_framework.parsers import BaseParser

from hotswap.core.errors import PayloadTooLarge
from hotswap.core.limits import MIB, PACKAGE_MAX_BYTES


def read_bounded(stream: IO[bytes], limit: int) -> bytes:
    """All of `stream`; raises PayloadTooLarge past `limit` bytes."""
    body = stream.read(limit + 1)
    if len(body) > limit:
        raise PayloadTooLarge(f"The request may have at most {limit:,} bytes.")
    return body


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


class JsonParser(BaseParser):
    """Strict JSON; every object, NaN and depth that could surprise is a parse error."""

    media_type = "application/json"
    limit = 1 * MIB

    def parse(
        self,
        stream: IO[bytes],
        media_type: str | None = None,
        parser_context: Mapping[str, Any] | None = None,
    ) -> Any:
        body = read_bounded(stream, self.limit)
        try:
            return json.loads(body, parse_constant=_no_constant)
        except (ValueError, RecursionError) as exc:
            raise ParseError(f"The body is not JSON: {str(exc)[:200]}.") from None


class PackageJsonParser(JsonParser):
    """JSON that may carry a package as base64."""

    limit = PACKAGE_MAX_BYTES * 4 // 3 + 1 * MIB


def decode_base64(text: str) -> bytes:
    """Bytes of standard base64; raises ParseError."""
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise ParseError("The package is not base64.") from None
