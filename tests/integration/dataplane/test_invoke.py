"""Calling functions through a real gateway and a real runner."""

import json

from tests.integration.dataplane.conftest import DataPlane

ECHO = """
import json
def handler(event, context):
    return {"event": event, "id": context.aws_request_id, "v": context.function_version}
"""


class TestInvoke:
    def test_answers_as_the_specification_says(self, plane: DataPlane) -> None:
        plane.upload("echo", ECHO)

        answer = plane.invoke("echo", json.dumps({"key": "value"}))

        document = answer.json()
        assert answer.status_code == 200, answer.text
        assert json.loads(document["body"])["event"] == {"key": "value"}
        assert document["statusCode"] == 200
        assert document["executedVersion"] == "v1"
        assert document["coldStart"] is True
        assert document["billedDuration"] % 100 == 0
        assert document["durations"]["runMs"] == document["executionTime"]

    def test_is_warm_the_second_time(self, plane: DataPlane) -> None:
        plane.upload("warm", ECHO)
        plane.invoke("warm")

        again = plane.invoke("warm").json()

        assert (again["coldStart"], again["durations"]["initMs"]) == (False, 0)
