"""Pages of long lists by the last row's place, so that page 1,000 costs what page 1 costs."""

import base64
import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Generic, TypeVar

from django.db.models import Model, Q, QuerySet

from hotswap.core.errors import BadRequest

T = TypeVar("T", bound=Model)


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """Some rows, and the cursor of the next ones; empty at the end."""

    rows: list[T]
    next_cursor: str = ""


def page_of(
    rows: QuerySet[T], *, order: tuple[str, str], cursor: str = "", size: int = 50
) -> Page[T]:
    """One page in the given order.

    Args:
        order: two columns, `-` for falling; together they are unique.
        cursor: from the page before; empty is the first page.

    Raises:
        BadRequest: a cursor that we did not make.
    """
    if cursor:
        rows = rows.filter(_beyond(order, _opened(cursor)))
    found = list(rows.order_by(*order)[: size + 1])
    if len(found) <= size:
        return Page(found)
    return Page(found[:size], _cursor(found[size - 1], order))


def _beyond(order: tuple[str, str], values: list[Any]) -> Q:
    (first, second), (a, b) = order, values
    column, tie = first.lstrip("-"), second.lstrip("-")
    past = Q(**{f"{column}__{'lt' if first[0] == '-' else 'gt'}": a})
    tied = Q(**{column: a, f"{tie}__{'lt' if second[0] == '-' else 'gt'}": b})
    return past | tied


def _cursor(row: Model, order: tuple[str, str]) -> str:
    values = [getattr(row, name.lstrip("-")) for name in order]
    plain = [value.isoformat() if isinstance(value, datetime) else value for value in values]
    return base64.urlsafe_b64encode(json.dumps(plain, default=str).encode()).decode().rstrip("=")


def _opened(cursor: str) -> list[Any]:
    try:
        values = json.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
        a, b = values
    except ValueError:
        raise BadRequest("This page's address is damaged; start from the first page.") from None
    return [_moment(a), _moment(b)]


def _moment(value: Any) -> Any:
    """A cursor's text as a moment where it is one; names never have a T and a colon."""
    if isinstance(value, str) and "T" in value and ":" in value:
        return datetime.fromisoformat(value)
    return value
