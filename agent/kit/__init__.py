"""What every room uses and what knows no room: errors, clock, system calls, disk, loops, units, log."""
