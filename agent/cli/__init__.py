"""The commands: one file a command group; each parses, calls control and prints."""
