"""`bin/up`: everything on this machine, from nothing to an address that answers."""

import argparse
import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path

import httpx2

from hotswap.supervisor import isolation, sample
from hotswap.supervisor.failures import CannotStart
from hotswap.supervisor.fleet import Fleet
from hotswap.supervisor.install import ROOT
from hotswap.supervisor.ports import free_port
from hotswap.supervisor.progress import detail, say, step
from hotswap.supervisor.stack import Stack, assemble, load, require_free_ports
from hotswap.supervisor.state import State, stop_holder, write_private

_TICK_SECONDS = 0.2
_QUIET_SECONDS = 2.0


def main(arguments: list[str]) -> int:
    """Exit status: 0 after a clean stop, 1 when it cannot start, 130 when interrupted before."""
    options = _parser().parse_args(arguments)
    state = State(_state_directory(options.state))
    try:
        if options.stop:
            say("Stopped." if stop_holder(state) else "Nothing runs here.")
            return 0
        if options.status:
            return _show_status(state)
        with _termination(), state.locked():
            _run(state, options)
    except CannotStart as failure:
        sys.stdout.flush()
        sys.stderr.write(f"\nbin/up: {failure}\n")
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="bin/up", description=__doc__)
    parser.add_argument("--port", help="of the portal and the API; 8000 unless given")
    parser.add_argument("--gateway-port", help="of the data plane; 8001 unless given")
    parser.add_argument("--backend", choices=("auto", "docker", "sandbox", "process"))
    parser.add_argument("--state", type=Path, help="where data is kept; .hotswap unless given")
    parser.add_argument("--no-sample", action="store_true", help="deploy no sample function")
    action = parser.add_mutually_exclusive_group()
    action.add_argument("--check", action="store_true", help="start, call the sample, stop")
    action.add_argument("--stop", action="store_true", help="stop what runs with this state")
    action.add_argument("--status", action="store_true", help="show what runs with this state")
    return parser


def _state_directory(chosen: Path | None) -> Path:
    return (chosen or ROOT / load(dict(os.environ)).core.state_dir).resolve()


def _chosen(options: argparse.Namespace) -> dict[str, str]:
    """The command line as settings. A check takes any free ports: nobody needs to know them."""
    port, gateway_port = options.port, options.gateway_port
    if options.check:
        port = port or str(free_port())
        gateway_port = gateway_port or str(free_port())
    named = {
        "HOTSWAP_WEB_PORT": port,
        "HOTSWAP_GATEWAY_PORT": gateway_port,
        "HOTSWAP_RUNNER_BACKEND": options.backend,
    }
    return {name: value for name, value in named.items() if value}


def _run(state: State, options: argparse.Namespace) -> None:
    given = dict(os.environ)
    chosen = _chosen(options)
    requested = load({**given, **chosen}).runner.backend
    sandboxd = state.run / "sandboxd.sock"
    chosen["HOTSWAP_RUNNER_BACKEND"] = isolation.choose(requested, sandboxd)
    stack = assemble(state, chosen, given)
    require_free_ports(stack.config)
    if stack.config.runner.backend == "docker":
        _build_images(stack)

    fleet = Fleet(say=say, remember=state.remember_children)
    try:
        password = _start(stack, fleet)
        with _client(stack.config.web.url, state) as api:
            if not options.no_sample:
                with step("Deploying the sample function hello"):
                    sample.deploy(api)
        if options.check:
            _check(stack)
        else:
            _greet(stack, password)
            _tend_until_interrupted(fleet)
    finally:
        say("")
        with step("Stopping"):
            fleet.stop()


def _tend_until_interrupted(fleet: Fleet) -> None:
    with contextlib.suppress(KeyboardInterrupt):
        while True:
            fleet.tend()
            time.sleep(_TICK_SECONDS)


