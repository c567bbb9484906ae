"""Text that came from functions, made fit to be stored and shown."""

import re

# ECMA-48: control sequences, operating system commands (titles, links), two-byte escapes.
_ESCAPES = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b[\]PX^_][^\x07\x1b]*(?:\x07|\x1b\\)?|\x1b[ -/]*[0-~]"
    r"|\x9b[0-?]*[ -/]*[@-~]"
)
_CONTROLS = re.compile(r"[\x00-\x08\x0a-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")


def plain(text: str) -> str:
    """Without terminal escapes, control characters (but tabs) and direction overrides.

    What remains cannot colour, move or rewrite a reader's terminal, end a line early, or
    upset PostgreSQL, which stores no NUL.
    """
    if text.isprintable():
        return text
    return _CONTROLS.sub("", _ESCAPES.sub("", text))


def plain_json(value: object) -> object:
    """A JSON value whose strings are `plain` but keep their line feeds."""
    if isinstance(value, str):
        return "\n".join(plain(line) for line in value.split("\n"))
    if isinstance(value, list):
        return [plain_json(item) for item in value]
    if isinstance(value, dict):
        return {plain(str(key)): plain_json(item) for key, item in value.items()}
    return value
