"""The long-running parts: each duty is bounded steps that a loop repeats."""
