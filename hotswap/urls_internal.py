"""What our own gateways and runners call: `/internal/v1/`, behind the internal token."""

from django.urls import include, path

from functions.api.internal import artifact
from hotswap.api.table_feed import table_feed

urlpatterns = [
    path("table", table_feed, name="internal-table"),
    path("artifacts/<str:sha256>", artifact, name="internal-artifact"),
    path("", include("runners.api.internal")),
    path("", include("deployments.api.internal")),
]
