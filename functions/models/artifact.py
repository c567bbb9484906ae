"""Code packages, by their content."""

from django.db import models


class Artifact(models.Model):
    """One package in the store. Immutable; removed when no version uses it."""

    sha256 = models.CharField(max_length=64, primary_key=True)
    size_bytes = models.PositiveIntegerField()
    unpacked_bytes = models.PositiveIntegerField()
    files = models.PositiveIntegerField()
    created_at = models.DateTimeField()
    used_at = models.DateTimeField(
        db_index=True, help_text="last upload or release; garbage collection leaves it a while"
    )

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=models.Q(sha256__regex=r"^[0-9a-f]{64}$"), name="artifact_sha256"
            ),
        ]

    def __str__(self) -> str:
        return self.sha256
