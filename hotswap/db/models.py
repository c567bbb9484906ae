"""What several tables share."""

from django.db import models


class TimestampedModel(models.Model):
    """Rows that say when they came and when they last changed. Services set both from `now`."""

    created_at = models.DateTimeField()
    updated_at = models.DateTimeField()

    class Meta:
        abstract = True
