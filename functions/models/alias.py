"""Movable names that map to weighted versions."""

from django.db import models
from django.db.models import Q

from functions.models.function import Function
from functions.models.version import FunctionVersion
from hotswap.core import limits
from hotswap.db.models import TimestampedModel

NAME_PATTERN = r"^[A-Za-z][A-Za-z0-9_-]{0,63}$"


class Alias(TimestampedModel):
    """A name of a function. At commit its weights must sum to 10,000 (deferred trigger)."""

    function = models.ForeignKey(Function, on_delete=models.CASCADE, related_name="aliases")
    name = models.CharField(max_length=64)
    description = models.CharField(max_length=1_000, blank=True)
    row_version = models.PositiveIntegerField(default=1)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["function", "name"], name="alias_function_name"),
            # A name like "v3" would read as a version number in every URL.
            models.CheckConstraint(
                condition=Q(name__regex=NAME_PATTERN) & ~Q(name__regex=r"^[vV][0-9]+$"),
                name="alias_name",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.function_id}:{self.name}"


class AliasTarget(models.Model):
    """One version's share of an alias, in basis points. RESTRICT keeps the version alive."""

    alias = models.ForeignKey(Alias, on_delete=models.CASCADE, related_name="targets")
    version = models.ForeignKey(
        FunctionVersion, on_delete=models.RESTRICT, related_name="alias_targets"
    )
    weight_bps = models.PositiveIntegerField()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["alias", "version"], name="alias_target_version"),
            models.CheckConstraint(
                condition=Q(weight_bps__range=(1, limits.BASIS_POINTS)), name="alias_target_weight"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.version_id} {self.weight_bps} bps"
