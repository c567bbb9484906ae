"""Starts and watches every process of one machine; knows Django only as a command to spawn."""
