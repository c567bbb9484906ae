"""The sample function `hello`, deployed and called through the API like any other."""

import base64
import io
import sys
import time
import zipfile

import httpx2

from hotswap.supervisor.failures import CannotStart

NAME = "hello"
_ROUTED_SECONDS = 10.0
_SOURCE = '''\
"""A first function: greets whoever calls it."""


def handler(event, context):
    name = (event or {}).get("name", "world")
    context.log(f"greeting {name}")
    return {"message": f"Hello, {name}!", "version": context.function_version}
'''


def deploy(api: httpx2.Client) -> None:
    """Deploy `hello` unless there is one.

    Raises:
        CannotStart: the API refused it; with its reply.
    """
    if api.get(f"/api/v1/functions/{NAME}").status_code == 200:
        return
    body = {
        "name": NAME,
        "runtime": _runtime(),
        "handler": "app.handler",
        "description": "The sample function that bin/up deploys.",
        "code": {"zipFile": _package()},
    }
    reply = api.post("/api/v1/functions", json=body)
    if reply.status_code != 201:
        raise CannotStart(f"The sample function was refused ({reply.status_code}): {reply.text}")


def call(api: httpx2.Client) -> None:
    """Call `hello` and look at what it says.

    Raises:
        CannotStart: no reply, or not the expected one.
    """
    deadline = time.monotonic() + _ROUTED_SECONDS
    while True:
        reply = api.post(f"/api/v1/functions/{NAME}/invoke", json={"payload": {"name": "bin/up"}})
        if reply.status_code == 200 and "Hello, bin/up!" in reply.text:
            return
        routed = reply.status_code not in (401, 404, 503)  # a gateway learns of it in a moment
        if routed or time.monotonic() > deadline:
            break
        time.sleep(0.1)
    raise CannotStart(
        f"The sample function at {api.base_url} answered {reply.status_code}: {reply.text}"
    )


def _runtime() -> str:
    """The runtime of our own interpreter: the one that is surely here."""
    return f"python{sys.version_info.major}.{sys.version_info.minor}"


def _package() -> str:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("app.py", _SOURCE)
    return base64.b64encode(packed.getvalue()).decode()
