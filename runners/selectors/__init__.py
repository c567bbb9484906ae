"""Reads: nodes, invocations, metrics and logs."""
