"""Background work: every job exists, runs twice without harm, and finds its own work."""

from datetime import timedelta

import pytest
from celery import current_app

from functions.models import Function
from hotswap import jobs
from hotswap.core import clock
from hotswap.jobs import Job
from tests.integration.control import create, deployed


class TestJobs:
    def test_are_all_registered(self):
        assert {str(job) for job in Job} <= set(current_app.tasks)

    def test_recur(self):
        hints = {Job.DEPLOYMENTS_RECONCILE}  # what they name, the tick finds as well
        assert set(jobs.PERIODIC) == set(Job) - hints
        assert set(current_app.conf.beat_schedule) == {str(job) for job in jobs.PERIODIC}

    @pytest.mark.parametrize("job", list(Job), ids=str)
    def test_run_twice_and_take_unknown_arguments(self, api, job):
        deployed(api)

        for _ in range(2):
            current_app.tasks[job](key="", from_the_future=True)

        assert api.get("/api/v1/functions/thumbs").status_code == 200

    def test_start_after_the_commit_only(self, api, django_capture_on_commit_callbacks):
        create(api, name="doomed")
        api.delete("/api/v1/functions/doomed")
        Function.objects.update(deleted_at=clock.utc_now() - timedelta(days=400))

        with django_capture_on_commit_callbacks() as pending:
            jobs.enqueue_on_commit(Job.FUNCTIONS_PURGE)
        before = Function.objects.count()
        for callback in pending:
            callback()

        assert (before, Function.objects.count()) == (1, 0)


class TestTransport:
    def test_carries_json_and_acknowledges_late(self):
        conf = current_app.conf

        assert (conf.accept_content, conf.task_acks_late, conf.task_reject_on_worker_lost) == (
            ["json"],
            True,
            True,
        )
        assert conf.broker_transport_options["visibility_timeout"] > conf.task_time_limit
