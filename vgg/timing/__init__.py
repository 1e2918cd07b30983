"""``vgg bench``: our native models beside what a user would otherwise run, and beside what the machine can do."""
