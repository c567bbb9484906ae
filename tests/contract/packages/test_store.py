"""What every package store must do: files on disk, and S3 spoken by a real service."""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from django.test import override_settings

from hotswap.config import Secret, Stores

if TYPE_CHECKING:
    from pytest_django.fixtures import SettingsWrapper

from tests.contract.packages.swift import ACCESS_KEY, REGION, SECRET_KEY, Swift

BYTES = b"PK\x05\x06" + bytes(range(256)) * 4_096  # more than one chunk
SHA256 = hashlib.sha256(BYTES).hexdigest()


@pytest.fixture(scope="module")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stores]:
    """A bucket on a real S3 service."""
    import boto3

    with Swift(tmp_path_factory.mktemp("swift")) as swift:
        client = boto3.client(
            "s3",
            endpoint_url=swift.url,
            region_name=REGION,
            aws_access_key_id=ACCESS_KEY,
            aws_secret_access_key=SECRET_KEY,
        )
        client.create_bucket(Bucket="packages")
        yield Stores(
            s3_endpoint_url=swift.url,
            s3_bucket="packages",
            s3_region=REGION,
            s3_access_key_id=Secret(ACCESS_KEY),
            s3_secret_access_key=Secret(SECRET_KEY),
        )


@pytest.fixture(params=["files", pytest.param("s3", marks=pytest.mark.slow)])
def store(request: pytest.FixtureRequest, settings: "SettingsWrapper", tmp_path: Path) -> str:
    """Packages are kept in this kind of store."""
    from hotswap.settings import package_storage

    if request.param == "s3":
        backend = package_storage(request.getfixturevalue("s3"))
    else:
        backend = package_storage(Stores())
        backend["OPTIONS"] |= {"location": tmp_path}
    settings.STORAGES = {**settings.STORAGES, "default": backend}
    return str(request.param)


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """A package on this disk."""
    path = tmp_path / "package.zip"
    path.write_bytes(BYTES)
    return path


@pytest.mark.usefixtures("store")
class TestStore:
    @pytest.fixture(autouse=True)
    def clean(self, store: str) -> Iterator[None]:
        from functions import storage

        yield
        storage.drop(SHA256)

    def test_gives_back_what_it_was_given(self, package: Path) -> None:
        from functions import storage

        storage.keep(sha256=SHA256, path=package)

        assert storage.size(SHA256) == len(BYTES)
        assert hashlib.sha256(b"".join(storage.chunks(SHA256))).hexdigest() == SHA256
        with storage.opened(SHA256) as file:
            assert file.read(4) == BYTES[:4]

    def test_keeps_a_package_once(self, package: Path) -> None:
        from functions import storage

        storage.keep(sha256=SHA256, path=package)
        storage.keep(sha256=SHA256, path=package)

        assert storage.size(SHA256) == len(BYTES)

    def test_replaces_a_package_that_is_not_whole(self, package: Path, tmp_path: Path) -> None:
        from functions import storage

        torn = tmp_path / "torn.zip"
        torn.write_bytes(BYTES[:100])
        storage.keep(sha256=SHA256, path=torn)
        storage.keep(sha256=SHA256, path=package)

        assert storage.size(SHA256) == len(BYTES)

    def test_says_when_a_package_is_not_there(self) -> None:
        from functions import storage

        assert storage.size(SHA256) is None
        with pytest.raises(FileNotFoundError), storage.opened(SHA256) as file:
            file.read()

    def test_forgets_a_package_and_may_be_asked_to_twice(self, package: Path) -> None:
        from functions import storage

        storage.keep(sha256=SHA256, path=package)
        storage.drop(SHA256)
        storage.drop(SHA256)

        assert storage.size(SHA256) is None


@pytest.mark.slow
def test_wrong_credentials_are_an_error_and_not_an_empty_store(
    s3: Stores, settings: "SettingsWrapper"
) -> None:
    from botocore.exceptions import ClientError

    from functions import storage
    from hotswap.settings import package_storage

    backend = package_storage(s3)
    backend["OPTIONS"] |= {"secret_key": "wrong"}
    with (
        override_settings(STORAGES={**settings.STORAGES, "default": backend}),
        pytest.raises(ClientError),
    ):
        storage.size(SHA256)


@pytest.mark.slow
@pytest.mark.django_db
def test_a_version_is_uploaded_and_downloaded_through_s3(
    s3: Stores, settings: "SettingsWrapper"
) -> None:
    from hotswap.settings import package_storage
    from tests import zips
    from tests.integration.control import client, deployed, downloaded

    settings.STORAGES = {**settings.STORAGES, "default": package_storage(s3)}
    api = client()

    deployed(api)
    answer = api.get("/api/v1/functions/thumbs/versions/v1/code")

    assert downloaded(answer) == zips.packed()
