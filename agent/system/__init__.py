"""What the machine and the agent's own container are doing, read from the kernel's files."""
