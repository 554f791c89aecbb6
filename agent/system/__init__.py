"""System collectors: one file a subject."""
