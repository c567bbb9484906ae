"""Writes: what the data plane reports, and how long it is kept."""
