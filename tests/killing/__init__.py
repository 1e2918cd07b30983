"""Commands that get signals at random moments, and whether everything ends as if nothing had happened."""
