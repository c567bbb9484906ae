"""All of HotSwap on one machine: which processes there are, what they are told, in which order."""

import os
import sys
from dataclasses import dataclass

from hotswap import config as configuration
from hotswap.config import Config
from hotswap.supervisor import embedded
from hotswap.supervisor.failures import CannotStart
from hotswap.supervisor.install import ROOT
from hotswap.supervisor.ports import is_free
from hotswap.supervisor.processes import Process, Ready, Spec, listens, says, serves
from hotswap.supervisor.state import State

_AFTER_DRAIN_SECONDS = 10.0  # beyond its own drain, before a process is killed
_WORKER_STOP_SECONDS = 40.0  # Celery's soft shutdown takes up to 30


@dataclass(frozen=True, slots=True)
class Stack:
    """What runs and how it is configured.

    Attributes:
        environment: what every process is told besides the supervisor's own environment.
        stores: the embedded servers; empty where the operator brings their own.
    """

    config: Config
    environment: dict[str, str]
    state: State
    stores: tuple[embedded.Server, ...]

    def store_specs(self) -> list[Spec]:
        """The stores that this machine runs itself."""
        return [store.spec() for store in self.stores]

    def python(self, name: str, *arguments: str, ready: Ready, stop_seconds: float = 20) -> Spec:
        """A process of this project in its own interpreter."""
        return Spec(
            name=name,
            argv=(sys.executable, *arguments),
            env=self.environment,
            cwd=ROOT,
            log=self.state.log(name),
            ready=ready,
            stop_seconds=stop_seconds,
        )

    def control_plane(self) -> list[Spec]:
        """Web, workers and beat; hooks and metric sources have a worker of their own."""
        celery = ("-m", "celery", "-A", "hotswap.celery")
        worker = ("worker", "--loglevel=INFO", "--without-mingle")
        return [
            self._web(),
            self.python(
                "worker",
                *(*celery, *worker, "--concurrency=2"),
                ready=says(" ready."),
                stop_seconds=_WORKER_STOP_SECONDS,
            ),
            self.python(
                "worker-outside",
                *(*celery, *worker, "--hostname=outside@%h", "--queues=outside"),
                *("--pool=threads", "--concurrency=8"),
                ready=says(" ready."),
                stop_seconds=_WORKER_STOP_SECONDS,
            ),
            self.python(
                "beat",
                *celery,
                "beat",
                "--pidfile=",
                "--loglevel=INFO",
                ready=says("beat: Starting"),
            ),
        ]

    def _web(self) -> Spec:
        web = self.config.web
        listen = ("--host", web.host, "--port", str(web.port), "--workers", str(web.workers))
        server = ("-m", "granian", "--interface", "asginl", "--ws", "--no-access-log")
        return self.python(
            "web", *server, *listen, "hotswap.asgi:application", ready=serves(web.port, "/health")
        )

    def helpers(self) -> list[Spec]:
        """The privileged process beside the runners; only root can start it."""
        if self.config.runner.backend == "process" or os.geteuid() != 0:
            return []
        ready = listens(self.config.sandboxd_socket)
        return [self.python("sandboxd", "-m", "runners.sandboxd", ready=ready)]

    def runners(self) -> list[Spec]:
        """The agents that own the instances."""
        patience = self.config.runner.drain_seconds + _AFTER_DRAIN_SECONDS
        return [
            self.python(
                f"runner{place.label}",
                *("-m", "runners.agent", str(place.number)),
                ready=says("ready on"),
                stop_seconds=patience,
            )
            for place in self.config.runners
        ]

    def gateways(self) -> list[Spec]:
        """The front of the data plane, several processes on one port."""
        gateway = self.config.gateway
        answers = serves(gateway.port, "/readyz")

        def ready(process: Process) -> bool:
            return process.said("ready on") and answers(process)

        patience = gateway.drain_seconds + _AFTER_DRAIN_SECONDS
        return [
            self.python(
                f"gateway-{number}",
                *("-m", "runners.gateway", str(number)),
                ready=ready,
                stop_seconds=patience,
            )
            for number in range(gateway.processes)
        ]


def assemble(state: State, chosen: dict[str, str], given: dict[str, str]) -> Stack:
    """Everything that will run, nothing started yet.

    Args:
        chosen: settings from the command line.
        given: the environment; what is chosen comes before it.

    Raises:
        CannotStart: a setting is wrong or a port is taken.
    """
    environment = {**given, **chosen}
    own = dict(chosen)
    stores = []
    if not environment.get("HOTSWAP_DATABASE_URL"):
        stores.append(embedded.postgres(state.directory / "postgres"))
        own["HOTSWAP_DATABASE_URL"] = stores[-1].url
    if not environment.get("HOTSWAP_REDIS_URL"):
        stores.append(embedded.valkey(state.directory / "valkey"))
        own["HOTSWAP_REDIS_URL"] = stores[-1].url
    if not environment.get("HOTSWAP_SECRET_KEY"):
        own["HOTSWAP_SECRET_KEY"] = state.secret_key()
    own["HOTSWAP_STATE_DIR"] = str(state.directory)
    own["DJANGO_SETTINGS_MODULE"] = "hotswap.settings"
    config = load({**given, **own})
    for group, port in (("web", config.web.port), ("gateway", config.gateway.port)):
        prefix = f"HOTSWAP_{group.upper()}"
        own.setdefault(f"{prefix}_URL", given.get(f"{prefix}_URL", f"http://127.0.0.1:{port}"))
    return Stack(load({**given, **own}), own, state, tuple(stores))


def load(environment: dict[str, str]) -> Config:
    """The configuration, its errors as sentences."""
    try:
        return configuration.load(environment)
    except configuration.ConfigError as error:
        raise CannotStart(f"{error}.") from None


def require_free_ports(config: Config) -> None:
    """Raises: CannotStart: another program listens on the web's or the gateway's port."""
    wanted = (
        ("--port", config.web.host, config.web.port),
        ("--gateway-port", config.gateway.host, config.gateway.port),
    )
    for option, host, port in wanted:
        if not is_free(host, port):
            raise CannotStart(
                f"Port {port} on {host} is in use by another program. Stop that program, or choose"
                f" another port: bin/up {option} {port + 10}"
            )
