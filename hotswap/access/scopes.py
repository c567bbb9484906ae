"""The scopes a token may carry. A view names the one it needs; nothing else opens it."""

from typing import Final

ALL: Final = (
    "functions:read",
    "functions:write",
    "functions:invoke",
    "invocations:read",
    "deployments:read",
    "deployments:write",
    "deployments:approve",
    "runners:read",
    "runners:write",
    "tokens:read",
    "tokens:write",
)
