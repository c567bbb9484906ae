"""One way to page: a cursor that stays right while rows come and go."""

from typing import Any

from django.db.models import QuerySet
from rest_framework.pagination import CursorPagination
from rest_framework.request import Request
from rest_framework.response import Response

from hotswap.core.errors import InvalidInput


class CursorPages(CursorPagination):
    """`?limit=&order=&cursor=`; a view lists what may be ordered by in `orders`."""

    page_size = 50
    page_size_query_param = "limit"
    max_page_size = 200
    ordering = "-created_at"

    def get_ordering(self, request: Request, queryset: QuerySet[Any], view: Any) -> tuple[str, ...]:
        """The view's first order, or the one asked for; the key last, so that no two are equal."""
        orders: dict[str, str] = view.orders
        name = request.query_params.get("order", next(iter(orders)))
        plain = name.removeprefix("-")
        known = {key.removeprefix("-"): column.removeprefix("-") for key, column in orders.items()}
        if plain not in known:
            names = ", ".join(known)
            raise InvalidInput(f"order: {plain!r} is not one of: {names}.")
        sign = "-" if name.startswith("-") else ""
        return (sign + known[plain], f"{sign}pk")

    def get_paginated_response(self, data: list[Any]) -> Response:
        return Response(
            {"items": data, "next": self.get_next_link(), "previous": self.get_previous_link()}
        )

    def get_paginated_response_schema(self, schema: dict[str, Any]) -> dict[str, Any]:
        link = {"type": ["string", "null"], "format": "uri"}
        return {
            "type": "object",
            "required": ["items", "next", "previous"],
            "properties": {
                "items": {"type": "array", "items": schema},
                "next": link,
                "previous": link,
            },
        }
