"""Running a function from its page: the portal calls the gateway on the user's behalf."""

import json
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import quote

import httpx2
from asgiref.sync import sync_to_async
from django.http import HttpRequest, HttpResponse, JsonResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.views.decorators.http import require_http_methods, require_POST

from functions import selectors as functions
from hotswap import config
from hotswap.access import services as access
from hotswap.access import signing
from hotswap.core import clock
from hotswap.core.errors import BadRequest, Unavailable, UpstreamFailed
from hotswap.dashboard import services
from hotswap.dashboard.guard import actor, endpoint, quick_endpoint
from hotswap.records import table

GRACE_SECONDS = 30.0  # over the function's own time: queue, start, a slow machine
SHOWN_HEADERS = (
    "content-type",
    "x-hotswap-request-id",
    "x-hotswap-executed-version",
    "x-hotswap-start",
)


@endpoint
@require_POST
async def test(request: HttpRequest, name: str) -> HttpResponseBase:
    """Run once. Answers 200 with `{status, document}`, whatever the function did."""
    url, headers, body, seconds = await _call(request, name, "invoke")
    async with httpx2.AsyncClient(timeout=seconds, trust_env=False) as client:
        try:
            answer = await client.post(url, content=body, headers=headers)
        except httpx2.TimeoutException:
            raise UpstreamFailed(f"The gateway did not answer within {seconds:.0f} s.") from None
        except httpx2.HTTPError:
            raise Unavailable("The gateway cannot be reached; is it running?") from None
    return JsonResponse({"status": answer.status_code, "document": _document(answer)})


@endpoint
@require_POST
async def test_stream(request: HttpRequest, name: str) -> HttpResponseBase:
    """Run once and pass the answer on as it comes. Leaving the page cancels the function."""
    url, headers, body, seconds = await _call(request, name, "invoke-stream")
    client = httpx2.AsyncClient(timeout=seconds, trust_env=False)
    try:
        answer = await client.send(
            client.build_request("POST", url, content=body, headers=headers), stream=True
        )
    except httpx2.HTTPError:
        await client.aclose()
        raise Unavailable("The gateway cannot be reached; is it running?") from None
    response = StreamingHttpResponse(_relayed(client, answer), status=answer.status_code)
    for header in SHOWN_HEADERS:
        if header in answer.headers:
            response[header] = answer.headers[header]
    response["Content-Security-Policy"] = "sandbox; default-src 'none'"
    return response


async def _relayed(client: httpx2.AsyncClient, answer: httpx2.Response) -> AsyncIterator[bytes]:
    try:
        async for chunk in answer.aiter_raw():
            yield chunk
    finally:
        await answer.aclose()
        await client.aclose()


async def _call(
    request: HttpRequest, name: str, action: str
) -> tuple[str, dict[str, str], bytes, float]:
    """Address, headers, body and time limit of the call that the page asks for."""
    given = _given(request)
    payload = given.get("payload", "")
    if not isinstance(payload, str):
        raise BadRequest("payload must be text.")
    envelope = {"payload": payload}
    if version := given.get("version"):
        envelope["version"] = str(version)
    if alias := given.get("alias"):
        envelope["alias"] = str(alias)
    token, timeout = await sync_to_async(_permit)(request, name)
    url = f"{config.current().gateway.url}/api/v1/functions/{quote(name, safe='')}/{action}"
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    return url, headers, json.dumps(envelope).encode(), timeout + GRACE_SECONDS


def _permit(request: HttpRequest, name: str) -> tuple[str, int]:
    """A token that can only invoke, and how long the function may run."""
    now = clock.utc_now()
    function = functions.function_get(name=name)
    access.signing_key_announce(now=now)
    table.wait_acked()
    token = signing.sign(user=actor(request), scopes=("functions:invoke",), now=now)
    return token, function.timeout_seconds


def _given(request: HttpRequest) -> dict[str, Any]:
    try:
        given = json.loads(request.body)
    except ValueError:
        raise BadRequest("The body must be JSON.") from None
    if not isinstance(given, dict):
        raise BadRequest("The body must be a JSON object.")
    return given


def _document(answer: httpx2.Response) -> object:
    try:
        return answer.json()
    except ValueError:
        return {"title": "Unreadable answer", "detail": answer.text[:500], "fault": "platform"}


@quick_endpoint
@require_http_methods(["POST", "DELETE"])
def events(request: HttpRequest, name: str) -> HttpResponseBase:
    """Save or forget a test event."""
    given = _given(request)
    event = str(given.get("name", "")).strip()
    if request.method == "DELETE":
        services.test_event_delete(function_name=name, name=event)
        return HttpResponse(status=204)
    saved = services.test_event_save(
        function_name=name,
        name=event,
        payload=str(given.get("payload", "")),
        actor=actor(request),
        now=clock.utc_now(),
    )
    return JsonResponse({"name": saved.name, "payload": saved.payload})
