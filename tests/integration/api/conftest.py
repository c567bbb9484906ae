"""A caller who may do everything, and an empty package store. Imports wait for Django."""

import shutil
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from rest_framework.test import APIClient


@pytest.fixture
def api(db: None) -> "APIClient":
    """A caller with all scopes."""
    from tests.integration.control import client

    return client()


@pytest.fixture(autouse=True)
def empty_store() -> Iterator[None]:
    """No packages of other tests."""
    from hotswap import config

    yield
    shutil.rmtree(config.current().core.state_dir / "packages", ignore_errors=True)


@pytest.fixture(autouse=True)
def nobody_counted() -> None:
    """No tries to sign in of other tests."""
    from django.core.cache import cache

    cache.clear()
