"""Ports for servers on this machine."""

import socket

from hotswap.supervisor.ports import FIRST, LAST, free_port, is_free


class TestFreePort:
    def test_is_below_the_ephemeral_range(self) -> None:
        assert FIRST <= free_port() < LAST

    def test_is_not_free_while_somebody_listens(self) -> None:
        with socket.create_server(("127.0.0.1", free_port())) as server:
            assert not is_free("127.0.0.1", server.getsockname()[1])
