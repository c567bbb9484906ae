"""What a deployment keeps to itself while it runs: versions, and the alias it moves."""

from django.db import models

from functions.models.function import Function
from functions.models.version import FunctionVersion


class VersionPin(models.Model):
    """Keeps a version from being deleted or pruned. `holder` is such as "deployment <id>"."""

    version = models.ForeignKey(FunctionVersion, models.CASCADE, related_name="pins")
    holder = models.CharField(max_length=64, db_index=True)
    created_at = models.DateTimeField()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["version", "holder"], name="pin_once"),
        ]

    def __str__(self) -> str:
        return f"{self.version_id} for {self.holder}"


class AliasHold(models.Model):
    """Keeps an alias, which may not exist yet, from being made, moved or removed by others."""

    function = models.ForeignKey(Function, models.CASCADE, related_name="alias_holds")
    name = models.CharField(max_length=64)
    holder = models.CharField(max_length=64, db_index=True)
    created_at = models.DateTimeField()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["function", "name"], name="alias_hold_one"),
        ]

    def __str__(self) -> str:
        return f"{self.function_id}:{self.name} for {self.holder}"
