"""The gateway's operations in the OpenAPI document: Django forwards them and has no view."""

from typing import Any, Final

_PATH: Final = "/api/v1/functions/{name}/invoke"
_NAME: Final = {"in": "path", "name": "name", "required": True, "schema": {"type": "string"}}
_REQUEST: Final = {
    "type": "object",
    "properties": {
        "payload": {"description": "JSON text, or any JSON value; the function's event"},
        "alias": {"type": "string", "description": "alias, version such as v3, or $LATEST"},
        "invocationType": {"type": "string", "enum": ["RequestResponse", "Event"]},
    },
}
_ANSWER: Final = {
    "type": "object",
    "properties": {
        "statusCode": {"type": "integer"},
        "body": {"type": "string"},
        "executionTime": {"type": "number", "description": "ms"},
        "billedDuration": {"type": "integer", "description": "ms"},
        "memoryUsed": {"type": "integer", "description": "MB"},
        "logStreamName": {"type": "string"},
    },
}


def add_invocations(result: dict[str, Any], **_: Any) -> dict[str, Any]:
    """Postprocessing hook of drf-spectacular."""
    answer = {"description": "", "content": {"application/json": {"schema": _ANSWER}}}
    chunks = {"description": "The chunks as the function yields them.", "content": {"*/*": {}}}
    later = {"description": "Accepted."}
    paths = result["paths"]
    paths[_PATH] = _operation("functions_invoke", "Call a function.", {"200": answer})
    paths[f"{_PATH}-stream"] = _operation(
        "functions_invoke_stream", "Call a function; its chunks arrive as it yields them.",
        {"200": chunks},
    )  # fmt: skip
    paths[f"{_PATH}-async"] = _operation(
        "functions_invoke_async", "Have a function called later.", {"202": later}
    )
    return result


def _operation(name: str, text: str, responses: dict[str, Any]) -> dict[str, Any]:
    problem = {"schema": {"$ref": "#/components/schemas/Problem"}}
    default = {"description": "A problem.", "content": {"application/problem+json": problem}}
    return {
        "post": {
            "operationId": name,
            "description": f"{text}\n\nScope: `functions:invoke`.",
            "parameters": [_NAME],
            "tags": ["functions"],
            "security": [{"bearer": []}],
            "requestBody": {"content": {"application/json": {"schema": _REQUEST}}},
            "responses": {**responses, "default": default},
        }
    }
