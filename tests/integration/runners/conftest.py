"""The doors of the control plane. Models are imported late: Django is not loaded here yet."""

from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from rest_framework.test import APIClient

    from tests.integration.runners.reporting import Deployed, Intake


@pytest.fixture
def deployed(db: None) -> "Callable[..., Deployed]":
    """Makes functions."""
    from tests.integration.runners.reporting import deploy

    return deploy


@pytest.fixture
def intake() -> "Intake":
    """One process that reports."""
    from tests.integration.runners.reporting import Intake

    return Intake()


@pytest.fixture
def api(db: None) -> "APIClient":
    """A caller with all reading scopes."""
    from tests.integration.runners.reporting import reader

    return reader("functions:read", "invocations:read", "runners:read")
