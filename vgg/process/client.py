"""Starts a worker in its backend's environment, talks to it, and survives its death."""

from __future__ import annotations

import os
import queue
import signal
import subprocess
import tempfile
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from functools import cached_property
from pathlib import Path
from typing import Any, BinaryIO, Protocol, Self, cast

from numpy.typing import NDArray

from ..core.errors import BackendError, RefusedError, mismatch
from ..core.recipe import Recipe
from ..core.spec import Spec
from . import ranks, wire
from .environments import launch
from .registry import Entry
from .tuning import SHARED, UNSEEN

Array = NDArray[Any]


class Listener(Protocol):
    """Told what goes on: ``stage`` as work changes, ``event`` for every training step and evaluation."""

    def stage(self, backend: str, what: str, total: int | None = None) -> None: ...

    def event(self, backend: str, event: dict[str, Any]) -> None: ...


class Jobs(ABC):
    """The jobs of a backend, as methods; ``call`` gets them done."""

    device = "cpu"
    """Where ``build`` puts a model: cpu, gpu, or auto for a gpu if there is one."""

    @abstractmethod
    def call(self, job: str, arrays: Mapping[str, Array] | None = None, **arguments: Any) -> tuple[Any, wire.Arrays]:
        """(result, arrays) of one job."""

    def facts(self) -> dict[str, Any]:
        """Versions, devices, flags that change numbers, declared differences, precisions by device."""
        return dict(self.call("facts")[0])

    @cached_property
    def declared(self) -> dict[str, str]:
        """The backend's declared differences."""
        return dict(self.facts()["declared"])

    def place(self, recipe: Recipe) -> str:
        """Where ``device`` is, cpu or gpu; a ``BackendError`` if ``recipe`` cannot be trained there."""
        return str(self.call("place", device=self.device, precision=recipe.precision)[0])

    def build(self, spec: Spec, params: Mapping[str, Array] | None = None, *, dtype: str = "float32") -> str:
        """Build the model that the other calls speak of, and load ``params`` into it; where it is, cpu or gpu."""
        place, _ = self.call("build", spec=spec.to_dict(), dtype=dtype, device=self.device)
        if params is not None:
            self.call("load", params)
        return str(place)

    def select(self, name: str = "") -> None:
        """Let the calls that follow speak of the model and the learner of that name; other ones stay as they are."""
        self.call("select", name=name)

    def dump(self) -> wire.Arrays:
        """Canonical parameters."""
        return self.call("dump")[1]

    def forward(self, x: Array, *, train: bool = False) -> Array:
        """Logits (N, classes)."""
        return self.call("forward", {"x": x}, train=train)[1]["logits"]

    def trace(self, x: Array, *, train: bool = False) -> wire.Arrays:
        """``{layer name: activation}`` in the order in which the backend gave them."""
        order, activations = self.call("trace", {"x": x}, train=train)
        return {name: activations[name] for name in order}

    def loss_and_grads(self, x: Array, y: Array, *, train: bool = False) -> tuple[float, wire.Arrays]:
        """Mean cross-entropy and ``{canonical name: gradient}``."""
        return self.call("loss_and_grads", {"x": x, "y": y}, train=train)

    def learner(self, recipe: Recipe) -> None:
        """Make the learner that ``step``, ``evaluate``, ``state`` and ``restore`` speak of."""
        self.call("learner", recipe=recipe.to_dict())

    def step(self, x: Array, y: Array, lr: float, masks: Mapping[str, Array] | None = None) -> float:
        """Train on one batch; the loss before the step. ``masks``: in place of the framework's own."""
        named = {wire.MASK + name: mask for name, mask in (masks or {}).items()}
        return float(self.call("step", {"x": x, "y": y, **named}, lr=lr)[0])

    def evaluate(self, x: Array) -> Array:
        """Logits (N, classes) from the learner, in eval mode."""
        return self.call("evaluate", {"x": x})[1]["logits"]

    def state(self) -> wire.Arrays:
        """The learner's whole state."""
        return self.call("state")[1]

    def restore(self, state: Mapping[str, Array]) -> None:
        """Put the learner in that state."""
        self.call("restore", state)

    def promise(self, name: str, dtype: str) -> str:
        """In what way the backend breaks the promise of that name; empty where it keeps it.

        ``vgg.conformance.promises`` has all of them.
        """
        return str(self.call("promise", name=name, dtype=dtype, device=self.device)[0])


