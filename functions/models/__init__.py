"""What users own."""

from functions.models.alias import Alias, AliasTarget
from functions.models.artifact import Artifact
from functions.models.function import Function
from functions.models.pin import AliasHold, VersionPin
from functions.models.version import FunctionVersion

__all__ = [
    "Alias",
    "AliasHold",
    "AliasTarget",
    "Artifact",
    "Function",
    "FunctionVersion",
    "VersionPin",
]
