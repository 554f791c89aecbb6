"""What is served over HTTP: metrics, probes, the API."""