class Worker(Jobs):
    """A backend in a process of its own. Use as a context manager: leaving it, however, leaves no process behind.

    ``env`` is ``current`` (this interpreter), ``uv`` (the lock file's environment) or ``auto`` (the first if it has the
    framework). ``timeout`` is how many seconds a job may go without a sign of life. ``device`` is where models go,
    ``auto`` to a gpu if there is one; ``replicas`` is how many of them a learner trains on. ``variables`` are set in
    the process, whatever else sets them. Every failure is a ``BackendError``, and so is a backend that prints on
    standard output while it does anything but start or train; after an exception in a job the worker serves on, after a
    death it is closed.
    """

    def __init__(
        self,
        entry: Entry,
        *,
        env: str = "auto",
        timeout: float = 600,
        device: str = "cpu",
        variables: Mapping[str, str] | None = None,
        replicas: int = 1,
    ) -> None:
        self.entry = entry = entry.on(device)
        self.device = device
        self.timeout = timeout
        self._inbox: queue.Queue[tuple[dict[str, Any], wire.Arrays] | Exception] = queue.Queue()
        with ExitStack() as stack:
            home = stack.enter_context(tempfile.TemporaryDirectory(prefix="vgg-", ignore_cleanup_errors=True))
            for source in (Path(__file__).parents[1], *entry.files()):
                (Path(home) / source.name).symlink_to(source)
            launcher, told = ranks.spread(entry, replicas, home)
            command, environ = launch(entry, env, home)
            printed = Path(home) / "printed"
            printed.touch()
            self._printed = stack.enter_context(printed.open("rb"))
            self._started = False
            self._log = stack.enter_context(tempfile.TemporaryFile())
            self._process = subprocess.Popen(
                [*command, *launcher, "-m", "vgg.worker", entry.module, str(printed)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._log,
                env={
                    **(SHARED if device != "cpu" else {}),
                    **environ,
                    **(UNSEEN if device == "cpu" else {}),
                    **told,
                    "PYTHONSAFEPATH": "1",
                    **(variables or {}),
                },
                start_new_session=True,
            )
            self._reader = threading.Thread(
                target=self._read, args=(cast("BinaryIO", self._process.stdout),), daemon=True
            )
            self._reader.start()
            self._watcher = threading.Thread(target=self._watch, daemon=True)
            self._watcher.start()
            stack.callback(self._end)
            self._closing = stack.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def alive(self) -> bool:
        """Whether its process is running."""
        return self._process.poll() is None

    def close(self) -> None:
        """End the worker and whatever it started."""
        self._closing.close()

    def call(
        self,
        job: str,
        arrays: Mapping[str, Array] | None = None,
        *,
        on_event: Callable[[dict[str, Any]], None] | None = None,
        **arguments: Any,
    ) -> tuple[Any, wire.Arrays]:
        """Send one job and wait for its answer, handing events on as they come; any sign of life restarts the clock.

        Ctrl-C once asks training to write a checkpoint and stop, which its answer then says; twice, or during another
        job, it is a ``KeyboardInterrupt`` as usual.
        """
        self._send(job, {"job": job, "arguments": arguments}, arrays)
        patient = job == "train"
        while True:
            try:
                head, out = self._next(job)
                if "event" not in head:
                    break
                if on_event:
                    on_event(head["event"])
            except KeyboardInterrupt:
                if not patient:
                    raise
                patient = False
                self._send(job, {"job": "stop"})
        printed = self._newly_printed(job)
        if "error" in head:
            kind = RefusedError if head["refused"] else BackendError
            raise kind(f"{self.entry.name}: {job}: {head['error']}") from _RemoteError(head["traceback"])
        if printed:
            text = repr(printed[:60]) + "..." * (len(printed) > 60)
            got = f"{text} on standard output"
            raise mismatch(f"{self.entry.name}: {job}", got, "nothing", "print on standard error", BackendError)
        return head["result"], out

    def _send(self, job: str, head: dict[str, Any], arrays: Mapping[str, Array] | None = None) -> None:
        assert self._process.stdin
        if self._process.stdin.closed:
            raise self._ended(job)
        try:
            wire.send(cast("BinaryIO", self._process.stdin), head, arrays)
        except BrokenPipeError:
            raise self._ended(job) from None

    def _newly_printed(self, job: str) -> str:
        """What this job should not have. Frameworks print when they are imported, by the first job, and when a learner
        meets other processes'; a run of hours is not lost to a word.
        """
        quiet = self._started and job not in ("learner", "train")
        printed = self._printed.read().decode(errors="replace")
        self._started = True
        return printed if quiet else ""

    def _next(self, job: str) -> tuple[dict[str, Any], wire.Arrays]:
        try:
            message = self._inbox.get(timeout=self.timeout)
        except queue.Empty:
            raise self._ended(job, f"no sign of life for {self.timeout:g} s; killed it") from None
        if isinstance(message, EOFError):
            raise self._ended(job)
        if isinstance(message, Exception):
            raise self._ended(job, f"sent something that is not a message ({message!r}); killed it")
        return message

    def _read(self, stream: BinaryIO) -> None:
        with stream:
            try:
                while True:
                    self._inbox.put(wire.receive(stream))
            except Exception as error:  # noqa: BLE001 - whatever it is, it belongs to the caller's thread
                if not isinstance(error, EOFError):
                    self._kill()
                self._inbox.put(error)

    def _watch(self) -> None:
        """What the worker started dies with it: a forked child would hold the pipe open, and its death would go
        unnoticed.
        """
        self._process.wait()
        self._kill()

    def _kill(self) -> None:
        with suppress(ProcessLookupError, PermissionError):  # the latter: macOS, where only zombies are left
            os.killpg(self._process.pid, signal.SIGKILL)

    def _end(self) -> None:
        """End its input: a worker exits on that, and uv tidies up after it. What is left two seconds later is
        killed.
        """
        assert self._process.stdin
        with suppress(BrokenPipeError):
            self._process.stdin.close()
        self._watcher.join(timeout=2)
        if self._watcher.is_alive():  # else its number may be another's by now
            self._kill()
            self._watcher.join()
        self._reader.join(timeout=5)  # a process that left the group may hold the pipe open

    def _ended(self, job: str, how: str = "") -> BackendError:
        """What to raise when there is no worker any more: how that came, and the last that it said."""
        try:
            how = how or f"its process {_fate(self._process.wait(timeout=min(self.timeout, 5)))}"
        except subprocess.TimeoutExpired:
            how = "closed its end of the pipe; killed it"
        tail = self._tail()
        self.close()
        return BackendError(f"{self.entry.name}: {job}: {how}{tail}")

    def _tail(self) -> str:
        if self._log.closed:
            return ""
        self._log.seek(0)
        lines = (self._printed.read() + self._log.read()).decode(errors="replace").strip().splitlines()[-15:]
        return "".join(f"\n  | {line}" for line in lines)


def _fate(code: int) -> str:
    number = -code if code < 0 else code - 128  # uv reports a signal as a shell does
    names = [s.name for s in signal.Signals if s == number]
    why = ", which is what a system does that has run out of memory" if number == signal.SIGKILL else ""
    return f"was killed by {names[0]}{why}" if names else f"exited with status {code}"


class _RemoteError(Exception):
    """The worker's traceback, chained below a ``BackendError`` for --debug."""

    def __str__(self) -> str:
        return f"in the worker\n{self.args[0]}"
