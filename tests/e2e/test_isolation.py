"""What a function can see of its neighbours and of the platform, asked from inside."""

import json
import secrets
import subprocess
import time
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.e2e.stack import Stack

NEIGHBOUR = """
import os, time

def handler(event, context):
    open("/tmp/" + os.environ["MARK"], "w").write(os.environ["MARK"])
    time.sleep(event or 0)
    return os.getpid()
"""

PROBE = '''\
"""Looks for a neighbour's mark and for doors to the platform; returns what it found."""

import os
import socket

SYSTEM = ("proc", "sys", "dev", "usr", "bin", "sbin", "lib", "lib64")


def handler(event, context):
    return {
        "files": list(named(event["mark"])),
        "texts": list(containing(event["mark"].encode(), event["secrets"])),
        "processes": [pid for pid in os.listdir("/proc") if pid.isdigit() and not mine(int(pid))],
        "addresses": [a for a in event["addresses"] if connects(socket.AF_INET, tuple(a))],
        "names": [name for name in event["names"] if found(name)],
        "sockets": [path for path in event["sockets"] if connects(socket.AF_UNIX, path)],
        "environment": [name for name in os.environ if name.startswith(("HOTSWAP", "DJANGO"))],
        "paths": [path for path in event["paths"] if os.path.exists(path)],
        "interfaces": [name for _, name in socket.if_nameindex() if name != "lo"],
    }


def everything():
    for folder, folders, files in os.walk("/"):
        if folder == "/":
            folders[:] = [name for name in folders if name not in SYSTEM]
        yield from (os.path.join(folder, name) for name in folders + files)


def named(mark):
    return (path for path in everything() if mark in path)


def containing(mark, secrets):
    """Readable files, and what processes were told, that hold the mark or a secret."""
    told = [f"/proc/{pid}/{name}" for pid in os.listdir("/proc") if pid.isdigit()
            for name in ("environ", "cmdline", "mountinfo")]
    for path in [*everything(), *told]:
        try:
            with open(path, "rb") as file:
                text = file.read(1 << 20)
        except OSError:
            continue
        if any(word in text for word in (mark, *map(str.encode, secrets))):
            yield path


def mine(pid):
    return pid in (1, os.getpid(), os.getppid())


def connects(family, address):
    with socket.socket(family) as door:
        door.settimeout(0.3)
        try:
            door.connect(address)
        except OSError:
            return False
        return True


def found(name):
    try:
        socket.getaddrinfo(name, 80)
    except OSError:
        return False
    return True
'''

NOTHING: dict[str, list[object]] = {
    name: []
    for name in (
        "files", "texts", "processes", "addresses", "names", "sockets", "environment", "paths",
        "interfaces",
    )
}  # fmt: skip

pytestmark = pytest.mark.root


def question(stack: Stack, mark: str) -> dict[str, Any]:
    """What the probe is to look for."""
    ports = [urlsplit(url).port for url in (stack.url, stack.gateway_url)]
    ports += [port_of(stack, store) for store in ("postgres", "valkey")]
    hosts = ["127.0.0.1", *addresses_of_this_machine()]
    return {
        "mark": mark,
        "secrets": [stack.token, (stack.directory / "secret-key").read_text()],
        "addresses": [
            *([host, port] for host in hosts for port in ports),
            *([host, port] for host in ("169.254.169.254", "172.17.0.1") for port in (22, 80)),
        ],
        "sockets": [
            "/var/run/docker.sock",
            "/run/containerd/containerd.sock",
            *(str(path) for path in stack.state.run.glob("*.sock")),
        ],
        "names": ["postgres", "host.docker.internal", "example.com"],
        "paths": [str(stack.directory), "/run/hotswap", "/var/run/docker.sock"],
    }


def port_of(stack: Stack, store: str) -> int:
    """The port that a store of the platform listens on."""
    pid = stack.pids()[store]
    said = subprocess.run(["ss", "-ltnpH"], capture_output=True, text=True, check=True).stdout
    line = next(line for line in said.splitlines() if f"pid={pid}," in line)
    return int(line.split()[3].rpartition(":")[2])


def addresses_of_this_machine() -> list[str]:
    """Its IPv4 addresses besides the loopback."""
    said = subprocess.run(["hostname", "-I"], capture_output=True, text=True, check=True).stdout
    return [word for word in said.split() if "." in word]


class TestAFunction:
    def test_sees_nothing_of_its_neighbour_or_the_platform(self, each_stack: Stack) -> None:
        mark = f"mark-{secrets.token_hex(8)}"
        files = {"app.py": NEIGHBOUR, f"{mark}.txt": mark}
        neighbour, probe = f"neighbour-{time.time_ns()}", f"probe-{time.time_ns()}"
        each_stack.deploy(neighbour, files, environment={"MARK": mark})
        each_stack.deploy(probe, {"app.py": PROBE}, timeout=60)
        assert each_stack.invoke(neighbour, 0).status_code == 200

        answer = each_stack.invoke(probe, question(each_stack, mark))

        assert answer.status_code == 200, answer.text
        # The question itself holds the mark: it is in the probe's memory, in no file.
        assert json.loads(answer.json()["body"]) == NOTHING

    def test_starts_clean_after_another_version(self, stack: Stack) -> None:
        source = (
            "import os, sys\nleft = sorted(os.listdir('/tmp'))\n"
            "def handler(event, context):\n    open('/tmp/left', 'w').close()\n"
            "    sys.modules['planted'] = sys\n    return left\n"
        )
        stack.deploy("tidy", {"app.py": source})
        first = stack.invoke("tidy").json()["body"]
        stack.upload("tidy", {"app.py": source})

        second = stack.invoke("tidy").json()["body"]

        assert (first, second) == ("[]", "[]")


class TestAPageOfAFunction:
    @pytest.mark.parametrize("door", ["web", "gateway"])
    def test_cannot_act_on_the_portals_origin(self, stack: Stack, door: str) -> None:
        source = (
            "def handler(event, context):\n    return {'statusCode': 200, 'body': '<script>',\n"
            "        'headers': {'Content-Type': 'text/html', 'Set-Cookie': 'sessionid=x',\n"
            "            'Content-Security-Policy': 'default-src *', 'X-Mine': 'kept',\n"
            "            'Access-Control-Allow-Origin': '*', 'X-HotSwap-Start': 'forged'}}\n"
        )
        stack.deploy(f"page-{door}", {"app.py": source})
        client = stack.api if door == "web" else stack.gateway

        answer = client.post(
            f"/api/v1/functions/page-{door}/invoke", headers={"X-HotSwap-Mode": "raw"}
        )

        headers = answer.headers
        assert (answer.status_code, headers["x-mine"]) == (200, "kept")
        assert "set-cookie" not in headers
        assert "access-control-allow-origin" not in headers
        assert "sandbox" in headers["content-security-policy"]
        assert "default-src *" not in headers["content-security-policy"]
        assert headers["x-hotswap-start"] in ("cold", "warm")
