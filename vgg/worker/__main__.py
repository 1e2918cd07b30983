"""``python -m vgg.worker MODULE FILE``."""

from .serve import main

main()
