"""What an approval is bound to."""

import hashlib
import json

from deployments.models import Deployment
from functions import selectors as functions


def digest_of(deployment: Deployment) -> str:
    """SHA-256 over function, alias, both versions with their code and configuration, and plan."""
    content = {
        "function": deployment.function.name,
        "alias": deployment.alias,
        "stable": _version(deployment, deployment.from_number),
        "candidate": _version(deployment, deployment.to_number),
        "strategy": str(deployment.strategy),
        "config": deployment.config,
        "plan": deployment.plan,
        "reversible": deployment.reversible,
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _version(deployment: Deployment, number: int | None) -> dict[str, object] | None:
    if number is None:
        return None
    version = functions.version_get(function=deployment.function, version=str(number))
    return {
        "number": version.number,
        "code": version.artifact_id,
        "runtime": version.runtime,
        "handler": version.handler,
        "memory": version.memory_mib,
        "timeout": version.timeout_seconds,
        "environment": version.environment,
    }
