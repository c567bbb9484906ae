"""Functions, versions, aliases and code packages: what users own."""

from django.apps import AppConfig


class FunctionsConfig(AppConfig):
    """The functions app."""

    name = "functions"
