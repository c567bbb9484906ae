"""The life of an instance: HELLO, one INIT, calls, the end."""

import os
from pathlib import Path

import pytest

from runtimes.catalog import Runtime
from runtimes.protocol.framing import MAX_FRAME_BYTES, PREFIX, PROTOCOL_VERSION, FrameType
from tests.contract.runtimes.harness import FUNCTIONS, Instance, only

EX_PROTOCOL = 70


class TestBoot:
    def test_says_hello_with_its_protocol_language_version_and_pid(
        self, instance: Instance, runtime: Runtime
    ) -> None:
        hello = instance.read()

        protocol, language, version, pid = hello.header
        assert (hello.kind, protocol, language) == (
            FrameType.HELLO,
            PROTOCOL_VERSION,
            runtime.language,
        )
        assert version.startswith(f"{runtime.version}.")
        assert pid == instance.process.pid

    def test_leaves_at_once_when_the_socket_ends(self, instance: Instance) -> None:
        instance.read()

        instance.control.close()

        assert instance.exit_status() == 0

    def test_leaves_at_once_on_shutdown(self, instance: Instance) -> None:
        instance.read()

        instance.send(FrameType.SHUTDOWN)

        assert instance.exit_status() == 0

    def test_refuses_a_call_before_it_is_adopted(self, instance: Instance) -> None:
        instance.read()

        instance.invoke(1)

        assert instance.exit_status() == EX_PROTOCOL


class TestAdoption:
    def test_answers_ready_with_time_and_memory(self, instance: Instance) -> None:
        instance.read()

        instance.init("echo")

        ready = instance.read()
        init_us, memory_kib = ready.header
        assert ready.kind == FrameType.READY
        assert 0 < init_us < 5_000_000
        assert 4_000 < memory_kib < 500_000

    def test_shuts_down_between_calls(self, instance: Instance) -> None:
        instance.adopt("echo").call(b"1")

        instance.send(FrameType.SHUTDOWN)

        assert instance.exit_status() == 0

    @pytest.mark.parametrize("handler", ["echo", "echo_async"])
    def test_ends_the_process_on_a_second_init(self, instance: Instance, handler: str) -> None:
        instance.adopt(handler).call(b"1")

        instance.init("fails")

        assert instance.exit_status() == EX_PROTOCOL

    def test_ends_the_process_on_a_frame_over_the_limit(self, instance: Instance) -> None:
        instance.adopt("echo")

        instance.control.sendall(PREFIX.pack(MAX_FRAME_BYTES + 1, FrameType.INVOKE, 0, 0, 1))

        assert instance.exit_status() == EX_PROTOCOL

    def test_loads_a_module_in_a_folder(self, instance: Instance, runtime: Runtime) -> None:
        handler = {"python": "pkg/mod.handler", "node": "lib/mod.handler"}[runtime.language]

        reply = instance.adopt(handler).call().last

        assert reply.json == "from the package"

    def test_sends_lines_of_the_import_before_ready(self, instance: Instance) -> None:
        instance.read()
        instance.init("prints_on_import.handler")

        outcome = instance.until(FrameType.READY)

        assert outcome.kinds == [FrameType.LOG, FrameType.READY]
        assert (outcome.frames[0].stream, outcome.lines) == (0, [("INFO", "loading")])

    def test_gives_the_function_its_environment(self, instance: Instance) -> None:
        names = ["COLOUR", "AWS_LAMBDA_FUNCTION_NAME", "AWS_LAMBDA_FUNCTION_VERSION",
                 "AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "AWS_LAMBDA_LOG_STREAM_NAME",
                 "LAMBDA_TASK_ROOT", "_HANDLER", "TZ"]  # fmt: skip
        given = {"COLOUR": "blü", "AWS_LAMBDA_FUNCTION_NAME": "forged"}
        instance.adopt("environment", environment=given)

        told = instance.call(str(names).replace("'", '"').encode()).last.json

        code = str(FUNCTIONS / instance.runtime.language)
        main = "app" if instance.runtime.language == "python" else "index"
        assert list(told.values()) == [
            "blü", "demo", "7", "256", "2026/01/01/[7]i-1", code, f"{main}.environment", ":UTC",
        ]  # fmt: skip

    def test_works_in_the_code_folder_in_utc(self, instance: Instance) -> None:
        told = instance.adopt("where").call().last.json

        assert told == {"folder": str(FUNCTIONS / instance.runtime.language), "hour": 0}


class TestFailedAdoption:
    def test_names_a_missing_module(self, instance: Instance) -> None:
        told = instance.refused("nowhere.handler")

        assert told["errorType"] == "HandlerNotFound"
        assert "nowhere" in told["errorMessage"]

    def test_names_a_missing_export(self, instance: Instance) -> None:
        told = instance.refused("missing")

        assert told["errorType"] == "HandlerNotFound"
        assert "missing" in told["errorMessage"]

    def test_refuses_what_is_not_a_function(self, instance: Instance) -> None:
        told = instance.refused("not_callable")

        assert told["errorType"] == "HandlerNotFound"
        assert "not a function" in told["errorMessage"]

    def test_names_a_missing_dependency(self, instance: Instance) -> None:
        told = instance.refused("missing_dependency.handler")

        assert told["errorType"] in ("ModuleNotFoundError", "Error")
        assert any(name in told["errorMessage"] for name in ("no_such_library", "no-such-library"))
        assert any("missing_dependency" in line for line in told["stackTrace"])

    def test_tells_what_the_import_raised(self, instance: Instance) -> None:
        told = instance.refused("raises_on_import.handler")

        assert told["errorMessage"] == "no database"
        assert not any("bootstrap" in line or "importlib" in line for line in told["stackTrace"])

    def test_tells_where_the_syntax_is_wrong(self, instance: Instance, tmp_path: Path) -> None:
        wrong = {
            "python": ("wrong.py", "def handler(:\n"),
            "node": ("wrong.js", "exports.a = {;\n"),
        }
        name, text = wrong[instance.runtime.language]
        (tmp_path / name).write_text(text)

        told = instance.refused("wrong.handler", code=str(tmp_path))

        assert told["errorType"] == "SyntaxError"
        assert any(name in line for line in told["stackTrace"])

    def test_waits_for_its_end_afterwards(self, instance: Instance) -> None:
        instance.refused("missing")

        instance.send(FrameType.SHUTDOWN)

        assert instance.exit_status() == 0

    def test_refuses_calls_afterwards(self, instance: Instance) -> None:
        instance.refused("missing")

        instance.invoke(1)

        assert instance.exit_status() == EX_PROTOCOL


class TestControlSocket:
    def test_is_not_inherited_by_child_processes(self, instance: Instance) -> None:
        assert instance.adopt("control_descriptors").call().last.json == 0

    def test_is_not_left_in_plain_sight(self, instance: Instance) -> None:
        assert instance.adopt("looks_around").call().last.json == [[], False, False]

    @only("python")
    def test_has_a_high_number_that_code_does_not_close_by_chance(self, instance: Instance) -> None:
        descriptors = f"/proc/{instance.adopt('echo').process.pid}/fd"

        numbers = [int(name) for name in os.listdir(descriptors)
                   if "socket" in os.readlink(f"{descriptors}/{name}")]  # fmt: skip

        assert max(numbers) >= 200
