"""What every test gets: a configuration of its own, and real stores once one asks for them.

The addresses of the stores are known before they start. So Django's settings load with
them, and a run of unit tests alone starts no server.
"""

import os
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import django
import pytest

from hotswap.supervisor import embedded

STATE = Path(tempfile.mkdtemp(prefix="hotswap-test-"))
STATE.chmod(0o711)  # the user that PostgreSQL runs as may have to pass through it
(STATE / "static").mkdir()  # where collected files would be; WhiteNoise warns without it
POSTGRES = embedded.postgres(STATE / "postgres", durable=False)
VALKEY = embedded.valkey(STATE / "valkey")

for name in [name for name in os.environ if name.startswith("HOTSWAP_")]:
    del os.environ[name]  # the developer's own settings do not reach the tests
SETTINGS = {
    "DJANGO_SETTINGS_MODULE": "hotswap.settings_test",
    "HOTSWAP_STATE_DIR": str(STATE),
    "HOTSWAP_SECRET_KEY": secrets.token_urlsafe(32),
    "HOTSWAP_DATABASE_URL": POSTGRES.url,
    "HOTSWAP_REDIS_URL": VALKEY.url,
}
os.environ |= SETTINGS


def pytest_configure(config: pytest.Config) -> None:
    """Load Django here: pytest-django would do it before the lines above ran.

    Workers of a parallel run have stores of their own, so they must not inherit ours.
    """
    django.setup()
    if config.getoption("numprocesses", None):
        for name in SETTINGS:
            del os.environ[name]


def pytest_unconfigure() -> None:
    """Leave nothing behind."""
    VALKEY.stop()
    POSTGRES.stop()
    shutil.rmtree(STATE, ignore_errors=True)


@pytest.fixture(scope="session")
def django_db_keepdb() -> bool:
    """The whole server is thrown away at the end: nobody waits for its last connection."""
    return True


@pytest.fixture(scope="session")
def django_db_modify_db_settings(django_db_modify_db_settings: None) -> None:
    """Start PostgreSQL before the first test that needs a database."""
    POSTGRES.start()


@pytest.fixture(scope="session")
def redis_url() -> Iterator[str]:
    """A running Valkey, empty at the start of the session."""
    with VALKEY:
        yield VALKEY.url
