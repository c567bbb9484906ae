"""A function that does what a test asks for, to find out what its cell allows."""

import os
import socket
import time

import attacks


def handler(event, context):
    arguments = dict(event)
    return globals()[arguments.pop("action")](**arguments)


def where():
    return {"file": __file__, "cwd": os.getcwd(), "uid": os.getuid(), "pid": os.getpid()}


def write_beside_code():
    return _error(lambda: open(os.path.join(os.path.dirname(__file__), "new"), "w"))


def connect_again(path):
    return _error(lambda: socket.socket(socket.AF_UNIX).connect(path))


def hog(mib):
    return len([bytearray(b"x") * (1 << 20) for _ in range(mib)])


def fork_until_refused(most):
    """How many children could live at once."""
    children = []
    try:
        for _ in range(most):
            child = os.fork()
            if child == 0:
                time.sleep(60)
                os._exit(0)
            children.append(child)
    except OSError:
        pass
    for child in children:
        os.kill(child, 9)
        os.waitpid(child, 0)
    return len(children)


def fill_tmp(mib):
    """How many MiB fit, in files of one MiB."""
    for number in range(mib):
        try:
            with open(f"/tmp/fill{number}", "wb") as file:
                file.write(b"x" * (1 << 20))
        except OSError:
            return number
    return mib


def write_output(text):
    os.write(2, text.encode())


def close_output():
    os.close(1)
    os.close(2)


def daemon():
    """Leave a grandchild behind that nobody waits for."""
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            time.sleep(600)
        os._exit(0)
    os.wait()


def end(status):
    os._exit(status)


def attack():
    return attacks.succeeded()


def environment_of_first_process():
    return open("/proc/1/environ").read()


def _error(work):
    try:
        work()
    except OSError as exc:
        return exc.strerror
    return None


def crash_loudly():
    """Die as native code does, with a last word from the interpreter."""
    import ctypes
    import faulthandler

    faulthandler.enable(file=2)
    ctypes.string_at(0)


def find(name):
    """Every path with `name` in it that can be seen."""
    found = []
    for folder in ("/run", "/tmp", "/var", "/proc/1/root/run", "/sys"):
        for path, folders, files in os.walk(folder):
            found += [path + "/" + entry for entry in folders + files if name in entry]
    return found
