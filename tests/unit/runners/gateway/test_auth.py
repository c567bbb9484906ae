"""Checking Authorization headers."""

import time

import jwt
import msgspec
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from hotswap.core.errors import Forbidden, Unauthenticated
from hotswap.wire.table import KeyRoute
from runners.gateway.auth import Authenticator

KEY = Ed25519PrivateKey.generate()
OTHER = Ed25519PrivateKey.generate()
PEM = (
    KEY.public_key()
    .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    .decode()
)


@pytest.fixture
def auth() -> Authenticator:
    made = Authenticator()
    made.apply({"key/k1": msgspec.json.encode(KeyRoute("k1", "EdDSA", PEM))})
    return made


def bearer(
    key: object = KEY, kid: str = "k1", algorithm: str = "EdDSA", **changes: object
) -> bytes:
    claims = {
        "iss": "hotswap", "sub": "ada", "exp": time.time() + 60, "scopes": ["functions:invoke"],
    } | changes  # fmt: skip
    claims = {name: value for name, value in claims.items() if value is not None}
    return b"Bearer " + jwt.encode(claims, key, algorithm, headers={"kid": kid}).encode()


class TestAuthenticator:
    def test_takes_a_good_token(self, auth: Authenticator) -> None:
        assert auth.grant(bearer()).user == "ada"

    @pytest.mark.parametrize(
        "header",
        [
            None,
            b"",
            b"Bearer ",
            b"Bearer a.b.c",
            b"Basic YTpi",
            bearer(OTHER),
            bearer(kid="k2"),
            bearer(exp=time.time() - 60),
            bearer(exp=None),
            bearer(iss="elsewhere"),
            bearer(sub=None),
            bearer("x" * 32, algorithm="HS256"),
            bearer(PEM[27:60], algorithm="HS256"),
            b"Bearer " + jwt.encode({"sub": "ada"}, None, "none", headers={"kid": "k1"}).encode(),
        ],
        ids=[
            "nothing", "empty", "no token", "not a token", "basic", "other key", "unknown key",
            "expired", "no expiry", "other issuer", "nobody", "other algorithm",
            "public key as secret", "unsigned",
        ],
    )  # fmt: skip
    def test_refuses(self, auth: Authenticator, header: bytes | None) -> None:
        with pytest.raises(Unauthenticated):
            auth.grant(header)

    def test_refuses_a_token_without_the_scope(self, auth: Authenticator) -> None:
        with pytest.raises(Forbidden):
            auth.grant(bearer(scopes=["functions:read"]))

    @pytest.mark.parametrize("scopes", [None, "functions:invoke", {"functions:invoke": True}])
    def test_takes_scopes_only_as_a_list(self, auth: Authenticator, scopes: object) -> None:
        with pytest.raises(Forbidden):
            auth.grant(bearer(scopes=scopes))

    def test_forgets_what_it_remembered_when_the_key_goes(self, auth: Authenticator) -> None:
        header = bearer()
        auth.grant(header)

        auth.apply({"key/k1": None})

        with pytest.raises(Unauthenticated):
            auth.grant(header)
