"""The log engine: live files, sealed segments, positions, and the pure decisions between them."""
