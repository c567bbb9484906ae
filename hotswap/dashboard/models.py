"""What the portal keeps for itself."""

from django.db import models

from hotswap.db.models import TimestampedModel


class TestEvent(TimestampedModel):
    """A named payload to test a function with, shared by everybody who works on it."""

    function = models.ForeignKey(
        "functions.Function", on_delete=models.CASCADE, related_name="test_events"
    )
    name = models.CharField(max_length=64)
    payload = models.TextField()
    author = models.CharField(max_length=150)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["function", "name"], name="test_event_function_name"),
        ]

    def __str__(self) -> str:
        return f"{self.function_id}:{self.name}"
