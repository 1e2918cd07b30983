"""The work of the parent process: it reads options, starts workers and keeps run directories."""
