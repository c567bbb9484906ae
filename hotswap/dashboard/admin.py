"""The schedule of background jobs for staff, and saved test events."""

from django.contrib import admin
from django_celery_beat import models as schedules
from unfold.admin import ModelAdmin

from hotswap.dashboard.models import TestEvent
from hotswap.db.admin import ReadOnlyAdmin

# Registered by the package itself, in Django's own clothes: keep its forms, change the clothes.
for model in (
    schedules.PeriodicTask,
    schedules.IntervalSchedule,
    schedules.CrontabSchedule,
    schedules.ClockedSchedule,
):
    theirs = type(admin.site.get_model_admin(model))
    admin.site.unregister(model)
    admin.site.register(model, type(theirs.__name__, (theirs, ModelAdmin), {}))
admin.site.unregister(schedules.SolarSchedule)  # nothing here follows the sun


@admin.register(TestEvent)
class TestEventAdmin(ReadOnlyAdmin):
    """Saved payloads of all functions."""

    list_display = ("function", "name", "author", "updated_at")
    list_select_related = ("function",)
    search_fields = ("function__name", "name")
    ordering = ("-updated_at",)
