"""The control plane's public door, as tests use it."""

import base64
from collections.abc import Mapping
from typing import Any

from django.contrib.auth import get_user_model
from rest_framework.test import APIClient

from hotswap import config
from hotswap.access import scopes, services
from hotswap.core import clock
from hotswap.core.limits import BASIS_POINTS
from tests.zips import HANDLER, packed

FUNCTION = {"name": "thumbs", "runtime": "python3.11", "handler": "main.handler"}


def token(*granted: str, username: str = "ada") -> str:
    """A personal access token of these scopes; none named means all."""
    user, _ = get_user_model().objects.get_or_create(username=username)
    name = f"{username} {'+'.join(granted)}"[:64]
    user.access_tokens.filter(name=name).delete()
    issued = services.personal_token_create(
        user=user, name=name, wanted=granted or scopes.ALL, expires_at=None, now=clock.utc_now()
    )
    return issued.plain


def bearer(text: str) -> APIClient:
    """A caller who shows this token."""
    return APIClient(headers={"Authorization": f"Bearer {text}"})


def client(*granted: str, username: str = "ada") -> APIClient:
    """A caller with these scopes; none named means all."""
    return bearer(token(*granted, username=username))


def downloaded(response: Any) -> bytes:
    """The bytes of a streamed answer."""
    data = b"".join(response.streaming_content)
    response.close()
    return data


def encoded(files: Mapping[str, str | bytes] = HANDLER) -> str:
    """A package as it travels in JSON."""
    return base64.b64encode(packed(files)).decode()


def create(api: APIClient, **fields: Any) -> Any:
    """POST a function."""
    return api.post("/api/v1/functions", {**FUNCTION, **fields})


def upload(api: APIClient, name: str = "thumbs", **fields: Any) -> Any:
    """POST a version."""
    return api.post(f"/api/v1/functions/{name}/versions", {"zipFile": encoded(), **fields})


def deployed(api: APIClient, versions: int = 1, **fields: Any) -> None:
    """A function with so many versions."""
    assert create(api, **fields).status_code == 201
    for _ in range(versions):
        assert upload(api, fields.get("name", "thumbs")).status_code == 201


def point(api: APIClient, alias: str, **weights: int) -> Any:
    """POST an alias; without weights it leads to v1."""
    targets = [{"version": v, "weight": w} for v, w in (weights or {"v1": BASIS_POINTS}).items()]
    return api.post("/api/v1/functions/thumbs/aliases", {"name": alias, "versions": targets})


def internal() -> dict[str, str]:
    """Headers of our own processes."""
    return {"Authorization": f"Bearer {config.current().core.internal_token}"}


def packages_kept() -> list[str]:
    """Everything in the package store."""
    folder = config.current().core.state_dir / "packages"
    return sorted(path.name for path in folder.rglob("*") if path.is_file())