def _start(stack: Stack, fleet: Fleet) -> str | None:
    """Stores, database, processes. Returns the first admin's password when it was made now."""
    if stack.stores:
        with step("Starting PostgreSQL and Valkey"):
            fleet.launch(stack.store_specs())
    with step("Migrating the database"):
        password = _prepare(stack)
    with step(f"Starting all processes ({stack.config.runner.backend} backend)"):
        fleet.launch(stack.helpers())
        fleet.launch(stack.control_plane(), stack.runners(), stack.gateways())
    return password


def _prepare(stack: Stack) -> str | None:
    """Run `manage.py prepare`; keep the token it makes. The first admin's password, if new."""
    token_file = stack.state.token_file
    known = token_file.read_bytes() if token_file.exists() else b""
    done = subprocess.run(
        [sys.executable, "manage.py", "prepare", "--token-sha256", sha256(known).hexdigest()],
        cwd=ROOT,
        env={**os.environ, **stack.environment},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise CannotStart(f"The database could not be prepared:\n{done.stderr[-3_000:]}")
    made: dict[str, str | None] = json.loads(done.stdout.splitlines()[-1])
    if token := made["token"]:
        write_private(token_file, token)
    return made["password"]


def _build_images(stack: Stack) -> None:
    """Build the runtime images that are missing; shows the builder's lines when it takes long."""
    base = stack.config.runner.base_image or "official"
    with step("Building missing runtime images"):
        started = time.monotonic()
        with subprocess.Popen(
            [sys.executable, "-m", "runtimes.builder", "--base", base],
            cwd=ROOT,
            env={**os.environ, **stack.environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        ) as builder:
            lines = []
            for line in builder.stdout or ():
                lines.append(line.rstrip())
                if time.monotonic() - started > _QUIET_SECONDS:
                    detail(lines[-1])
        if builder.returncode != 0:
            last = "\n".join(lines[-5:])
            raise CannotStart(
                "The runtime images could not be built. Where no container registry is reachable:"
                " HOTSWAP_RUNNER_BASE_IMAGE=debian bin/up. Without images: bin/up --backend"
                f" sandbox\n{last}"
            )


def _client(url: str, state: State) -> httpx2.Client:
    headers = {"Authorization": f"Bearer {state.token_file.read_text()}"}
    return httpx2.Client(base_url=url, headers=headers, timeout=60)


def _check(stack: Stack) -> None:
    """Call the sample through the gateway and through the portal's address."""
    for name, url in (("gateway", stack.config.gateway.url), ("web", stack.config.web.url)):
        with step(f"Calling hello through the {name}"), _client(url, stack.state) as api:
            sample.call(api)


def _greet(stack: Stack, password: str | None) -> None:
    config = stack.config
    say(f"\n  Portal and API   {config.web.url}")
    say(f"  Gateway          {config.gateway.url}")
    if password:
        say(f"  First admin      admin / {password}   (shown once: keep it)")
    say(f"  API token        in {stack.state.token_file}")
    say(f"  Logs             in {stack.state.logs}")
    say("\n  Ctrl-C stops everything; the data stays.")


def _show_status(state: State) -> int:
    """0 when it runs, 3 when it does not, as init scripts do."""
    holder = state.holder()
    if holder is None:
        say("Nothing runs here.")
        return 3
    say(f"bin/up, pid {holder}")
    for name, pid in state.children().items():
        say(f"  {name:<12} pid {pid}")
    return 0


@contextmanager
def _termination() -> Iterator[None]:
    """Turn the first Ctrl-C, SIGTERM or SIGHUP into KeyboardInterrupt; later ones do nothing."""
    requested = False

    def request(_number: int, _frame: object) -> None:
        nonlocal requested
        if not requested:
            requested = True
            raise KeyboardInterrupt

    watched = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = [signal.signal(number, request) for number in watched]
    try:
        yield
    finally:
        for number, handler in zip(watched, before, strict=True):
            signal.signal(number, handler)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
