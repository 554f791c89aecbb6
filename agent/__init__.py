"""telemetry-agent: rotates, keeps, ships and watches telemetry files without losing a record."""

__version__ = "0.1.0"
