"""The data plane's processes load no framework, driver or SDK."""

import subprocess
import sys

import pytest

from tests.architecture.sources import ROOT

FORBIDDEN = {
    *("django", "rest_framework", "channels", "celery", "kombu", "storages"),
    *("psycopg", "boto3", "botocore"),
}
PROBE = "import sys, {module}; print(*{{m.partition('.')[0] for m in sys.modules}})"


class TestDataPlaneProcesses:
    @pytest.mark.parametrize(
        ("module", "forbidden"),
        [
            pytest.param("runners.gateway.__main__", {*FORBIDDEN, "docker"}, id="gateway"),
            pytest.param("runners.agent.__main__", FORBIDDEN, id="runner"),
            pytest.param("runners.sandboxd.__main__", {*FORBIDDEN, "docker"}, id="sandboxd"),
        ],
    )
    def test_load_no_framework(self, module: str, forbidden: set[str]) -> None:
        loaded = subprocess.run(
            [sys.executable, "-c", PROBE.format(module=module)],
            check=True,
            capture_output=True,
            text=True,
            timeout=30,
            cwd=ROOT,
        ).stdout.split()

        assert not forbidden.intersection(loaded)
