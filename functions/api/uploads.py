"""The ways a package can arrive: base64 or text files in JSON, raw bytes, a form."""

import io
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import IO, Any, cast

from rest_framework.exceptions import ParseError
from rest_framework.parsers import BaseParser, MultiPartParser
from rest_framework.request import Request

from functions import packages, selectors
from functions.api.serializers import NewVersion
from functions.models import Function
from functions.packages import Package
from hotswap.api.parsers import PackageJsonParser, decode_base64
from hotswap.core.errors import InvalidInput

_FORM_FIELDS = ("package", "file", "code", "zipFile")


class ZipParser(BaseParser):
    """The body is the package; message and description come in the query."""

    media_type = "application/zip"

    def parse(
        self,
        stream: IO[bytes],
        media_type: str | None = None,
        parser_context: Mapping[str, Any] | None = None,
    ) -> dict[str, Any]:
        return {"package": stream}


class OctetStreamParser(ZipParser):
    """The same for clients that do not name the type."""

    media_type = "application/octet-stream"


PARSERS = [PackageJsonParser, ZipParser, OctetStreamParser, MultiPartParser]


@contextmanager
def uploaded(
    request: Request, fields: Mapping[str, Any], function: Function | None = None
) -> Iterator[Package | None]:
    """The package of a request, judged; None when it brings no code.

    Args:
        fields: the validated JSON fields.
        function: for `baseVersion`.
    """
    with _source(request, fields, function) as source:
        if source is None:
            yield None
            return
        with packages.received(source) as package:
            yield package


def version_fields(request: Request) -> dict[str, Any]:
    """The fields of a new version, from whichever place this kind of body has them in."""
    raw = request.content_type in (ZipParser.media_type, OctetStreamParser.media_type)
    given = request.query_params if raw else request.data
    if not isinstance(given, Mapping):
        raise ParseError("The body must be a JSON object.")
    names = ("message", "description")
    plain = request.content_type == PackageJsonParser.media_type
    data = given if plain else {name: given[name] for name in names if name in given}
    command = NewVersion(data=data)
    command.is_valid(raise_exception=True)
    fields: dict[str, Any] = command.validated_data
    return fields


@contextmanager
def _source(
    request: Request, fields: Mapping[str, Any], function: Function | None
) -> Iterator[IO[bytes] | None]:
    if request.content_type != PackageJsonParser.media_type:
        yield _file(request)
        return
    encoded = _encoded(fields)
    files = fields.get("files")
    if encoded is not None and files is not None:
        raise InvalidInput("files: Give either a zip file or files.")
    if encoded is not None:
        yield io.BytesIO(decode_base64(encoded))
    elif files is not None and fields.get("baseVersion"):
        if function is None:
            raise InvalidInput("baseVersion: A new function has no version yet.")
        base = selectors.version_get(function=function, version=fields["baseVersion"])
        with packages.fetched(base.artifact_id) as path:
            yield packages.with_edits(path, files)
    elif files is not None:
        yield packages.from_files({k: text for k, text in files.items() if text is not None})
    else:
        yield None


def _encoded(fields: Mapping[str, Any]) -> str | None:
    code = fields.get("code", fields.get("zipFile"))
    if isinstance(code, Mapping):
        code = code.get("zipFile")
        if code is None:
            raise InvalidInput("code: It has no zipFile.")
    if code is not None and not isinstance(code, str):
        raise InvalidInput("code: It must be base64 text, or an object with zipFile.")
    return code


def _file(request: Request) -> IO[bytes]:
    fields: Any = request.data
    for name in _FORM_FIELDS:
        file = fields.get(name)
        if hasattr(file, "read"):
            return cast("IO[bytes]", file)
    names = ", ".join(_FORM_FIELDS)
    raise InvalidInput(f"package: The form has no file named one of: {names}.")
