"""The routing table: what the control plane tells gateways and runners.

A table is a set of keyed entries. Each carries the revision in which it last changed; a
feed sends the entries above the revision a process already has, so that one deployment
among ten thousand functions sends one entry. `digest` over all entries is checked after
every change: a process whose digest differs asks for the whole table again.

Keys: `function/<name>`, `split/<function>/<alias>`, `token/<sha256 hex>`, `key/<key id>`.
"""

import hashlib
from collections.abc import Iterable

import msgspec

SCHEMA = 1


class VersionRoute(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """One immutable version as a gateway and a runner see it.

    Attributes:
        id: database id; unique for ever, also after a function is deleted and made again.
        environment: only in the runner's feed; gateways get an empty one.
    """

    id: int
    number: int
    runtime: str
    handler: str
    code_sha256: str
    memory_mib: int
    timeout_ms: int
    concurrency: int = 1
    environment: dict[str, str] = {}


class FunctionRoute(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """One function: its versions, aliases and live limits.

    Attributes:
        aliases: name -> ((version number, weight in basis points), ...), weights sum to 10,000.
        latest: number of the newest version, what `$LATEST` means; 0 when there is none.
        max_instances: instances at once over all versions, per runner.
        reserved_concurrency: calls running at once over all versions; None is no cap.
        max_queue: calls that may wait for an instance, per version.
        idle_timeout_ms: an instance idle for so long is stopped.
    """

    id: int
    name: str
    latest: int
    versions: tuple[VersionRoute, ...]
    aliases: dict[str, tuple[tuple[int, int], ...]]
    max_instances: int
    reserved_concurrency: int | None
    max_queue: int
    idle_timeout_ms: int


class TokenRoute(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """A personal access token, known by its SHA-256. `expires_at`: epoch seconds, 0 never."""

    user: str
    scopes: tuple[str, ...]
    expires_at: int = 0


class KeyRoute(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """A public key that access tokens (JWT) are checked with."""

    kid: str
    algorithm: str
    public_pem: str


class Entry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One change. `body` is the encoded route, JSON null when the key is gone.

    `sha256` is the hex digest of `key`, a line feed and `body`; empty when the key is gone.
    """

    key: str
    revision: int
    sha256: str
    body: msgspec.Raw = msgspec.Raw(b"null")

    @property
    def is_gone(self) -> bool:
        return not self.sha256


class Feed(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One answer of the table feed.

    Attributes:
        revision: the table's number after these entries.
        full: the entries are the whole table: drop everything else.
        digest: `table_digest` over the whole table, as this role sees it.
    """

    schema: int
    revision: int
    full: bool
    digest: str
    entries: list[Entry]


_MODULUS = 1 << 256


def entry_sha256(key: str, body: bytes) -> str:
    """Hex digest that an entry is checked by."""
    return hashlib.sha256(key.encode() + b"\n" + body).hexdigest()


def table_digest(digests: Iterable[str]) -> str:
    """Order-free digest of a table: the entry digests added up modulo 2^256.

    A sum can be kept up to date entry by entry and finds loss, repetition and damage;
    it is not meant to resist an attacker, who would need the internal token first.
    """
    return f"{sum(int(digest, 16) for digest in digests) % _MODULUS:064x}"
