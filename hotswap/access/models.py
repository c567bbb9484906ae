"""Personal access tokens. Users are Django's own until teams and roles arrive."""

from django.conf import settings
from django.contrib.postgres.fields import ArrayField
from django.db import models


class PersonalAccessToken(models.Model):
    """A long-lived token of one user, known only by its SHA-256 after it was shown once."""

    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="access_tokens"
    )
    name = models.CharField(max_length=64)
    hint = models.CharField(max_length=12, help_text="first characters, to tell tokens apart")
    sha256 = models.CharField(max_length=64, unique=True)
    scopes = ArrayField(models.CharField(max_length=64))
    created_at = models.DateTimeField()
    expires_at = models.DateTimeField(null=True)
    last_used_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["user", "name"], name="access_token_user_name"),
        ]

    def __str__(self) -> str:
        return f"{self.name} ({self.hint}…)"
