"""Limits far above any real network, so that a slip or a hostile file is refused in one line, not by a full memory."""

BLOCKS = 1_000
CONVS = 2_000
"""The most convolutions of a network."""
DENSE = 1_000
"""The most hidden dense layers of a head."""
WIDTH = 10_000_000
"""The most channels, units and classes."""
EXTENT = 100_000
"""The most pixels of a height, a width, a kernel, a stride, a padding or the side of a training image."""
EPOCHS = 1_000_000
BATCH = 10_000_000
SEED = 2**64 - 1
SEEDS = 1_000
"""The most runs per backend of a comparison."""
COUNT = 1_000_000_000
"""The most of everything that is counted and has no limit of its own: rounds, examples, checkpoints, steps."""
DROPS = 10_000
"""The most changes of the learning rate in a recipe."""
NAME = 200
"""The most characters of a name."""
PATH = 4096
"""The most characters of a path."""
DIGITS = 30
"""The most digits of an integer on the command line."""
VALUE = 10_000
"""The most characters of a value of ``--set``."""
KEY = 200
"""The most parts of a dotted key in TOML: the time to read one grows with the square of their number."""
DOCUMENT = 1_000_000
"""The most characters of a JSON or TOML document that a person writes: a spec, known failures."""
RESULT = 100_000_000
"""The most bytes of a file of results."""
