"""Adapters to the outside: HTTP calls with bounds, and metric sources. Django-free."""
