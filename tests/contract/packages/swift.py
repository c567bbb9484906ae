"""A real S3 service: OpenStack Swift with its S3 interface, one replica, on loopback."""

import getpass
import hashlib
import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import suppress
from pathlib import Path

from hotswap.supervisor.install import ROOT
from hotswap.supervisor.ports import free_port

ACCESS_KEY, SECRET_KEY, REGION = "test:tester", "testing", "us-east-1"
_LOCK = Path(__file__).with_name("swift.lock")
_VENV = ROOT / ".venv-swift"
_STAMP = _VENV / "installed"
_READY_SECONDS = 30
_FILTERS = {
    "catch_errors": "",
    "gatekeeper": "",
    "healthcheck": "",
    "listing_formats": "",
    "bulk": "",
    "s3api": f"location = {REGION}\ns3_acl = false\ncheck_bucket_owner = false",
    "tempauth": "user_test_tester = testing .admin",
    "slo": "",
}
_RINGS = """
import sys
from swift.common.ring import RingBuilder
etc, *pairs = sys.argv[1:]
for pair in pairs:
    kind, port = pair.split("=")
    builder = RingBuilder(4, 1, 1)
    builder.add_dev(dict(
        id=0, region=1, zone=1, ip="127.0.0.1", port=int(port), device="d1", weight=1.0,
        replication_ip="127.0.0.1", replication_port=int(port), meta="",
    ))
    builder.rebalance()
    builder.get_ring().save(f"{etc}/{kind}.ring.gz")
"""


class Swift:
    """The four servers, below one directory. A context manager."""

    def __init__(self, directory: Path) -> None:
        self._etc = directory / "etc"
        self._devices = directory / "srv"
        self._log = directory / "swift.log"
        self._ports = {kind: free_port() for kind in ("proxy", "account", "container", "object")}
        self._processes: list[subprocess.Popen[bytes]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._ports['proxy']}"

    def __enter__(self) -> "Swift":
        _install()
        self._configure()
        for kind in ("account", "container", "object", "proxy"):
            self._start(kind)
        self._wait()
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._processes:
            process.terminate()
        for process in self._processes:
            process.wait(10)

    def _configure(self) -> None:
        self._etc.mkdir(parents=True)
        (self._devices / "d1").mkdir(parents=True)
        (self._etc / "swift.conf").write_text(
            "[swift-hash]\nswift_hash_path_suffix = tests\nswift_hash_path_prefix = tests\n"
            "[storage-policy:0]\nname = one\ndefault = yes\n"
        )
        for kind in ("account", "container", "object"):
            self._write(
                kind, f"pipeline = {kind}-server\n[app:{kind}-server]\nuse = egg:swift#{kind}"
            )
        filters = "\n".join(
            f"[filter:{name}]\nuse = egg:swift#{name}\n{options}"
            for name, options in _FILTERS.items()
        )
        app = "[app:proxy-server]\nuse = egg:swift#proxy\naccount_autocreate = true"
        self._write("proxy", f"pipeline = {' '.join(_FILTERS)} proxy-server\n{app}\n{filters}")
        pairs = [f"{kind}={port}" for kind, port in self._ports.items() if kind != "proxy"]
        python = str(_VENV / "bin" / "python")
        subprocess.run([python, "-c", _RINGS, str(self._etc), *pairs], check=True)

    def _write(self, kind: str, pipeline: str) -> None:
        (self._etc / f"{kind}.conf").write_text(
            f"[DEFAULT]\nbind_ip = 127.0.0.1\nbind_port = {self._ports[kind]}\nworkers = 0\n"
            f"mount_check = false\ndisable_fallocate = true\nfallocate_reserve = 0\n"
            f"swift_dir = {self._etc}\ndevices = {self._devices}\nuser = {getpass.getuser()}\n"
            f"[pipeline:main]\n{pipeline}\n"
        )

    def _start(self, kind: str) -> None:
        program = _VENV / "bin" / f"swift-{kind}-server"
        with self._log.open("ab") as log:
            self._processes.append(
                subprocess.Popen(
                    [str(_VENV / "bin" / "python"), str(program), str(self._etc / f"{kind}.conf")],
                    stdout=log,
                    stderr=subprocess.STDOUT,
                )
            )

    def _wait(self) -> None:
        until = time.monotonic() + _READY_SECONDS
        while time.monotonic() < until:
            with suppress(urllib.error.URLError, OSError):
                if urllib.request.urlopen(f"{self.url}/healthcheck").status == 200:
                    return
            time.sleep(0.05)
        raise AssertionError(f"Swift does not answer:\n{self._log.read_text()[-2000:]}")


def _install() -> None:
    """Its own environment, made once: it wants older packages than HotSwap does."""
    wanted = hashlib.sha256(_LOCK.read_bytes()).hexdigest()
    if _STAMP.exists() and _STAMP.read_text() == wanted:
        return
    uv = str(Path(sys.executable).with_name("uv"))
    python = str(_VENV / "bin" / "python")
    subprocess.run([uv, "venv", "--quiet", "--clear", "-p", sys.executable, str(_VENV)], check=True)
    subprocess.run(
        [uv, "pip", "sync", "--quiet", "--require-hashes", "--python", python, str(_LOCK)],
        check=True,
    )
    _STAMP.write_text(wanted)
