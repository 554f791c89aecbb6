"""Health checks: kinds, and the pure state behind a verdict."""
