"""``vgg bench``: time our native models against what a user would otherwise run, and against the machine's limits."""
