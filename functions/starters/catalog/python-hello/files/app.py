def handler(event, context):
    """Greet the caller.

    event:   the request's JSON, here {"name": "Ada"}
    context: request id, deadline, memory and a logger
    """
    name = event.get("name", "world") if isinstance(event, dict) else "world"
    print(f"greeting {name}")  # printed lines appear in the function's log
    return {"message": f"Hello, {name}!", "requestId": context.aws_request_id}
