"""Lost updates: a tag that changes with every change of a row."""

from collections.abc import Collection
from typing import Any, Protocol

from hotswap.core.errors import StaleRow


class Versioned(Protocol):
    """A row that counts its changes."""

    pk: Any
    row_version: int


def row_tag(row: Versioned) -> str:
    """Names this state of this row; a row made anew under the same name has another tag."""
    return f"{row.pk}-{row.row_version}"


def check_unchanged(row: Versioned, expected: Collection[str] | None) -> None:
    """Raise StaleRow unless the locked row is in one of the expected states; None expects any."""
    if expected is not None and row_tag(row) not in expected:
        raise StaleRow("Somebody changed this since you read it; read it again and repeat.")
