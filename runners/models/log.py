"""What functions printed."""

from django.contrib.postgres.indexes import BrinIndex
from django.db import models


class LogStream(models.Model):
    """The counter of one function's lines.

    The transaction that adds lines holds this row until it commits. So numbers become
    visible in their order: a reader that has seen n never finds a line below n later.
    """

    function_id = models.BigIntegerField(primary_key=True)
    last_seq = models.BigIntegerField()

    def __str__(self) -> str:
        return f"function {self.function_id} #{self.last_seq}"


class LogLine(models.Model):
    """One line. `seq` counts from 1 per function, without gaps at the time of writing."""

    pk = models.CompositePrimaryKey("function_id", "seq")
    function_id = models.BigIntegerField()
    seq = models.BigIntegerField()
    version_id = models.BigIntegerField()
    time_ms = models.BigIntegerField(help_text="epoch milliseconds, kept near the time of arrival")
    level = models.CharField(max_length=8)
    request_id = models.CharField(max_length=64)
    instance = models.CharField(max_length=128)
    text = models.TextField()

    class Meta:
        indexes = [
            models.Index(
                fields=["request_id", "seq"],
                condition=~models.Q(request_id=""),
                name="log_line_request",
            ),
            BrinIndex(fields=["time_ms"], name="log_line_age", autosummarize=True),
        ]

    def __str__(self) -> str:
        return f"function {self.function_id} #{self.seq}"
