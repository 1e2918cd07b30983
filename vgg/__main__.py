"""``python -m vgg``, the same as ``vgg``."""

import sys

from .cli import main

sys.exit(main())
