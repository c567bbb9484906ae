import time


def handler(event, context):
    """Count, one line at a time. Invoke with /invoke-stream to see the lines arrive."""
    count = int(event.get("count", 5))
    pause = float(event.get("pause", 0.3))
    for number in range(1, count + 1):
        context.log.info(f"sending {number} of {count}")
        yield {"number": number, "of": count}
        if number < count:
            time.sleep(pause)
