"""The suite's functions; `../node/index.js` has the same under the same names."""

# Functions are written as users write them, for every Python since 3.8.
# ruff: noqa: T201, G010, UP031, PLW1510, LOG015

import asyncio
import logging
import os
import subprocess
import sys
import threading
import time


def echo(event, context):
    return event


async def echo_async(event, context):
    await asyncio.sleep(0)
    return event


def describe(event, context):
    """The event's type, as one word."""
    return type(event).__name__


def context_fields(event, context):
    return {
        "requestId": context.aws_request_id,
        "name": context.function_name,
        "version": context.function_version,
        "memory": str(context.memory_limit_in_mb),
        "arn": context.invoked_function_arn,
        "logStream": context.log_stream_name,
        "logGroup": context.log_group_name,
        "remaining": context.get_remaining_time_in_millis(),
        "deadline": context.deadline_ms,
        "trace": context.trace_parent,
        "alias": context.alias,
    }


def environment(event, context):
    return {name: os.environ.get(name) for name in event}


def where(event, context):
    return {"folder": os.getcwd(), "hour": time.localtime(0).tm_hour}


def result(event, context):
    return event


def raw(event, context):
    return bytes(range(256))


def sized(event, context):
    return b"x" * event


def sized_text(event, context):
    return "x" * event


def nothing(event, context):
    return None


def http_bytes(event, context):
    return {"statusCode": 200, "headers": {"Content-Type": "image/png"}, "body": b"\x89PNG"}


def bad_set(event, context):
    return {"a": [1, 2, {3}]}


def bad_nan(event, context):
    return {"a": {"b c": float("nan")}}


def bad_infinity(event, context):
    return [float("inf")]


def bad_cycle(event, context):
    value = {"a": []}
    value["a"].append(value)
    return value


def bad_function(event, context):
    return {"f": bad_function}


def bad_depth(event, context):
    value = []
    for _ in range(100000):
        value = [value]
    return value


def bad_http_body(event, context):
    return {"statusCode": 200, "body": {"x": {1, 2}}}


def bad_base64(event, context):
    return {"statusCode": 200, "body": "%%%", "isBase64Encoded": True}


def bad_header(event, context):
    return {"statusCode": 200, "headers": {"A": ["b"]}}


def inner():
    raise ValueError("broken: " + "ü")


def fails(event, context):
    inner()


async def fails_async(event, context):
    await asyncio.sleep(0)
    inner()


def fails_with_cause(event, context):
    try:
        inner()
    except ValueError as error:
        raise RuntimeError("outer") from error


def fails_long(event, context):
    raise ValueError("m" * 200000)


def leaves(event, context):
    sys.exit(3)


def dies(event, context):
    print("last words", flush=True)
    os._exit(9)


def prints(event, context):
    print("one")
    print("two", "three")
    print("err", file=sys.stderr)
    sys.stdout.buffer.write(b"bytes\n")
    context.log.debug("d")
    context.log.info("i")
    context.log.warn("w")
    context.log.error("e")
    sys.stdout.write("no line feed")
    return "done"


async def prints_async(event, context):
    print("before")
    await asyncio.sleep(0.5)
    print("after")
    return "done"


def logs_long_line(event, context):
    print("ü" * 20000)


def logs_flood(event, context):
    for _ in range(3000):
        print("f" * 1023)


def prints_slowly(event, context):
    for number in range(3):
        print("tick", number)
        time.sleep(0.25)


def unicode_surrogate(event, context):
    print("\ud800")
    return "ok"


def items(event, context):
    yield "text"
    yield b"bytes"
    yield {"json": [1, None]}


async def items_async(event, context):
    for number in range(3):
        await asyncio.sleep(0)
        yield {"n": number}


async def items_returned(event, context):
    return items(event, context)


def items_none(event, context):
    return iter(())


def items_failing(event, context):
    yield "first"
    inner()


async def items_failing_async(event, context):
    yield "first"
    inner()


def items_bad(event, context):
    yield {"a": {1}}


def items_http(event, context):
    lines = ("data: %d\n\n" % number for number in range(2))
    return {"statusCode": 207, "headers": {"Content-Type": "text/event-stream"}, "body": lines}


def big_items(event, context):
    """`event["count"]` items of `event["size"]` bytes; a file is left when it is closed."""
    try:
        for _ in range(event["count"]):
            yield b"z" * event["size"]
    finally:
        with open(event["mark"], "w") as mark:
            mark.write("closed")


async def big_items_async(event, context):
    try:
        for _ in range(event["count"]):
            yield b"z" * event["size"]
    finally:
        with open(event["mark"], "w") as mark:
            mark.write("closed")


async def slow_items(event, context):
    yield "first"
    await asyncio.sleep(60)
    yield "second"


async def abortable(event, context):
    """Ends when it is cancelled."""
    context.log.info("started")
    await asyncio.sleep(60)


async def waits(event, context):
    print(f"start {event['n']}")
    await asyncio.sleep(event["seconds"])
    print(f"end {event['n']}")
    return event["n"]


def control_descriptors(event, context):
    """Unix sockets that a child process inherits."""
    program = "ls -l /proc/self/fd | grep -c socket: || true"
    return int(subprocess.run(["sh", "-c", program], stdout=subprocess.PIPE).stdout)


def stray(event, context):
    """An error in the background while the call runs, or after it."""
    thread = threading.Thread(target=inner)
    thread.start()
    thread.join()
    return "survived"


def looks_around(event, context):
    import __main__

    return [sys.argv[1:], hasattr(__main__, "Instance"), hasattr(__main__, "Link")]


def forks(event, context):
    child = os.fork()
    if child == 0:
        print("from the child")
        return "child"
    os.waitpid(child, 0)
    return "parent"


def spawns(event, context):
    import multiprocessing

    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.map(abs, [-1, -2])


def runs_own_loop(event, context):
    return asyncio.run(echo_async(event, context))


def gives_awaitable(event, context):
    return echo_async(event, context)


def uses_logging(event, context):
    logging.getLogger("lib").info("told")
    logging.warning("%s", "careful")
    try:
        inner()
    except ValueError:
        logging.exception("caught")


async def exits_in_task(event, context):
    async def leave():
        sys.exit(4)

    task = asyncio.ensure_future(leave())
    await asyncio.sleep(0.05)
    return task.done()


class Handler:
    def __call__(self, event, context):
        return "called"


class AsyncHandler:
    async def __call__(self, event, context):
        return "called"


callable_object = Handler()
async_callable_object = AsyncHandler()
not_callable = 5
