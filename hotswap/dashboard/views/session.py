"""Signing in. Tries are counted with those of the API."""

from typing import Any

from django import forms
from django.contrib.auth.forms import AuthenticationForm
from django.contrib.auth.views import LoginView

from hotswap.access import services as access
from hotswap.core.errors import HotSwapError


class SignInForm(AuthenticationForm):
    """User name and password; too many tries are refused before the password is looked at."""

    error_messages = {
        "invalid_login": "The user name or the password is wrong.",
        "inactive": "The user name or the password is wrong.",
    }

    def clean(self) -> dict[str, Any]:
        """Count the try, then check it."""
        address = self.request.META.get("REMOTE_ADDR", "") if self.request else ""
        try:
            access.sign_in_count(f"{address} {self.cleaned_data.get('username', '').lower()}")
        except HotSwapError as error:
            raise forms.ValidationError(error.detail) from None
        return super().clean()


class SignIn(LoginView):
    """The sign-in page; people who are signed in go on to where they wanted to be."""

    template_name = "portal/sign_in.html"
    authentication_form = SignInForm
    redirect_authenticated_user = True
