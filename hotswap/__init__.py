"""HotSwap: a self-hosted serverless platform whose deployments can be seen and controlled."""

__version__ = "0.1.0"
