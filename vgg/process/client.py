"""The client of a worker: it starts the worker in its backend's environment, sends it jobs, and survives its death."""

from __future__ import annotations

import queue
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol, Self

from numpy.typing import NDArray

from ..core.errors import BackendError, RefusedError, VGGError, mismatch
from ..core.recipe import Recipe
from ..core.spec import Spec
from . import ranks, replies, schema, wire
from .channel import Channel
from .environments import damage, launch
from .registry import Entry
from .surroundings import heard
from .tuning import SHARED, UNSEEN

Array = NDArray[Any]


class Listener(Protocol):
    """An object that is informed of progress."""

    def stage(self, backend: str, what: str, total: int | None = None) -> None:
        """``backend`` begins the work ``what``, which has ``total`` steps, if that is known."""
        ...

    def event(self, backend: str, event: dict[str, Any]) -> None:
        """``backend`` has done a training step or an evaluation; an empty ``event`` is only a sign of life."""
        ...


class Jobs(ABC):
    """The jobs of a backend as methods, all of which use ``call``. They raise ``BackendError`` when a job fails."""

    device = "cpu"
    """The device of models: cpu, gpu, or auto for a gpu if there is one."""

    @abstractmethod
    def call(self, job: str, arrays: Mapping[str, Array] | None = None, **arguments: Any) -> tuple[Any, wire.Arrays]:
        """Do one job and return its (result, arrays)."""

    def facts(self) -> dict[str, Any]:
        """Return versions, devices, options that change numbers, declared differences, and precisions by device."""
        return dict(self.call("facts")[0])

    @cached_property
    def declared(self) -> dict[str, str]:
        """The backend's declared differences."""
        return dict(self.facts()["declared"])

    def place(self, recipe: Recipe) -> str:
        """Return what ``device`` stands for, cpu or gpu. Raises ``BackendError`` if it does not support ``recipe``."""
        return str(self.call("place", device=self.device, precision=recipe.precision)[0])

    def build(self, spec: Spec, params: Mapping[str, Array] | None = None, *, dtype: str = "float32") -> str:
        """Build the model that the other methods use, load ``params`` into it, and return its device, cpu or gpu."""
        place, _ = self.call("build", spec=spec.to_dict(), dtype=dtype, device=self.device)
        if params is not None:
            self.call("load", params)
        return str(place)

    def select(self, name: str = "") -> None:
        """Let the following calls use the model and the learner of this name. Those of other names are kept."""
        self.call("select", name=name)

    def dump(self) -> wire.Arrays:
        """Return the model's canonical parameters."""
        return self.call("dump")[1]

    def forward(self, x: Array, *, train: bool = False) -> Array:
        """Return the logits (N, classes) of images ``x`` (N, C, H, W)."""
        return self.call("forward", {"x": x}, train=train)[1]["logits"]

    def trace(self, x: Array, *, train: bool = False) -> wire.Arrays:
        """Return ``{layer name: activation}`` in the backend's order."""
        order, activations = self.call("trace", {"x": x}, train=train)
        return {name: activations[name] for name in order}

    def loss_and_grads(self, x: Array, y: Array, *, train: bool = False) -> tuple[float, wire.Arrays]:
        """Return the mean cross-entropy of images (N, C, H, W) and labels (N,), and ``{canonical name: gradient}``."""
        return self.call("loss_and_grads", {"x": x, "y": y}, train=train)

    def learner(self, recipe: Recipe) -> None:
        """Make the learner that ``step``, ``evaluate``, ``state`` and ``restore`` use."""
        self.call("learner", recipe=recipe.to_dict())

    def step(self, x: Array, y: Array, lr: float, masks: Mapping[str, Array] | None = None) -> float:
        """Train on one batch and return the loss before the step.

        ``x`` is (N, C, H, W), ``y`` (N,). ``masks``, {dropout layer: (N, units)}, replace those of the framework.
        """
        mask_arrays = {wire.MASK + name: mask for name, mask in (masks or {}).items()}
        return float(self.call("step", {"x": x, "y": y, **mask_arrays}, lr=lr)[0])

    def evaluate(self, x: Array) -> Array:
        """Return the learner's logits (N, classes) of images ``x`` (N, C, H, W), in eval mode."""
        return self.call("evaluate", {"x": x})[1]["logits"]

    def state(self) -> wire.Arrays:
        """Return the learner's complete state."""
        return self.call("state")[1]

    def restore(self, state: Mapping[str, Array]) -> None:
        """Put the learner into a state that ``state`` returned."""
        self.call("restore", state)

    def script(self, source: str, spec: Spec, *, dtype: str = "float32") -> None:
        """Execute a script that ``vgg code`` prints; the other methods then use its model, and ``step`` its step."""
        self.call("script", source=source, spec=spec.to_dict(), dtype=dtype)

    def promise(self, name: str, dtype: str) -> str:
        """Return how the backend breaks the promise of this name, or an empty text when it keeps the promise.

        ``vgg.conformance.promises`` holds all promises.
        """
        return str(self.call("promise", name=name, dtype=dtype, device=self.device)[0])


