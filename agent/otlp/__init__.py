"""OTLP-JSON as records and envelopes."""
