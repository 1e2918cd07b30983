"""Run directories as one self-contained HTML page."""
