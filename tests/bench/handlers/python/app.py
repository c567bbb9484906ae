"""The measured function: reads an order, adds it up, answers with about as much."""

import time
from typing import Any


def handler(event: Any, context: object) -> dict[str, Any]:
    lines = event["lines"]
    total = sum(line["price"] * line["quantity"] for line in lines)
    return {"order": event["order"], "total": round(total, 2), "lines": lines}


def pause(event: Any, context: Any) -> dict[str, Any]:
    """Wait like a call to a database; tell which instance did and when it began."""
    began = time.time()
    time.sleep(event["seconds"])
    return {"instance": context.log_stream_name, "began": began}
