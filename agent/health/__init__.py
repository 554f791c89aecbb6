"""Health checks: kinds, one a file; the state that damps their results; the board that runs them."""
