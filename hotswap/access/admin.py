"""Access tokens and users for staff."""

from django.contrib import admin, messages
from django.contrib.auth.admin import GroupAdmin as DjangoGroupAdmin
from django.contrib.auth.admin import UserAdmin as DjangoUserAdmin
from django.contrib.auth.models import Group, User
from django.db.models import QuerySet
from django.http import HttpRequest
from unfold.admin import ModelAdmin
from unfold.forms import AdminPasswordChangeForm, UserChangeForm, UserCreationForm

from hotswap.access.models import PersonalAccessToken
from hotswap.access.services import personal_token_revoke
from hotswap.core import clock
from hotswap.db.admin import ReadOnlyAdmin

admin.site.unregister(User)
admin.site.unregister(Group)


@admin.register(User)
class UserAdmin(DjangoUserAdmin, ModelAdmin):  # type: ignore[type-arg]  # not at run time
    """Django's users in the portal's clothes."""

    form = UserChangeForm
    add_form = UserCreationForm
    change_password_form = AdminPasswordChangeForm


@admin.register(Group)
class GroupAdmin(DjangoGroupAdmin, ModelAdmin):
    """Django's groups in the portal's clothes."""


@admin.register(PersonalAccessToken)
class PersonalAccessTokenAdmin(ReadOnlyAdmin):
    """Tokens of all users; their plain text is not known here either."""

    list_display = ("name", "user", "hint", "created_at", "last_used_at", "expires_at")
    list_select_related = ("user",)
    search_fields = ("name", "user__username")
    ordering = ("-created_at",)
    exclude = ("sha256",)
    actions = ("revoke",)

    @admin.action(description="Revoke at once")
    def revoke(self, request: HttpRequest, queryset: QuerySet[PersonalAccessToken]) -> None:
        """Revoke the chosen tokens."""
        now, count = clock.utc_now(), 0
        for token in queryset.select_related("user"):
            personal_token_revoke(user=token.user, token_id=token.pk, now=now)
            count += 1
        messages.success(request, f"Revoked: {count}.")
