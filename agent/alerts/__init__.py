"""Alert rules and where they are told."""
