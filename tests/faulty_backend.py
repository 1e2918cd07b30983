"""The oracle, misbehaving in ``forward`` or at import as ``VGG_FAULT`` says: what a client must survive."""

from __future__ import annotations

import ctypes
import fcntl
import os
import resource
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from vgg_oracle import DECLARED, build, dump, facts, learner, load, loss_and_grads, trace, vgg_block
from vgg_oracle import forward as healthy
from vgg_oracle import learner as quiet
from vgg_oracle import loss_and_grads as differentiated
from vgg_oracle import trace as traced

if TYPE_CHECKING:
    from collections.abc import Callable

    from vgg_oracle import Learner, Model

    from vgg import Recipe
    from vgg.backends import Array, Arrays

__all__ = ["DECLARED", "build", "dump", "facts", "forward", "learner", "load", "loss_and_grads", "trace", "vgg_block"]
FAULT = os.environ["VGG_FAULT"]
resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def forward(model: Model, x: Array, *, train: bool = False) -> Array:
    """The oracle's, after the fault or spoilt by it."""
    FAULTS.get(FAULT, _none)()
    return cast("Array", SPOILT.get(FAULT, np.asarray)(healthy(model, x, train=train)))


def _none() -> None:
    pass


def _raises() -> None:
    raise ValueError("no kernel for this shape")


def _exits() -> None:
    sys.exit(7)


def _hangs() -> None:
    sys.stdout.write("waiting for the device\n")
    time.sleep(600)


def _killed() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _crashes() -> None:
    os.kill(os.getpid(), signal.SIGSEGV)


def _aborts() -> None:
    os.write(2, b"driver: out of memory\n")
    os._exit(3)


def _prints() -> None:
    """As Python does and as a command does."""
    sys.stdout.write("progress " * 20_000)
    os.write(1, b"progress " * 20_000)
    subprocess.run(["echo", "progress"], check=True)


def _prints_in_c() -> None:
    """Which keeps it back until there is more."""
    ctypes.CDLL(None).printf(b"progress")


def _prints_and_raises() -> None:
    _prints_in_c()
    raise ValueError("no kernel for this shape")


def _reads() -> None:
    """Takes all there is on standard input, as a debugger or a careless command would."""
    subprocess.run(["cat"], check=True, stdout=subprocess.DEVNULL)


def _garbles() -> None:
    """Says something else where replies are awaited."""
    os.write(_replies(), b"{}\n")


def _closes() -> None:
    """Hangs up, and hangs."""
    os.close(_replies())
    time.sleep(600)


def _replies() -> int:
    """The first file beyond the standard ones that is open for writing alone."""
    return next(number for number in range(3, 64) if _mode(number) == os.O_WRONLY)


def _mode(number: int) -> int | None:
    try:
        return fcntl.fcntl(number, fcntl.F_GETFL) & os.O_ACCMODE
    except OSError:
        return None


def _starts() -> None:
    """A process that nobody waits for."""
    subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])


def _forks() -> None:
    """A copy of this process, pipes included, outlives it."""
    if os.fork():
        os._exit(4)
    time.sleep(600)


FAULTS: dict[str, Callable[[], None]] = {
    "raises": _raises,
    "exits": _exits,
    "hangs": _hangs,
    "killed": _killed,
    "crashes": _crashes,
    "aborts": _aborts,
    "prints": _prints,
    "prints in C": _prints_in_c,
    "prints and raises": _prints_and_raises,
    "reads": _reads,
    "garbles": _garbles,
    "closes": _closes,
    "starts": _starts,
    "forks": _forks,
}
SPOILT: dict[str, Callable[[Array], object]] = {
    "not finite": lambda logits: np.full_like(logits, np.nan),
    "nothing": lambda logits: None,
    "a list": lambda logits: logits.tolist(),
    "objects": lambda logits: logits.astype(object),
    "too short": lambda logits: logits[:, 1:],
    "off": lambda logits: logits * np.float32(1.001),
    "half": lambda logits: logits.astype(np.float16),
}
if FAULT == "signature":

    def forward(model: Model, x: Array) -> Array:  # type: ignore[misc]
        """Knows of no train mode."""
        return healthy(model, x)


if FAULT == "keys":

    def trace(model: Model, x: Array, *, train: bool = False) -> Arrays:
        """The first layer under a name of its own."""
        return {name.replace("block1.conv1", "conv0"): a for name, a in traced(model, x, train=train).items()}


if FAULT == "ties":

    def loss_and_grads(model: Model, x: Array, y: Array, *, train: bool = False) -> tuple[float, Arrays]:
        """Gradients that are not numbers."""
        loss, grads = differentiated(model, x, y, train=train)
        return loss, {name: np.full_like(g, np.nan) for name, g in grads.items()}


if FAULT == "chatters":
    sys.stdout.write("welcome\n")

    def learner(model: Model, recipe: Recipe) -> Learner:
        """Announces itself."""
        sys.stdout.write("here I learn\n")
        return quiet(model, recipe)


if FAULT == "no steps":

    def learner(model: Model, recipe: Recipe) -> Learner:
        """Its state does not say how many."""
        made = quiet(model, recipe)
        whole = made.state
        made.state = lambda: {n: a for n, a in whole().items() if n != "step"}  # type: ignore[method-assign]
        return made


if FAULT == "never stops":
    from vgg.training import loop

    run = loop.run
    loop.run = lambda *a, **k: run(*a, **{**k, "stopping": lambda: False})


if FAULT == "no facts":

    def facts() -> dict[str, Any]:
        """Says nothing about itself."""
        return {}


if FAULT == "incomplete":
    del trace, learner
if FAULT == "import":
    raise ImportError("libframework.so: cannot open shared object file")
