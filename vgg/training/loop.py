"""The training loop, which runs in a worker.

Every backend gets the same initial parameters and the same batches, and its results are recorded in the same way.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..backends import VELOCITY
from ..core import files, oracle, params
from ..core.errors import ContractError, VGGError, mismatch
from ..core.masks import masks
from ..core.recipe import Recipe
from ..core.replicas import group
from ..core.spec import Spec
from ..core.values import real
from . import batches
from .batches import Place
from .checkpoints import Checkpoints, alone_in, initial
from .clock import Clock, out_of_memory, peak_bytes
from .evaluation import evaluation
from .fingerprint import fingerprint as fingerprint_of
from .past import FILES, past

Arrays = Mapping[str, NDArray[Any]]
Emit = Callable[[dict[str, Any]], None]
SIGN = 10.0
"""Seconds after which an evaluation sends an empty event, so that the client does not end a silent worker."""


def run(
    backend: Any,
    out: Path,
    arrays: Arrays,
    *,
    spec: dict[str, Any],
    recipe: dict[str, Any],
    device: str,
    facts: dict[str, Any],
    emit: Emit,
    stopping: Callable[[], bool] = lambda: False,
    keep: int = 2,
    every: int = 0,
    class_names: Sequence[str] = (),
) -> dict[str, Any]:
    """Train ``backend`` in the run directory ``out``, and return the summary that ``run.json`` also gets.

    ``arrays`` are train_images, train_labels, test_images and test_labels: images uint8 (N, C, H, W), labels int64
    (N,). The run continues from the last checkpoint in ``out``, if there is one. A checkpoint is written after each
    epoch and after every ``every`` steps (0: only after epochs); ``keep`` is the number that is kept (0: none is
    written). ``stopping`` is called after each step; when it returns true, a checkpoint is written and the run stops.
    If there are several processes, only the first writes files.

    The summary has losses, accuracy, images/s, seconds of compiling and per epoch, shares of the time, peak bytes of
    the host's memory, and the device. For a run that stops it is ``{"stopped": (epoch, step)}``. Raises ``VGGError``
    when ``out`` is in use, when it cannot be written, when memory is exhausted, when the loss is not finite, and for
    what ``past`` and ``batches.check_trainable`` refuse.
    """
    with nullcontext() if group().rank else alone_in(out), _written(out):
        loop = Loop(backend, out, arrays, Spec.from_dict(spec), Recipe.from_dict(recipe), device, emit, keep)
        facts = json.loads(json.dumps(facts))  # as run.json will return them, without tuples
        loop.begin(facts)
        while loop.place[0] < loop.recipe.epochs:
            if not loop.train(every, stopping):
                return {"stopped": loop.place}
            loop.test()
            loop.save()
        return loop.finish(facts, class_names)


@contextmanager
def _written(out: Path) -> Iterator[None]:
    """Turn an ``OSError`` in the block, such as a full disk, into a ``VGGError`` that says which file it concerns."""
    try:
        yield
    except OSError as error:
        raise files.unwritable(Path(error.filename or out), error) from error


class Loop:
    """One run: its learner, the place that it has reached, and the files that it writes."""

    def __init__(
        self, backend: Any, out: Path, arrays: Arrays, spec: Spec, recipe: Recipe, device: str, emit: Emit, keep: int
    ) -> None:
        self.out, self.arrays, self.spec, self.recipe, self.emit, self.device = out, arrays, spec, recipe, emit, device
        images, labels = arrays["train_images"], arrays["train_labels"]
        self.steps, self.group = batches.Steps.of(recipe, len(labels)), group()
        batches.check_trainable(spec, self.steps)
        self.examples, held_out = batches.split(len(labels), recipe.validation, recipe.seed)
        self.evaluation_set = ("validation", images[held_out], labels[held_out]) if len(held_out) else self._test_set()
        fingerprint = fingerprint_of(spec, recipe, arrays)
        earlier = past(out, spec, recipe, self.steps, fingerprint)
        self.checkpoints, self.history = Checkpoints(out, keep, fingerprint), earlier.history
        self.place: Place = earlier.place
        self.logits: NDArray[np.float64] | None = None
        self.clock, self.starts = Clock(), [0]
        self.epoch_seconds: float | None = None
        self.backend = backend
        self.learner: Any = self._learner({} if earlier.state else initial(spec, recipe))
        if earlier.state:
            self.learner.restore(earlier.state)

    def _learner(self, weights: Arrays) -> Any:
        """Return a new learner, of ``weights`` if there are any."""
        model = self.backend.build(self.spec, dtype=self.recipe.dtype, device=self.device)
        return self.backend.learner(self.backend.load(model, weights) if weights else model, self.recipe)

    def begin(self, facts: dict[str, Any]) -> None:
        """Write ``run.json``, and prepare the directory for a run that continues from a checkpoint.

        ``metrics.jsonl`` is cut back to the checkpoint, and temporary files of an earlier process are removed.
        """
        if not self.group.rank:
            files.sweep(self.out, FILES.__contains__)
            self.checkpoints.sweep()
            self.history.begin()
        self._describe(facts, None)
        self.clock = Clock()

    def train(self, every: int, stopping: Callable[[], bool]) -> bool:
        """Train the rest of an epoch. Return False when the run was stopped, otherwise True.

        Raises ``VGGError`` when a loss is not finite.
        """
        (epoch, first), start = self.place, self.clock.training()
        lr = self.recipe.lr_at(epoch, self.history.accuracies())
        rest = batches.batches(len(self.examples), self.recipe.batch_size, self.recipe.seed, epoch, first)
        for step, batch in enumerate(rest, first):
            self._step(lr, self.examples[batch])
            self.place = (epoch, step + 1)
            stop = stopping()
            if stop or (every and (step + 1) % every == 0):
                self.save()
            if stop:
                return False
        self.place = (epoch + 1, 0)
        self.epoch_seconds = None if first else self.clock.training() - start
        return True

    def test(self) -> None:
        """Measure loss and accuracy after an epoch, with the same NumPy code for every backend.

        Raises ``VGGError`` when the loss is not finite.
        """
        epoch, (name, images, labels) = self.place[0] - 1, self.evaluation_set
        self.logits = self._logits(images)
        loss, _ = oracle.cross_entropy(self.logits, labels)
        if not math.isfinite(loss):
            raise self._diverged(f"{name} loss is {loss} after epoch {epoch + 1}")
        accuracy = float((self.logits.argmax(axis=1) == labels).mean())
        results = {f"{name}_loss": loss, f"{name}_accuracy": accuracy}
        row = {"epoch": epoch, **results, "epoch_seconds": self.epoch_seconds}
        self._log(row, training_loss=self.history.training_loss(epoch))

    def save(self) -> None:
        """Write a checkpoint of this place in the run, unless none are kept.

        Raises ``VGGError`` when a parameter is not finite. If ReLUs and max-pools swallow NaN, losses stay finite, so
        only the parameters show it.
        """
        if self.group.rank:
            return
        with self.clock.measure("checkpoint"):
            state = self.learner.state()
            bad = [n for n, a in state.items() if not n.startswith(VELOCITY) and not np.isfinite(a).all()]
            if bad:
                raise self._diverged(
                    f"{bad[0]} is not finite before epoch {self.place[0] + 1}, step {self.place[1] + 1}"
                )
            if not self.checkpoints.keep:
                return
            self.history.sync()
            self.checkpoints.save(state, self.place, self.spec, self.history.digest())

    def finish(self, facts: dict[str, Any], class_names: Sequence[str]) -> dict[str, Any]:
        """Evaluate the test images; write the weights, the evaluation and the summary; return the summary."""
        name, images, labels = self._test_set()
        logits = self._logits(images) if self.logits is None or self.evaluation_set[0] != name else self.logits
        results = evaluation(logits, labels, class_names)
        if not self.group.rank:
            self._write(results)
        summary = {**self._summary(), "test_accuracy": results["accuracy"], "shares": self.clock.shares()}
        self._describe(facts, summary)
        return summary

    def _write(self, results: dict[str, Any]) -> None:
        with self.clock.measure("checkpoint"):
            state = self.learner.state()
            weights = {name: state[name] for name in params.shapes(self.spec)}
            params.write_params(self.out / "weights.safetensors", weights, self.spec)
            files.write_atomically(self.out / "evaluation.json", json.dumps(results, indent=1).encode())

    def _summary(self) -> dict[str, Any]:
        """Return the first loss, the mean loss of the last epoch, speeds, peak memory in bytes, and the device."""
        return {**self.history.summary(self.starts), "peak_bytes": peak_bytes(), "device": self.device}

    def _step(self, lr: float, batch: NDArray[np.int64]) -> None:
        (epoch, step), labels = self.place, self.arrays["train_labels"][batch]
        images = batches.augmented(self.arrays["train_images"][batch], self.recipe, epoch, step)
        options = self._masks(len(batch))
        with self.clock.measure("step"):
            loss = self._loss(images, labels, lr, options)
        if not math.isfinite(loss):
            raise self._diverged(f"loss is {loss} at epoch {epoch + 1}, step {step + 1}")
        row = {"epoch": epoch, "step": step, "loss": loss, "lr": lr, "seconds": self.clock.last}
        self._log(row, images=len(batch))

    def _loss(self, images: NDArray[Any], labels: NDArray[Any], lr: float, options: dict[str, Any]) -> float:
        try:
            return real("step()", self.learner.step(images, labels, lr, **options))
        except Exception as error:
            if not out_of_memory(error):
                raise
        # Not in the except clause, where the error still holds the memory of the failed step.
        fitting = f"; {self._fitting(images, labels)}" if self.group.size == 1 else ""
        raise mismatch("--batch-size", f"out of memory with {len(images)}", f"one that fits{fitting}")

    def _fitting(self, images: NDArray[Any], labels: NDArray[Any]) -> str:
        """Return as text the largest half, quarter, ... of a batch for which the memory is enough, found by trial.

        Each trial needs a new learner, because the arrays that a failed step had donated are lost.
        """
        size = len(images)
        while size := size // 2:
            if batches.untrainable(self.spec, batches.Steps(self.steps.examples, size)):
                continue
            self.learner = None
            try:
                self.learner = self._learner({})
                float(self.learner.step(images[:size], labels[:size], 0.0))
            except Exception as error:
                if not out_of_memory(error):
                    raise
            else:
                return f"{size} does"
        return "not even 1 does, so take a smaller network or input"

    def _diverged(self, what: str) -> VGGError:
        if self.place == (0, 0):
            return self._overflow(what)
        paths = self.checkpoints.paths()
        where = f"; --init-from takes the last good checkpoint, {paths[-1]}" if paths else ""
        plan, do = self.recipe, [f"a smaller learning rate than {self.recipe.lr:g}"]
        do += [f"a smaller weight decay than {plan.weight_decay:g}"] if plan.weight_decay else []
        do += (
            [f"other pixels than (value / 255 - {plan.mean:g}) / {plan.std:g}"]
            if (plan.mean, plan.std) != (0, 1)
            else []
        )
        return VGGError(f"{what}; start again with {', or '.join(do)}{where}")

    def _overflow(self, what: str) -> VGGError:
        """Return the error for a loss that is not finite before any update: the learning rate had no say in it."""
        plan = self.recipe
        pixels = f"pixels are (value / 255 - {plan.mean:g}) / {plan.std:g}"
        weights = f"weights are from {plan.init_from}" if plan.init_from else f"weights are drawn by {plan.init}"
        causes = f"{pixels}, {weights}, and the arithmetic is {plan.precision}"
        return VGGError(
            f"{what}, before any update, so the learning rate is not the cause; {causes}: change one of them"
        )

    def _masks(self, count: int) -> dict[str, Any]:
        if self.recipe.dropout == "native":
            return {}
        return {"masks": masks(self.spec, count, self.recipe.seed, self.steps.before(self.place))}

    def _test_set(self) -> tuple[str, NDArray[Any], NDArray[Any]]:
        return "test", self.arrays["test_images"], self.arrays["test_labels"]

    def _logits(self, images: NDArray[Any]) -> NDArray[np.float64]:
        """Return the logits (N, classes) of images (N, C, H, W), as float64.

        All batches have the same size, so that a compiled backend compiles once: the last is padded with the first
        image.
        """
        size, images = min(self.recipe.batch_size, len(images)), batches.centred(images, self.recipe)
        with self.clock.measure("evaluation"):
            parts, last_sign = [], time.monotonic()
            for start in range(0, len(images), size):
                batch = images[start : start + size]
                padding = np.repeat(images[:1], size - len(batch), axis=0)
                parts.append(self._evaluate(np.concatenate([batch, padding]))[: len(batch)])
                if time.monotonic() - last_sign > SIGN:
                    last_sign = time.monotonic()
                    self.emit({})
        return np.concatenate(parts).astype(np.float64)

    def _evaluate(self, images: NDArray[Any]) -> NDArray[Any]:
        try:
            logits = np.asarray(self.learner.evaluate(images))
        except Exception as error:
            if not out_of_memory(error):
                raise
        else:
            return self._checked(logits, len(images))
        raise mismatch("--batch-size", f"out of memory evaluating {len(images)}", "fewer")

    def _checked(self, logits: NDArray[Any], count: int) -> NDArray[Any]:
        """Return ``logits``. Raises ``ContractError`` unless they are floats of shape (``count``, classes)."""
        if logits.dtype.kind != "f" or logits.shape != (count, self.spec.classes):
            got, wanted = f"{logits.dtype} {logits.shape}", f"floats of shape {(count, self.spec.classes)}"
            raise mismatch("evaluate()", got, wanted, kind=ContractError)
        return logits

    def _log(self, row: dict[str, Any], **more: Any) -> None:
        """Write ``row`` to ``metrics.jsonl``; send it as an event with ``more`` and the ``number`` of steps so far."""
        self.history.rows.append(row)
        if self.group.rank:
            return
        self.history.append(row)
        self.emit({**row, **more, "number": self.steps.before(self.place) + ("step" in row)})

    def _describe(self, facts: dict[str, Any], summary: dict[str, Any] | None) -> None:
        if self.group.rank:
            return
        path = self.out / "run.json"
        about = files.read_object(path) if path.exists() else {}
        if summary is None:
            about["starts"] = self.starts = self._starts(about)
        if about.get("facts") not in (None, facts):  # the run continues in another environment or on another device
            about["earlier_facts"] = [*about.get("earlier_facts", []), about["facts"]]
        about = {"device": self.device, **about, "placed": self.device, "facts": facts, "summary": summary}
        about |= {"spec": self.spec.to_dict(), "recipe": self.recipe.to_dict(), "examples": self.steps.examples}
        files.write_atomically(path, json.dumps(about, indent=1).encode())

    def _starts(self, about: dict[str, Any]) -> list[int]:
        """Return the numbers of steps that were behind this run when each of its processes began.

        What a process compiles does not count for the speed, and neither do steps of a run that this one continues.
        """
        earlier, begun = about.get("starts", [] if "continues" in about else [0]), self.steps.before(self.place)
        return [*(start for start in earlier if start < begun), begun]
