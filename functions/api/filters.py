"""What a list of functions may be filtered by."""

from typing import Any

from django.db.models import Q, QuerySet
from django_filters import rest_framework as filters

from functions.models import Function
from hotswap.core.errors import UnknownPlugin
from runtimes import catalog


class FunctionFilter(filters.FilterSet):
    """`?search=&runtime=&tag=&createdBy=`."""

    search = filters.CharFilter(method="by_text", help_text="in name and description")
    runtime = filters.CharFilter(method="by_runtime")
    tag = filters.CharFilter(method="by_tag")
    createdBy = filters.CharFilter(field_name="created_by")  # noqa: N815  (the API's spelling)

    class Meta:
        model = Function
        fields: list[str] = []

    def by_text(self, queryset: QuerySet[Any], name: str, value: str) -> QuerySet[Any]:
        return queryset.filter(Q(name__icontains=value) | Q(description__icontains=value))

    def by_runtime(self, queryset: QuerySet[Any], name: str, value: str) -> QuerySet[Any]:
        try:
            return queryset.filter(runtime=catalog.get(value).name)
        except UnknownPlugin:
            return queryset.none()

    def by_tag(self, queryset: QuerySet[Any], name: str, value: str) -> QuerySet[Any]:
        return queryset.filter(tags__contains=[value])
