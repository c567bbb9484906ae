"""How a receiver knows that a call is ours: HMAC-SHA256 over time and body."""

import hashlib
import hmac

from hotswap.core import clock


def sign(secret: str, body: bytes, *, timestamp: int | None = None) -> str:
    """`t=<epoch seconds>,v1=<hex>`; the signed text is the time, a dot, and the body.

    The time is that of this try: a receiver refuses old ones, so nothing can be replayed.
    """
    moment = int(clock.utc_now().timestamp()) if timestamp is None else timestamp
    digest = hmac.new(secret.encode(), f"{moment}.".encode() + body, hashlib.sha256)
    return f"t={moment},v1={digest.hexdigest()}"
