"""What the data plane reported."""

from runners.models.invocation import InvocationMinute, InvocationRecord
from runners.models.log import LogLine, LogStream
from runners.models.node import RunnerNode
from runners.models.report import ReportSeen

__all__ = [
    "InvocationMinute",
    "InvocationRecord",
    "LogLine",
    "LogStream",
    "ReportSeen",
    "RunnerNode",
]
