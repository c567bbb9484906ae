def handler(event, context):
    return "from the package"
