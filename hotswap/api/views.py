"""What every API view does: scopes, idempotency, conditional reads, and the wait for gateways."""

from typing import Any, ClassVar, cast

from django.contrib.auth.models import User
from django.db.models import QuerySet
from django.http import HttpResponse, HttpResponseNotModified
from django.http.response import HttpResponseBase
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.serializers import BaseSerializer
from rest_framework.viewsets import ViewSet

from hotswap.api import concurrency, idempotency
from hotswap.api.pagination import CursorPages
from hotswap.records import table

_SAFE = ("GET", "HEAD", "OPTIONS")


class ApiViewSet(ViewSet):
    """Base of all API views.

    After a successful write the answer waits until every live gateway has the routing table
    that the write made: "201 Created" means that the next call finds it.

    Attributes:
        scopes: action -> the scope it needs; an action without one is closed.
        orders: names that lists may be ordered by -> columns; the first is the default.
        is_repeatable: False keeps answers with secrets out of the idempotency store.
    """

    scopes: ClassVar[dict[str, str]] = {}
    orders: ClassVar[dict[str, str]] = {}
    is_repeatable: ClassVar[bool] = True
    _claim: idempotency.Claim | None = None

    @property
    def user(self) -> User:
        """The caller, whom the permission check has found to be somebody."""
        return cast(User, self.request.user)

    @property
    def actor(self) -> str:
        """The caller's name, for records."""
        return self.user.get_username()

    def page(self, queryset: QuerySet[Any], serializer: type[BaseSerializer[Any]]) -> Response:
        """One page of a list, ordered and cut as the query asks."""
        pages = CursorPages()
        rows = pages.paginate_queryset(queryset, self.request, view=self)
        return pages.get_paginated_response(serializer(rows, many=True).data)

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        super().initial(request, *args, **kwargs)
        if request.method not in _SAFE and self.is_repeatable:
            self._claim = idempotency.claim(request)

    def handle_exception(self, exc: Exception) -> HttpResponseBase:  # type: ignore[override]
        if isinstance(exc, idempotency.Replay):
            answer = exc.answer
            response = HttpResponse(bytes(answer.body), status=answer.status)
            del response["Content-Type"]
            for name, value in answer.headers.items():
                response[name] = value
            response["Idempotency-Replayed"] = "true"
            return response
        return super().handle_exception(exc)

    def finalize_response(  # type: ignore[override]  # replays and downloads are Django's
        self, request: Request, response: Any, *args: Any, **kwargs: Any
    ) -> HttpResponseBase:
        final: HttpResponseBase = super().finalize_response(request, response, *args, **kwargs)
        if request.method not in _SAFE and final.status_code < 400:
            table.wait_acked()
        if self._claim is not None:
            self._claim.settle(final)
        if request.method == "GET" and concurrency.is_known(request, final):
            return HttpResponseNotModified(headers={"ETag": final["ETag"]})
        return final
