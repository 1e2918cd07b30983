"""The neutral training loop, run inside a worker: the same initial parameters, batches and bookkeeping for every
backend.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file, save

from . import data, params, reference
from .errors import VGGError
from .masks import masks
from .recipe import Recipe
from .spec import Spec

Arrays = Mapping[str, NDArray[Any]]
Emit = Callable[[dict[str, Any]], None]


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
    keep: int = 2,
) -> dict[str, Any]:
    """Train ``backend`` on ``arrays`` (train_images, train_labels, test_images, test_labels) into the directory
    ``out``.

    Goes on from the last of ``out``'s checkpoints, if it has any; ``keep`` says how many to hold (0: write none).
    Returns the summary that ``run.json`` ends with: losses, accuracy, images/s, compile seconds, peak bytes of memory.
    """
    loop = Loop(backend, out, arrays, Spec.from_dict(spec), Recipe.from_dict(recipe), device, emit, keep)
    loop.begin(facts)
    for epoch in range(loop.epoch, loop.recipe.epochs):
        loop.train(epoch)
        loop.test(epoch)
        loop.save(epoch + 1)
    return loop.finish(facts)


class Loop:
    """One run: its learner, its place in it, and the files that it writes."""

    def __init__(
        self, backend: Any, out: Path, arrays: Arrays, spec: Spec, recipe: Recipe, device: str, emit: Emit, keep: int
    ) -> None:
        self.out, self.arrays, self.spec, self.recipe, self.emit, self.keep = out, arrays, spec, recipe, emit, keep
        self.device = device
        self.epoch = 0
        self.rows: list[dict[str, Any]] = []
        model = backend.build(spec, dtype=recipe.dtype, device=device)
        model = backend.load(model, params.init(spec, recipe.seed, recipe.init, recipe.dtype))
        self.learner = backend.learner(model, recipe)

    def begin(self, facts: dict[str, Any]) -> None:
        """Write ``run.json``; read the last checkpoint, if there is one, and cut ``metrics.jsonl`` back to it."""
        checkpoints = self._checkpoints()
        if checkpoints:
            state = load_file(checkpoints[-1])
            self.epoch = int(state.pop("epoch"))
            self.learner.restore(state)
            lines = (self.out / "metrics.jsonl").read_text().splitlines(keepends=True)
            whole = (json.loads(line) for line in lines if line.endswith("\n"))  # a power cut may tear the last
            self.rows = [row for row in whole if row["epoch"] < self.epoch]
        text = "".join(json.dumps(row) + "\n" for row in self.rows)
        params.write_atomically(self.out / "metrics.jsonl", text.encode())
        self._describe(facts, None)

    def train(self, epoch: int) -> None:
        """One epoch of steps; a loss that is not finite stops the run."""
        lr = self.recipe.lr_at(epoch)
        images, labels = self.arrays["train_images"], self.arrays["train_labels"]
        with (self.out / "metrics.jsonl").open("a", buffering=1) as metrics:
            for i, chosen in enumerate(data.batches(len(labels), self.recipe.batch_size, self.recipe.seed, epoch)):
                start = time.perf_counter()
                loss = float(
                    self.learner.step(images[chosen], labels[chosen], lr, **self._masks(epoch, i, len(chosen)))
                )
                seconds = time.perf_counter() - start
                if not math.isfinite(loss):
                    raise VGGError(f"loss is {loss} at epoch {epoch}, step {i}; take a smaller learning rate than {lr}")
                row = {"epoch": epoch, "step": i, "loss": loss, "lr": lr, "seconds": seconds}
                self._log(metrics, row)
                self.emit({**row, "images": len(chosen)})

    def test(self, epoch: int) -> None:
        """Loss and accuracy on the test images, with the same two lines of NumPy for every backend."""
        labels = self.arrays["test_labels"]
        logits = np.concatenate(list(self._logits(self.arrays["test_images"]))).astype(np.float64)
        loss, _ = reference.cross_entropy(logits, labels)
        if not math.isfinite(loss):
            raise VGGError(
                f"test loss is {loss} after epoch {epoch}; take a smaller learning rate than {self.recipe.lr_at(epoch)}"
            )
        accuracy = float((logits.argmax(axis=1) == labels).mean())
        with (self.out / "metrics.jsonl").open("a") as metrics:
            self._log(metrics, {"epoch": epoch, "test_loss": loss, "test_accuracy": accuracy})
        self.emit(self.rows[-1])

    def save(self, epoch: int) -> None:
        """A checkpoint after ``epoch`` epochs; all but the last ``keep`` go."""
        if not self.keep:
            return
        (self.out / "checkpoints").mkdir(exist_ok=True)
        state = {**self.learner.state(), "epoch": np.array(epoch)}
        params.write_atomically(self.out / "checkpoints" / f"epoch-{epoch:04d}.safetensors", save(state))
        for old in self._checkpoints()[: -self.keep]:
            old.unlink()

    def finish(self, facts: dict[str, Any]) -> dict[str, Any]:
        """Write the weights and the summary."""
        wanted = params.shapes(self.spec)
        weights = {name: array for name, array in self.learner.state().items() if name in wanted}
        params.save_params(self.out / "weights.safetensors", weights, self.spec)
        summary = self.summary()
        self._describe(facts, summary)
        return summary

    def summary(self) -> dict[str, Any]:
        """First and last loss, test accuracy; speed from the median step, the first one aside."""
        steps = [row for row in self.rows if "loss" in row]
        final = [row["loss"] for row in steps if row["epoch"] == self.recipe.epochs - 1]
        seconds = [row["seconds"] for row in steps]
        steady = float(np.median(seconds[1:] or seconds))
        return {
            "first_loss": steps[0]["loss"],
            "last_loss": float(np.mean(final)),
            "test_accuracy": self.rows[-1]["test_accuracy"],
            "images_per_second": min(self.recipe.batch_size, len(self.arrays["train_labels"])) / steady,
            "step_seconds": steady,
            "compile_seconds": max(seconds[0] - steady, 0.0),
            "peak_bytes": peak_bytes(),
        }

    def _masks(self, epoch: int, step: int, count: int) -> dict[str, Any]:
        if self.recipe.dropout == "native":
            return {}
        number = epoch * math.ceil(len(self.arrays["train_labels"]) / self.recipe.batch_size) + step
        return {"masks": masks(self.spec, count, self.recipe.seed, number)}

    def _logits(self, images: NDArray[Any]) -> Iterator[NDArray[Any]]:
        """In batches of one size, so that a compiled backend compiles once: the last is padded with the first image."""
        size = min(self.recipe.batch_size, len(images))
        for start in range(0, len(images), size):
            batch = images[start : start + size]
            padding = np.repeat(images[:1], size - len(batch), axis=0)
            yield self.learner.evaluate(np.concatenate([batch, padding]))[: len(batch)]

    def _log(self, metrics: Any, row: dict[str, Any]) -> None:
        self.rows.append(row)
        metrics.write(json.dumps(row) + "\n")

    def _checkpoints(self) -> list[Path]:
        return sorted((self.out / "checkpoints").glob("epoch-*.safetensors"))

    def _describe(self, facts: dict[str, Any], summary: dict[str, Any] | None) -> None:
        known = json.loads((self.out / "run.json").read_text()) if (self.out / "run.json").exists() else {}
        text = {**known, "facts": facts, "device": self.device, "summary": summary}
        text |= {"spec": self.spec.to_dict(), "recipe": self.recipe.to_dict()}
        params.write_atomically(self.out / "run.json", json.dumps(text, indent=1).encode())


def peak_bytes() -> int:
    """The largest resident memory of this process so far; Linux' ``ru_maxrss`` would count its parent's too."""
    status = Path("/proc/self/status")
    if status.exists():
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
