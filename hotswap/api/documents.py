"""The OpenAPI document and the page that shows it; both served from here, without inline script."""

from drf_spectacular.renderers import OpenApiJsonRenderer2
from drf_spectacular.views import SpectacularAPIView, SpectacularSwaggerSplitView


class OpenApiDocument(SpectacularAPIView):
    """`/api/v1/openapi.json`."""

    renderer_classes = [OpenApiJsonRenderer2]


class ApiPage(SpectacularSwaggerSplitView):
    """`/api/docs`: the document, to read and to try."""

    url_name = "openapi"
