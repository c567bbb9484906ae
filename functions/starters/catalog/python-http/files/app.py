import json

from items import ITEMS

JSON = {"content-type": "application/json", "cache-control": "no-store"}


def handler(event, context):
    """Answer /items with all of them and /items/<number> with one."""
    path = event.get("path", "/items") if isinstance(event, dict) else "/items"
    root, _, number = path.strip("/").partition("/")
    if root != "items":
        return answer(404, {"error": f"nothing at {path}"})
    if not number:
        return answer(200, ITEMS)
    found = [item for item in ITEMS if str(item["id"]) == number]
    if not found:
        context.log.warn(f"item {number} was asked for and does not exist")
        return answer(404, {"error": f"no item {number}"})
    return answer(200, found[0])


def answer(status, body):
    return {"statusCode": status, "headers": JSON, "body": json.dumps(body)}
