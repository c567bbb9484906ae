"""Tokens over HTTP."""

from typing import ClassVar

from django.db.models import QuerySet
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from hotswap.access import serializers, services, signing
from hotswap.access.models import PersonalAccessToken
from hotswap.api.pagination import CursorPages
from hotswap.api.permissions import PUBLIC
from hotswap.api.views import ApiViewSet
from hotswap.core import clock


class AccessTokenViewSet(ApiViewSet):
    """Sign in."""

    scopes: ClassVar = {"create": PUBLIC}
    authentication_classes = []
    is_repeatable: ClassVar = False

    @extend_schema(request=serializers.SignIn, responses={200: serializers.AccessToken})
    def create(self, request: Request) -> Response:
        """Get an access token, good for 15 minutes, for a user name and password."""
        command = serializers.SignIn(data=request.data)
        command.is_valid(raise_exception=True)

        token = services.access_token_issue(
            username=command.validated_data["username"],
            password=command.validated_data["password"],
            address=request.META.get("REMOTE_ADDR", ""),
            wanted=command.validated_data.get("scopes"),
            now=clock.utc_now(),
        )

        expires_in = int(signing.LIFETIME.total_seconds())
        answer = {"accessToken": token, "tokenType": "Bearer", "expiresIn": expires_in}
        return Response(answer, headers={"Cache-Control": "no-store"})


class PersonalTokenViewSet(ApiViewSet):
    """The caller's personal access tokens."""

    scopes: ClassVar = {"list": "tokens:read", "create": "tokens:write", "destroy": "tokens:write"}
    orders: ClassVar = {"-createdAt": "-created_at", "name": "name"}
    is_repeatable: ClassVar = False
    serializer_class = serializers.PersonalToken
    pagination_class = CursorPages

    def get_queryset(self) -> QuerySet[PersonalAccessToken]:
        return PersonalAccessToken.objects.filter(user=self.user)

    @extend_schema(responses=serializers.PersonalToken(many=True))
    def list(self, request: Request) -> Response:
        """List your personal access tokens."""
        return self.page(self.get_queryset(), serializers.PersonalToken)

    @extend_schema(
        request=serializers.PersonalTokenRequest, responses={201: serializers.NewPersonalToken}
    )
    def create(self, request: Request) -> Response:
        """Make a personal access token. Its text is shown in this answer and never again."""
        command = serializers.PersonalTokenRequest(data=request.data)
        command.is_valid(raise_exception=True)

        issued = services.personal_token_create(
            user=self.user,
            name=command.validated_data["name"],
            wanted=command.validated_data["scopes"],
            expires_at=command.validated_data["expiresAt"],
            now=clock.utc_now(),
        )

        answer = {**serializers.PersonalToken(issued.row).data, "token": issued.plain}
        return Response(answer, status=201, headers={"Cache-Control": "no-store"})

    @extend_schema(responses={204: None})
    def destroy(self, request: Request, token_id: int) -> Response:
        """Revoke one of your personal access tokens."""
        services.personal_token_revoke(user=self.user, token_id=token_id, now=clock.utc_now())
        return Response(status=204)
