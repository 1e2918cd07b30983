"""What a user of each framework would otherwise run: four modules that use only the framework and its zoo.

``textbook``: stock layers in their default layout, the stock loader and resize, the loop that tutorials show.
``zoo``: the framework's own VGG in the fastest configuration known to its users, with its batches already in memory.
``ceilings``: a product of square matrices, and a copy, on the device. ``wait``: wait until all begun work is done.
"""
