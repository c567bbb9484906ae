"""TCP ports on this machine."""

import secrets
import socket

from hotswap.supervisor.failures import CannotStart

FIRST, LAST = 20_000, 32_000  # below the ephemeral range: no outgoing connection sits there


def free_port() -> int:
    """A port of the loopback interface that nobody listens on now."""
    for _ in range(500):
        port = FIRST + secrets.randbelow(LAST - FIRST)
        if is_free("127.0.0.1", port):
            return port
    raise CannotStart(f"No port between {FIRST} and {LAST} is free; stop some programs.")


def is_free(host: str, port: int) -> bool:
    """Whether a server could listen there. A port of a server that just stopped counts as free."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True
