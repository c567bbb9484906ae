"""The Celery app; it finds every app's `tasks.py`."""

import os

from celery import Celery

from hotswap.jobs import OUTSIDE, OUTSIDE_QUEUE, PERIODIC

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "hotswap.settings")

app = Celery("hotswap")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.conf.beat_schedule = {
    str(job): {"task": str(job), "schedule": seconds, "options": {"expires": seconds}}
    for job, seconds in PERIODIC.items()
}
app.conf.task_routes = {str(job): {"queue": OUTSIDE_QUEUE} for job in OUTSIDE}
app.autodiscover_tasks()
