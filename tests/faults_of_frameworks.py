"""Faults that frameworks have only at real widths, or with numbers that are none."""

from __future__ import annotations

from typing import Any

import numpy as np
from sabotage import around, caught_by, of_kind


@caught_by("repeatable")
def wide_gradients_waver(b: Any, r: Any) -> None:
    """Sums of 64 channels and more, in batches of 32 and more, are added in an order that changes."""
    wavering = iter(range(1 << 30))

    def noisy(original: Any, spec: Any, params: Any, x: Any, *a: Any) -> Any:
        loss, grads, tape = original(spec, params, x, *a)
        scale = 1 + 2.0**-20 * (next(wavering) % 3)
        wide = {n for n, g in grads.items() if len(x) >= 32 and g.ndim == 4 and len(g) >= 64}
        return loss, {n: g * scale if n in wide else g for n, g in grads.items()}, tape

    around(b.reference, "loss_and_grads", noisy)


@caught_by("resuming", alone=True)
def wide_velocities_not_restored_before_training(b: Any, r: Any) -> None:
    """A learner that is fresh restores no momentum of convolutions of 64 channels and more."""

    def restored(original: Any, self: Any, state: Any) -> None:
        fresh = not self.steps
        original(self, state)
        wide = [n for n, v in self.velocity.items() if v.ndim == 4 and len(v) >= 64]
        self.velocity |= {n: np.zeros_like(self.velocity[n]) for n in wide if fresh}

    around(b.Learner, "restore", restored)


@caught_by("declared")
def relu_makes_nothing_of_nan(b: Any, r: Any) -> None:
    of_kind(r, "relu", lambda original, row, own, x, *rest: original(row, own, np.where(np.isnan(x), 0, x), *rest))
