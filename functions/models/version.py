"""An immutable snapshot of code and configuration."""

from django.db import models
from django.db.models import Q

from functions.models.artifact import Artifact
from functions.models.function import Function, settings_constraints


class FunctionVersion(models.Model):
    """Numbered from 1 without gaps. A database trigger refuses every UPDATE."""

    function = models.ForeignKey(Function, on_delete=models.CASCADE, related_name="versions")
    number = models.PositiveIntegerField()
    artifact = models.ForeignKey(Artifact, on_delete=models.RESTRICT, related_name="versions")
    runtime = models.CharField(max_length=64)
    handler = models.CharField(max_length=256)
    memory_mib = models.PositiveIntegerField()
    timeout_seconds = models.PositiveIntegerField()
    environment = models.JSONField(default=dict)
    message = models.CharField(max_length=500, blank=True)
    author = models.CharField(max_length=150)
    created_at = models.DateTimeField()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["function", "number"], name="version_number"),
            models.CheckConstraint(condition=Q(number__gte=1), name="version_number_from_1"),
            *settings_constraints("version"),
        ]

    def __str__(self) -> str:
        return f"{self.function_id}:v{self.number}"
