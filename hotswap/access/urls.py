"""`/api/v1/auth/`."""

from django.urls import path

from hotswap.access.views import AccessTokenViewSet, PersonalTokenViewSet

urlpatterns = [
    path("auth/token", AccessTokenViewSet.as_view({"post": "create"}), name="auth-token"),
    path(
        "auth/tokens",
        PersonalTokenViewSet.as_view({"get": "list", "post": "create"}),
        name="auth-tokens",
    ),
    path(
        "auth/tokens/<int:token_id>",
        PersonalTokenViewSet.as_view({"delete": "destroy"}),
        name="auth-token-detail",
    ),
]
