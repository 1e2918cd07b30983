"""What the parent process does: it reads options, starts workers, and keeps run directories."""