class Worker(Jobs):
    """A backend in a process of its own. It is a context manager, which ends the process on every exit.

    ``env`` is ``current`` (this interpreter), ``uv`` (the lock file's environment), or ``auto`` (this interpreter if it
    has the framework, otherwise uv). ``timeout`` is the number of seconds that a job may take without a sign of life.
    ``device`` is where models are built: cpu, gpu, or auto for a gpu if there is one. ``replicas`` is the number of
    devices on which a learner trains. ``launched`` says that the process trains with those that a launcher has started.
    ``variables`` are environment variables of the process, which override all others.

    Raises ``BackendError`` for every failure. It is a failure too when a backend prints on standard output in any other
    job than its first, ``learner`` and ``train``. After an exception in a job the worker accepts further jobs; after
    the death of its process it is closed.
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
        launched: bool = False,
    ) -> None:
        self.entry = entry = entry.on(device)
        self.device = device
        self.timeout = timeout
        self._is_new, self._limit, self._end = True, replies.Limit(), ""
        with ExitStack() as stack, _started(entry):
            home = stack.enter_context(tempfile.TemporaryDirectory(prefix="vgg-", ignore_cleanup_errors=True))
            for source in (Path(__file__).parents[1], *entry.files()):
                (Path(home) / source.name).symlink_to(source)
            rubbish = Path(home, "tmp")  # frameworks leave temporary files behind
            rubbish.mkdir()
            launcher, rank_variables = ranks.spread(entry, replicas, home, launched=launched)
            command, environ = launch(entry, env, home)
            self._python = command[0]
            environ = {
                **(SHARED if device != "cpu" else {}),
                **heard(entry, environ, launched=launched),
                **(UNSEEN if device == "cpu" else {}),
                **rank_variables,
                "KERAS_HOME": home,
                "TMPDIR": str(rubbish),
                "PYTHONSAFEPATH": "1",
                **(variables or {}),
            }
            self._channel = Channel([*command, *launcher, "-m", "vgg.worker", entry.module], environ, Path(home))
            self._process = self._channel.process
            stack.callback(self._channel.close)
            self._resources = stack.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def alive(self) -> bool:
        """Whether the worker's process is running."""
        return self._channel.alive

    def close(self) -> None:
        """End the worker and every process that it started. Further calls do nothing."""
        self._resources.close()

    def call(
        self,
        job: str,
        arrays: Mapping[str, Array] | None = None,
        *,
        on_event: Callable[[dict[str, Any]], None] | None = None,
        **arguments: Any,
    ) -> tuple[Any, wire.Arrays]:
        """Send one job, wait for its answer, and return the answer's (result, arrays).

        ``on_event`` is called with every event that the job sends. Events and answers restart the timeout. Raises
        ``RefusedError`` when the worker refuses the job, and ``BackendError`` for every other failure.

        During the job ``train`` the first Ctrl-C does not raise ``KeyboardInterrupt``: it asks the worker to write a
        checkpoint and stop, and the answer then says that training has stopped. A second Ctrl-C raises
        ``KeyboardInterrupt``, and so does the first one during any other job.
        """
        self._limit.widen(arguments.get("spec"), arrays or {})
        self._send(job, {"job": job, "arguments": arguments}, arrays)
        stoppable = job == "train"
        while True:
            try:
                answer, out = self._next(job)
                if not isinstance(answer, schema.Event):
                    break
                if on_event:
                    on_event(answer.event)
            except KeyboardInterrupt:
                if not stoppable:
                    raise
                stoppable = False
                self._send(job, {"job": "stop"})
        return self._result(job, answer, out), out

    def _send(self, job: str, head: dict[str, Any], arrays: Mapping[str, Array] | None = None) -> None:
        try:
            self._channel.send(head, arrays, self._limit.of(job))
        except BrokenPipeError:
            raise self._ended(job) from None

    def _next(self, job: str) -> tuple[schema.Result | schema.Failure | schema.Event, wire.Arrays]:
        try:
            head, arrays = self._channel.receive(self.timeout)
            return replies.opened(job, head), arrays
        except queue.Empty:
            raise self._ended(job, f"no sign of life for {self.timeout:g} s; killed it") from None
        except EOFError:
            raise self._ended(job) from None
        except VGGError as error:
            raise self._ended(job, f"sent something that is not a message ({error}); killed it") from error

    def _result(self, job: str, answer: schema.Result | schema.Failure, arrays: wire.Arrays) -> Any:
        """Return the result of ``job``. Raises ``BackendError`` when the job failed or the answer is not one to it."""
        started, printed = not self._is_new, self._wrong_output(job)
        if isinstance(answer, schema.Failure):
            if not started and (error := damage(self.entry, self._python)):
                raise error
            kind = RefusedError if answer.refused else BackendError
            raise kind(f"{self.entry.name}: {job}: {answer.error}") from _RemoteError(answer.traceback)
        if printed:
            text = repr(printed[:60]) + "..." * (len(printed) > 60)
            got = f"{text} on standard output"
            raise mismatch(f"{self.entry.name}: {job}", got, "nothing", "print on standard error", BackendError)
        try:
            replies.check_result(job, answer.result, arrays)
        except VGGError as error:
            raise BackendError(f"{self.entry.name}: {job}: {error}") from error
        return answer.result

    def _wrong_output(self, job: str) -> str:
        """Return what the job printed on standard output, or an empty text when it may print.

        Frameworks print when the first job imports them, and when a learner meets those of other processes. Training
        may print, because a run of hours must not fail for it.
        """
        may_print = self._is_new or job in ("learner", "train")
        printed = self._channel.printed.take()
        self._is_new = False
        return "" if may_print else printed

    def _ended(self, job: str, how: str = "") -> BackendError:
        """Close this object and return the error for a worker that has ended.

        The error says ``how`` it ended, by default what it did wrong or the fate of its process, and the last lines
        that it printed.
        """
        self._end = how = how or self._end or self._channel.violation or self._channel.fate(min(self.timeout, 5))
        if self.alive:
            self._channel.kill()
        last_words = self._channel.last_words()
        self.close()
        if self._is_new and (error := damage(self.entry, self._python)):
            return error
        return BackendError(f"{self.entry.name}: {job}: {how}{last_words}")


@contextmanager
def _started(entry: Entry) -> Iterator[None]:
    """Turn an error of the system in the block, such as too many processes, into a ``BackendError``."""
    try:
        yield
    except (OSError, RuntimeError) as error:  # RuntimeError: no new thread
        raise BackendError(f"{entry.name}: its worker cannot be started ({error})") from error


class _RemoteError(Exception):
    """The worker's traceback, as the cause of a ``BackendError``; --debug shows it."""

    def __str__(self) -> str:
        return f"in the worker\n{self.args[0]}"
