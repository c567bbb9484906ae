"""The one frozen configuration; the only module that reads the environment.

Every process builds it once at its start. Names are `HOTSWAP_<GROUP>_<FIELD>` (groups
`stores` and `core` have no group part: `HOTSWAP_DATABASE_URL`, `HOTSWAP_SECRET_KEY`).
An unknown `HOTSWAP_*` name or a bad value stops the process with a sentence that says
which and why.
"""

import hashlib
import hmac
import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from functools import lru_cache
from pathlib import Path
from typing import Any, get_type_hints

from hotswap.core import limits


class ConfigError(Exception):
    """The environment does not make a valid configuration."""


class Secret(str):
    """A string that does not show itself in logs, tracebacks or `repr`."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "Secret('***')"

    def reveal(self) -> str:
        """The plain value."""
        return str.__str__(self)

    def derive(self, purpose: str) -> bytes:
        """32 bytes for one purpose; knowing them does not reveal the secret."""
        return hmac.digest(str.__str__(self).encode(), purpose.encode(), hashlib.sha256)


NO_SECRET = Secret("")
RUNNERS_MAX = 64


def _require(ok: bool, message: str) -> None:
    if not ok:
        raise ConfigError(message)


@dataclass(frozen=True, slots=True)
class Core:
    """State on disk, secrets, modes."""

    state_dir: Path = Path(".hotswap")
    """Where everything this machine keeps lives: embedded stores, packages, caches, sockets."""
    secret_key: Secret = NO_SECRET
    """Root of all derived keys; the same on every machine of one installation; 32+ characters."""
    debug: bool = False
    allowed_hosts: tuple[str, ...] = ("localhost", "127.0.0.1", "[::1]")
    trusted_origins: tuple[str, ...] = ()
    """Origins (scheme and host) that may post forms besides the request's own host."""

    def __post_init__(self) -> None:
        _require(
            not self.secret_key or len(self.secret_key) >= 32,
            "HOTSWAP_SECRET_KEY must have 32 characters or more",
        )

    def require_secret(self) -> Secret:
        """The secret key; raises ConfigError where it is needed and missing."""
        _require(bool(self.secret_key), "HOTSWAP_SECRET_KEY is not set; bin/up makes one")
        return self.secret_key

    @property
    def internal_token(self) -> str:
        """What gateways and runners show to the control plane's internal endpoints."""
        return self.require_secret().derive("internal-token").hex()


@dataclass(frozen=True, slots=True)
class Stores:
    """The operator's own stores. Empty: bin/up starts embedded ones in `state_dir`."""

    database_url: Secret = NO_SECRET
    redis_url: Secret = NO_SECRET
    s3_endpoint_url: str = ""
    s3_bucket: str = ""
    """Set: packages are kept on S3. Empty: in `state_dir`/packages."""
    s3_region: str = "us-east-1"
    s3_access_key_id: Secret = NO_SECRET
    s3_secret_access_key: Secret = NO_SECRET


@dataclass(frozen=True, slots=True)
class Web:
    """The control plane's server."""

    host: str = "127.0.0.1"
    port: int = 8000
    workers: int = 1
    url: str = "http://127.0.0.1:8000"
    """Where gateways and runners reach the control plane."""

    def __post_init__(self) -> None:
        _require(0 < self.port < 65_536, "HOTSWAP_WEB_PORT must be from 1 to 65535")
        _require(1 <= self.workers <= 64, "HOTSWAP_WEB_WORKERS must be from 1 to 64")


@dataclass(frozen=True, slots=True)
class Gateway:
    """The data plane's front."""

    host: str = "127.0.0.1"
    port: int = 8001
    url: str = "http://127.0.0.1:8001"
    """Where the web server forwards invocations to."""
    processes: int = 1
    """Gateway processes that share the port."""
    max_connections: int = 4_096
    header_timeout_seconds: float = 10.0
    """A client must send its request line and headers in this time."""
    body_timeout_seconds: float = 30.0
    idle_timeout_seconds: float = 75.0
    drain_seconds: float = 30.0
    """Calls in flight may finish for so long after SIGTERM."""
    records_per_second: int = 500
    """Invocations recorded one by one; the others are counted only. Errors come first."""

    def __post_init__(self) -> None:
        _require(0 < self.port < 65_536, "HOTSWAP_GATEWAY_PORT must be from 1 to 65535")
        _require(1 <= self.processes <= 64, "HOTSWAP_GATEWAY_PROCESSES must be from 1 to 64")


@dataclass(frozen=True, slots=True)
class Runner:
    """The agent of this machine."""

    backend: str = "auto"
    """docker, sandbox, process, or auto: docker where an engine answers, else sandbox."""
    allow_unisolated: bool = False
    """Development mode: allow the `process` backend, which isolates nothing."""
    name: str = ""
    """Name of this runner; empty is the host's name. Of several processes each one's number
    follows: `<name>-0`, `<name>-1`."""
    processes: int = 1
    """Runner processes on this machine. They share its memory and disk for code in equal
    parts; every other setting holds for each."""
    regions: tuple[str, ...] = ()
    """Where the processes are, for regional rollouts: one name for all, or one for each."""
    stem_cells: int = 2
    """Booted sandboxes kept ready per runtime that is in use."""
    max_instances: int = 1_000
    memory_mib: int = 0
    """Memory that instances may use together; 0 is 80 % of the machine's."""
    code_cache_mib: int = 4_096
    freeze_after_seconds: float = 5.0
    init_timeout_seconds: float = 30.0
    drain_seconds: float = 30.0
    base_image: str = ""
    """Where runtime images are built from: empty, or "official", is the vendors' images;
    "debian" builds from a Debian base made here without a registry."""

    def __post_init__(self) -> None:
        known = ("auto", "docker", "sandbox", "process")
        _require(self.backend in known, f"HOTSWAP_RUNNER_BACKEND must be one of {known}")
        _require(self.stem_cells >= 0, "HOTSWAP_RUNNER_STEM_CELLS must not be negative")
        _require(
            1 <= self.processes <= RUNNERS_MAX,
            f"HOTSWAP_RUNNER_PROCESSES must be from 1 to {RUNNERS_MAX}",
        )
        _require(
            all(len(region) <= 64 for region in self.regions),
            "a region of HOTSWAP_RUNNER_REGIONS may have 64 characters",
        )
        _require(
            len(self.regions) in (0, 1, self.processes),
            f"HOTSWAP_RUNNER_REGIONS must name one region, or one for each of the "
            f"{self.processes} processes",
        )


