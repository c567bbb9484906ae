"""Where code runs: runners, invocation records, metrics and logs."""

from django.apps import AppConfig


class RunnersConfig(AppConfig):
    """The control plane's side of the data plane."""

    name = "runners"
    label = "runners"
