"""Which reports have been applied."""

from django.db import models


class ReportSeen(models.Model):
    """How far the reports of one process have been applied, and what was left out of them.

    Its row lock lets one report of a process in at a time, so a repeated one finds its
    number taken.
    """

    channel = models.CharField(max_length=8)
    node = models.CharField(max_length=128)
    boot = models.CharField(max_length=32)
    last_seq = models.BigIntegerField()
    sampled_out = models.BigIntegerField(
        default=0, help_text="calls that the gateway counted but did not record one by one"
    )
    unknown = models.BigIntegerField(
        default=0, help_text="calls or lines of versions that no longer exist"
    )
    seen_at = models.DateTimeField(db_index=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["channel", "node", "boot"], name="report_seen_process"),
            models.CheckConstraint(
                condition=models.Q(channel__in=["calls", "evidence", "logs"]),
                name="report_seen_channel",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.channel} {self.node} {self.boot} #{self.last_seq}"