@dataclass(frozen=True, slots=True)
class RunnerPlace:
    """Where one runner process of this machine is.

    Attributes:
        number: from 0.
        label: tells its files from those of the others; empty where there is only one.
        name: of the node; unique in the installation.
        region: empty is none.
        socket: where this machine's gateways meet it.
        directory: its table copy and code cache.
        cells: its sandboxes' directories, for backends that keep them here.
    """

    number: int
    label: str
    name: str
    region: str
    socket: Path
    directory: Path
    cells: Path


@dataclass(frozen=True, slots=True)
class Email:
    """The mail server that notifications are sent through. Without a host none are."""

    host: str = ""
    port: int = 587
    user: str = ""
    password: Secret = NO_SECRET
    tls: str = "starttls"
    """starttls, implicit (TLS from the first byte, mostly port 465), or none."""
    sender: str = "hotswap@localhost"
    """What stands in From."""

    def __post_init__(self) -> None:
        _require(0 < self.port < 65_536, "HOTSWAP_EMAIL_PORT must be from 1 to 65535")
        known = ("starttls", "implicit", "none")
        _require(self.tls in known, f"HOTSWAP_EMAIL_TLS must be one of {known}")


@dataclass(frozen=True, slots=True)
class Retention:
    """How long things are kept."""

    log_days: int = 7
    invocation_days: int = 30
    deleted_function_days: int = 30
    versions: int = limits.VERSIONS_KEPT

    def __post_init__(self) -> None:
        for item in fields(self):
            name = f"HOTSWAP_RETENTION_{item.name.upper()}"
            _require(getattr(self, item.name) >= 1, f"{name} must be 1 or more")


@dataclass(frozen=True, slots=True)
class Config:
    """Everything a process may be told from outside."""

    core: Core = field(default_factory=Core)
    stores: Stores = field(default_factory=Stores)
    web: Web = field(default_factory=Web)
    gateway: Gateway = field(default_factory=Gateway)
    runner: Runner = field(default_factory=Runner)
    email: Email = field(default_factory=Email)
    retention: Retention = field(default_factory=Retention)

    @property
    def run_dir(self) -> Path:
        """Sockets and pid files."""
        return self.core.state_dir / "run"

    @property
    def runners(self) -> tuple[RunnerPlace, ...]:
        """The runner processes of this machine, by number."""
        return tuple(self._runner(number) for number in range(self.runner.processes))

    def _runner(self, number: int) -> RunnerPlace:
        regions = self.runner.regions or ("",)
        label = f"-{number}" if self.runner.processes > 1 else ""
        return RunnerPlace(
            number=number,
            label=label,
            name=(self.runner.name or socket.gethostname()) + label,
            region=regions[number % len(regions)],
            socket=self.run_dir / f"runner{label}.sock",
            directory=self.core.state_dir / f"runner{label}",
            cells=self.run_dir / f"cells{label}",
        )

    @property
    def sandboxd_socket(self) -> Path:
        """Where the runner meets the privileged helper."""
        return self.run_dir / "sandboxd.sock"


_UNPREFIXED = ("core", "stores")


def _variables() -> dict[str, tuple[str, str, Any]]:
    """Environment name -> (group, field, type)."""
    known = {}
    for group, group_type in get_type_hints(Config).items():
        prefix = "HOTSWAP_" if group in _UNPREFIXED else f"HOTSWAP_{group.upper()}_"
        for name, kind in get_type_hints(group_type).items():
            known[prefix + name.upper()] = (group, name, kind)
    return known


def _parse(name: str, text: str, kind: Any) -> object:
    if kind is bool:
        _require(text.lower() in ("0", "1", "true", "false"), f"{name} must be true or false")
        return text.lower() in ("1", "true")
    if kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            raise ConfigError(f"{name} must be a number, not {text!r}") from None
    if kind in (str, Secret, Path):
        return kind(text)
    return tuple(part.strip() for part in text.split(",") if part.strip())


def load(environ: Mapping[str, str]) -> Config:
    """Build the configuration.

    Raises:
        ConfigError: an unknown `HOTSWAP_*` name, or a value out of bounds.
    """
    known = _variables()
    given: dict[str, dict[str, object]] = {}
    for name, text in environ.items():
        if not name.startswith("HOTSWAP_"):
            continue
        if name not in known:
            raise ConfigError(f"{name} is not a setting; see docs/configuration.md for all of them")
        group, attribute, kind = known[name]
        given.setdefault(group, {})[attribute] = _parse(name, text, kind)
    groups = {
        group: group_type(**given.get(group, {}))
        for group, group_type in get_type_hints(Config).items()
    }
    return Config(**groups)


@lru_cache(maxsize=1)
def current() -> Config:
    """The configuration of this process, from its environment, built once."""
    return load(os.environ)  # noqa: TID251  # the one place
