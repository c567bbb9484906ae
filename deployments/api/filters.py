"""What a list of deployments may be filtered by."""

from typing import Any

from django.db.models import QuerySet
from django_filters import rest_framework as filters

from deployments.models import Deployment
from deployments.states import TERMINAL, Phase
from deployments.strategies.base import strategy_named


class DeploymentFilter(filters.FilterSet):
    """`?function=&alias=&environment=&strategy=&phase=&active=&createdBy=&since=`.

    Filters the rows of `deployments.selectors.deployment_list`, which know their `phase`.
    """

    function = filters.CharFilter(field_name="function__name")
    alias = filters.CharFilter(field_name="alias")
    environment = filters.CharFilter(field_name="alias", help_text="the same as alias")
    strategy = filters.CharFilter(method="by_strategy")
    phase = filters.MultipleChoiceFilter(
        method="by_phase", choices=[(phase, phase) for phase in Phase], help_text="of several, any"
    )
    active = filters.BooleanFilter(method="by_active", help_text="false: those that are over")
    createdBy = filters.CharFilter(field_name="created_by")  # noqa: N815  (the API's spelling)
    since = filters.IsoDateTimeFilter(
        field_name="created_at", lookup_expr="gte", help_text="made at or after this time"
    )

    class Meta:
        model = Deployment
        fields: list[str] = []

    def by_strategy(self, queryset: QuerySet[Any], name: str, value: str) -> QuerySet[Any]:
        """Raises InvalidInput for a name that no strategy has."""
        return queryset.filter(strategy=strategy_named(value))

    def by_phase(self, queryset: QuerySet[Any], name: str, value: list[str]) -> QuerySet[Any]:
        return queryset.filter(phase__in=value) if value else queryset

    def by_active(self, queryset: QuerySet[Any], name: str, value: bool) -> QuerySet[Any]:
        over = [str(phase) for phase in TERMINAL]
        return queryset.exclude(phase__in=over) if value else queryset.filter(phase__in=over)
