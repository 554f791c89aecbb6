"""Conditions over own metrics: expression, state, and who is told."""
