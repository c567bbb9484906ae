"""Tokens as the API shows them."""

from typing import Any

from rest_framework import serializers

from hotswap.access import scopes
from hotswap.access.models import PersonalAccessToken
from hotswap.access.services import TOKEN_NAME_MAX


class SignIn(serializers.Serializer[Any]):
    """User name and password for an access token."""

    username = serializers.CharField(max_length=150)
    password = serializers.CharField(
        max_length=1_024, trim_whitespace=False, style={"input_type": "password"}
    )
    scopes = serializers.ListField(
        child=serializers.ChoiceField(choices=scopes.ALL),
        required=False,
        allow_empty=False,
        help_text="Narrows the token; left out, it may do everything its user may.",
    )


class AccessToken(serializers.Serializer[Any]):
    """An access token."""

    accessToken = serializers.CharField()
    tokenType = serializers.CharField()
    expiresIn = serializers.IntegerField(help_text="seconds")


class PersonalTokenRequest(serializers.Serializer[Any]):
    """A new personal access token."""

    name = serializers.CharField(max_length=TOKEN_NAME_MAX)
    scopes = serializers.ListField(
        child=serializers.ChoiceField(choices=scopes.ALL), allow_empty=False
    )
    expiresAt = serializers.DateTimeField(required=False, allow_null=True, default=None)


class PersonalToken(serializers.ModelSerializer[PersonalAccessToken]):
    """A personal access token without its secret."""

    createdAt = serializers.DateTimeField(source="created_at")
    expiresAt = serializers.DateTimeField(source="expires_at", allow_null=True)
    lastUsedAt = serializers.DateTimeField(source="last_used_at", allow_null=True)

    class Meta:
        model = PersonalAccessToken
        fields = ["id", "name", "hint", "scopes", "createdAt", "expiresAt", "lastUsedAt"]
        read_only_fields = fields


class NewPersonalToken(PersonalToken):
    """A personal access token right after it was made."""

    token = serializers.CharField(help_text="Shown once.")

    class Meta(PersonalToken.Meta):
        fields = [*PersonalToken.Meta.fields, "token"]
        read_only_fields = fields
