"""PostgreSQL and Valkey from wheels: real servers, their data and their failures."""

import os
import signal
from pathlib import Path

import psycopg
import pytest
import redis

from hotswap.supervisor import embedded
from hotswap.supervisor.failures import CannotStart
from hotswap.supervisor.processes import wait_gone


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    for folder in (tmp_path, *tmp_path.parents[:2]):
        folder.chmod(0o711)  # as the state directory is: another user may have to pass
    return tmp_path


class TestPostgres:
    def test_keeps_its_data_between_runs(self, directory: Path) -> None:
        with embedded.postgres(directory) as server, psycopg.connect(server.url) as connection:
            connection.execute("CREATE TABLE kept (n int)")
        with embedded.postgres(directory) as server, psycopg.connect(server.url) as connection:
            rows = connection.execute("SELECT count(*) FROM kept").fetchall()

        assert rows == [(0,)]

    def test_asks_for_the_password(self, directory: Path) -> None:
        with embedded.postgres(directory) as server:
            user, _, place = server.url.rpartition("@")
            wrong = f"{user.rpartition(':')[0]}:wrong@{place}"

            with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
                psycopg.connect(wrong)

    def test_starts_after_it_was_killed(self, directory: Path) -> None:
        server = embedded.postgres(directory)
        pid = server.start().pid
        assert pid is not None
        os.killpg(pid, signal.SIGKILL)
        server.stop()
        wait_gone(pid, seconds=5)

        with embedded.postgres(directory) as again, psycopg.connect(again.url) as connection:
            assert connection.execute("SELECT 1").fetchone() == (1,)

    def test_says_why_a_broken_cluster_does_not_start(self, directory: Path) -> None:
        with embedded.postgres(directory):
            pass
        (directory / "data" / "global" / "pg_control").write_bytes(b"")

        with pytest.raises(CannotStart, match=r"postgres ended at its start\.\nIts log .*log"):
            embedded.postgres(directory).start()


class TestValkey:
    def test_keeps_its_data_between_runs(self, directory: Path) -> None:
        with embedded.valkey(directory) as server, redis.Redis.from_url(server.url) as client:
            client.set("kept", "yes")
        with embedded.valkey(directory) as server, redis.Redis.from_url(server.url) as client:
            assert client.get("kept") == b"yes"

    def test_asks_for_the_password(self, directory: Path) -> None:
        with embedded.valkey(directory) as server:
            wrong = "redis://127.0.0.1:" + server.url.rpartition(":")[2]

            with redis.Redis.from_url(wrong) as client, pytest.raises(redis.AuthenticationError):
                client.ping()
