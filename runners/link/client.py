"""The HTTP client to the control plane, one per process: links share its connections."""

import ssl

import httpx2


def control_plane(url: str, token: str) -> httpx2.AsyncClient:
    """A client that shows the internal token.

    Loading the machine's certificates takes some 50 ms of an event loop's time, so a plain
    HTTP address goes without, and every process makes this client once, at its start.
    """
    verify = ssl.create_default_context() if url.startswith("https:") else False
    return httpx2.AsyncClient(
        base_url=url,
        headers={"Authorization": f"Bearer {token}"},
        timeout=httpx2.Timeout(30.0, connect=2.0),
        verify=verify,
        trust_env=False,
    )
