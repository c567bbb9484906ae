print("loading")  # noqa: T201


def handler(event, context):
    return "loaded"
