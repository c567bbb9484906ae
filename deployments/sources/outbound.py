"""HTTP to addresses that users name: checked address, bounded time and size, no redirects.

A name is resolved once, every address it has is checked, and the connection goes to a checked
one: a name that resolves differently a moment later (DNS rebinding) changes nothing.
"""

import asyncio
import ipaddress
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

import httpx2

from hotswap.core.errors import InvalidInput

URL_MAX: Final = 500
ANSWER_MAX_BYTES: Final = 64 * 1024
_MASK: Final = "/…"

_IpAddress = ipaddress.IPv4Address | ipaddress.IPv6Address

_METADATA: Final = frozenset(
    ipaddress.ip_address(text)
    for text in (
        "fd00:ec2::254",  # AWS; its IPv4 one is link-local
        "fd20:ce::254",  # Google Cloud
        "100.100.100.200",  # Alibaba Cloud
        "168.63.129.16",  # Azure's platform
        "192.0.0.192",  # Oracle Cloud
    )
)
_NAT64: Final = ipaddress.ip_network("64:ff9b::/96")


class Unreachable(Exception):
    """No answer: the reason is one sentence for people. Asking again may help."""


class RefusedAddress(Exception):
    """We do not connect there; asking again does not help."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One HTTP request. `timeout_seconds` covers all of it, names and connection included."""

    url: str
    method: str = "GET"
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    timeout_seconds: float = 10.0
    answer_max_bytes: int = ANSWER_MAX_BYTES


@dataclass(frozen=True, slots=True)
class Answer:
    """Status and the body's first bytes; `is_cut` says that there were more."""

    status: int
    body: bytes
    is_cut: bool = False


def url_checked(url: object, *, field_name: str) -> str:
    """The URL, as far as can be said before its name is resolved.

    Raises:
        InvalidInput: no http or https URL, too long, with a password in it, or a literal
            address that is refused.
    """
    if not isinstance(url, str) or not 0 < len(url) <= URL_MAX or not url.isprintable():
        raise InvalidInput(f"{field_name}: A URL has 1 to {URL_MAX} characters.")
    if url.endswith(_MASK):
        raise InvalidInput(f"{field_name}: This is how the URL is shown; give the whole one.")
    try:
        parsed = httpx2.URL(url)
    except httpx2.InvalidURL as exc:
        raise InvalidInput(f"{field_name}: {url!r} is not a URL: {exc}") from None
    if parsed.scheme not in ("http", "https") or not parsed.host:
        raise InvalidInput(f"{field_name}: The URL must begin with http:// or https:// and a host.")
    if parsed.userinfo:
        raise InvalidInput(f"{field_name}: Leave user and password out of the URL.")
    address = _literal(parsed.host)
    if address is not None and (reason := refusal(address)):
        raise InvalidInput(f"{field_name}: {parsed.host} is refused: {reason}.")
    return url


def masked(url: str) -> str:
    """Scheme and host only: the path of a webhook's URL is often its password."""
    parsed = httpx2.URL(url)
    return f"{parsed.scheme}://{parsed.netloc.decode()}{_MASK}"


def refusal(address: _IpAddress) -> str:
    """Why we do not connect to an address; "" when we do.

    Loopback and private networks are allowed: a self-hosted platform talks to its neighbours.
    """
    plain = _unwrapped(address)
    if plain in _METADATA:
        return "it is a cloud's metadata service"
    if plain.is_link_local:
        return "it is a link-local address, where clouds keep their metadata"
    if plain.is_unspecified or plain.is_multicast:
        return "it is no address of one host"
    return ""


async def exchange(call: Call) -> Answer:
    """Send one request and read its answer, as far as it is bounded. Redirects are answers.

    Raises:
        RefusedAddress: the host is, or resolves to, an address that is refused.
        Unreachable: no connection, no answer in time, or an answer that is not HTTP.
    """
    try:
        async with asyncio.timeout(call.timeout_seconds):
            return await _exchange(call)
    except TimeoutError:
        raise Unreachable(f"No answer within {call.timeout_seconds:g} s.") from None
    except (httpx2.HTTPError, httpx2.InvalidURL, httpx2.StreamError, OSError, UnicodeError) as exc:
        raise Unreachable(f"{type(exc).__name__}: {exc}"[:300].rstrip(": ")) from exc


async def _exchange(call: Call) -> Answer:
    url = httpx2.URL(call.url)
    address = await _checked_address(url)
    # Connects to the address; name and certificate are still those of the host.
    request = httpx2.Request(
        call.method,
        url.copy_with(host=str(address)),
        headers={**call.headers, "Host": url.netloc.decode(), "Accept-Encoding": "identity"},
        content=call.body,
        extensions={"sni_hostname": url.host},
    )
    timeout = httpx2.Timeout(call.timeout_seconds)
    request.extensions["timeout"] = timeout.as_dict()
    async with httpx2.AsyncClient(trust_env=False, follow_redirects=False) as client:
        response = await client.send(request, stream=True)
        body = bytearray()
        try:
            async for chunk in response.aiter_raw():
                body += chunk
                if len(body) > call.answer_max_bytes:
                    break
        finally:
            await response.aclose()
    kept = bytes(body[: call.answer_max_bytes])
    return Answer(response.status_code, kept, is_cut=len(body) > len(kept))


async def _checked_address(url: httpx2.URL) -> _IpAddress:
    port = url.port or (443 if url.scheme == "https" else 80)
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(url.host, port, type=socket.SOCK_STREAM)
    addresses = [ipaddress.ip_address(str(entry[4][0]).partition("%")[0]) for entry in found]
    for address in addresses:
        if reason := refusal(address):
            raise RefusedAddress(f"{url.host} leads to {address}: {reason}.")
    return addresses[0]


def _literal(host: str) -> _IpAddress | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def _unwrapped(address: _IpAddress) -> _IpAddress:
    """The IPv4 address that an IPv6 one carries, else itself."""
    if not isinstance(address, ipaddress.IPv6Address):
        return address
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    if address.sixtofour is not None:
        return address.sixtofour
    if address in _NAT64:
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address
