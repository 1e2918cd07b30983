"""What a user of each framework would otherwise run; four siblings, on nothing but the framework and its zoo.

``textbook``: stock layers in their default layout, the stock loader and resize, the loop that tutorials show.
``zoo``: the framework's own VGG in the fastest configuration known to its users, its batches in memory beforehand.
``ceilings``: a product of square matrices, and a copy, on the device; ``wait``: until all that was begun is done.
"""
