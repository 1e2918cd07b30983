"""Run one life with a backend and with the oracle side by side, action by action."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from ..backends import VELOCITY
from ..core import oracle
from ..core.comparator import EXACT, ROUNDOFF, Limit, Verdict, compare, gradient_limit
from ..core.masks import dropouts, masks
from ..core.recipe import Recipe
from ..core.spec import Spec
from ..process.client import Jobs
from .cases import Array, Arrays
from .checks import AMISS, declared, declared_mode, dropout_scale
from .life import Action, Evaluate, Life, Load, Look, Net, Renew, Restore, State, Step, Turn
from .life_oracle import Answer, Yardstick, least_limit
from .steps import roundings

LARGEST_LOSS = 1e3
"""The loss at which a learner counts as diverged, which ends its life."""


class PartedError(Exception):
    """The backend's results differ from the oracle's."""


class _DivergedError(Exception):
    """The learner has diverged, so the rest of its life shows nothing."""


@dataclass
class Pair:
    """A network with the oracle's learner, and its kept states: the oracle's and the backend's."""

    net: Net
    recipe: Recipe
    oracle: Yardstick
    kept: list[tuple[list[Arrays], Arrays]] = field(default_factory=list)
    builds: int = 0

    @property
    def spec(self) -> Spec:
        """The network's spec."""
        return self.net.spec

    def compared(self, state: Arrays) -> Arrays:
        """Return the part of a backend's state that is compared, with the number of steps in the dtype of the rest."""
        idle = {VELOCITY + name for name in self.oracle.exact.velocity} if not self.recipe.momentum else set()
        dtype = self.recipe.dtype
        return {n: a.astype(dtype) if n == "step" else a for n, a in state.items() if n not in idle}


class Walk:
    """One run of a life: the numbers of ``steps``, of ``judged`` ones and of actions ``lived``, and the ``verdict``."""

    def __init__(self, worker: Jobs, life: Life) -> None:
        self.worker, self.life = worker, life
        self.steps = self.judged = self.lived = self.batches = self.now = 0
        self.verdict = Verdict(0.0, least_limit(life.nets[0].spec, life.dtype, 1))
        self.pairs: dict[int, Pair] = {}

    @np.errstate(over="ignore", invalid="ignore")  # learners may diverge
    def to_its_end(self) -> None:
        """Run all actions, or those until the backend and the oracle differ."""
        try:
            self.mode, self.declarations = declared_mode(self.worker), declared(self.worker)
            self._turn(0)
            for action in self.life.actions:
                self.lived += 1
                self._do(action)
            self.lived = len(self.life.actions)
        except (PartedError, _DivergedError):
            pass
        except AMISS as error:
            self.verdict = Verdict(math.inf, EXACT, "", str(error) or type(error).__name__)
        finally:
            self._leave()

    def _leave(self) -> None:
        """Select the worker's usual model again, which later checks expect."""
        if getattr(self.worker, "alive", True):
            self.worker.select()

    def _do(self, action: Action) -> None:
        match action:
            case Step():
                for _ in range(action.count):
                    self._step(action)
            case Evaluate():
                for _ in range(action.count):
                    x, _ = self._batch(action.batch, action.sides)
                    self._judge({"logits": self.worker.evaluate(x)}, self.pair.oracle.evaluate(x))
            case State():
                self._keep()
            case Look():
                self._look(action)
            case _:
                self._changed(action)

    def _changed(self, action: Action) -> None:
        """Carry out an action that changes state, recipe, learner or parameters and compares nothing."""
        match action:
            case Restore():
                self._restore(action)
            case Renew():
                self.worker.learner(action.recipe)
                self.pair.oracle.renew(action.recipe)
                self.pair.recipe = action.recipe
            case Turn():
                self._turn((self.now + 1) % len(self.life.nets))
            case Load():
                params = self.pair.net.params(action.number)
                self.worker.call("load", params)
                self.pair.oracle.load(params)

    @property
    def pair(self) -> Pair:
        """The pair that actions refer to now."""
        return self.pairs[self.now]

    def _turn(self, number: int) -> None:
        self.now = number
        self.worker.select(f"life {number}")
        if number not in self.pairs:
            net = self.life.nets[number]
            self.pairs[number] = Pair(net, net.recipe, Yardstick(net.spec, net.recipe, net.params(), self.mode))
            self._begin()

    def _begin(self) -> None:
        """Build a model for the pair, with other parameters each time, and a learner on it."""
        pair = self.pair
        self.worker.build(pair.spec, pair.net.params(pair.builds), dtype=pair.recipe.dtype)
        self.worker.learner(pair.recipe)
        pair.builds += 1

    def _batch(self, size: int, sides: tuple[int, int] | None) -> tuple[Array, Array]:
        self.batches += 1
        return self.life.batch(self.batches, self.pair.spec, size, sides)

    def _step(self, action: Step) -> None:
        (x, y), pair = self._batch(action.batch, action.sides), self.pair
        self.steps += 1
        if action.own and dropouts(pair.spec):
            self._own_masks(x, y, action.lr)
            return
        neutral = masks(pair.spec, len(x), self.life.seed, self.batches)
        answer = self._oracle_steps(x, y, action.lr, neutral)
        loss = self.worker.step(x, y, action.lr, neutral)
        self._judge({"loss": np.array(loss, self.life.dtype)}, answer)
        self._go_on(answer, self.worker.state)

    def _oracle_steps(self, x: Array, y: Array, lr: float, masks_of_step: Arrays) -> Answer:
        answer = self.pair.oracle.step(x, y, lr, masks_of_step)
        if not answer.arrays["loss"] < LARGEST_LOSS:
            raise _DivergedError
        return answer

    def _own_masks(self, x: Array, y: Array, lr: float) -> None:
        """Take a step with masks that the backend draws; from the same state it must be the same step.

        With one image the masks can be read off the gradients, and the oracle takes the step too. Otherwise judge what
        does not depend on masks, and let the oracle take over the state.
        """
        before, worker, pair = dict(self.worker.state()), self.worker, self.pair
        loss = worker.step(x, y, lr)
        after = dict(worker.state())
        worker.restore(before)
        again = {"loss": np.array(worker.step(x, y, lr)), **dict(worker.state())}
        wanted = {"loss": np.array(loss), **after}
        self._note(compare(pair.compared(again), pair.compared(wanted), limit=self._repeated(len(x))))
        if after["step"] != before["step"] + 1:
            self._refuse("step", f"got {after['step']} after a step from {before['step']}")
        masks_read = self._read_off(x, before, after) if len(x) == 1 and pair.recipe.momentum else None
        if masks_read is None:
            self._whatever_the_masks(x, lr, before, after)
            pair.oracle.take_over(after)
            return
        answer = self._oracle_steps(x, y, lr, masks_read)
        self._judge({"loss": np.array(loss, self.life.dtype)}, answer)
        self._go_on(answer, lambda: after)

    def _whatever_the_masks(self, x: Array, lr: float, before: Arrays, after: Arrays) -> None:
        """Judge what no mask changes: weights move by the new velocity, statistics by the layers before dropout."""
        pair, dtype = self.pair, self.life.dtype
        weights = {n: before[n].astype(np.float64) for n in pair.oracle.exact.weights}
        open_ = {row.name: np.ones((len(x), *row.output_shape)) for row in dropouts(pair.spec)}
        tape = oracle.forward(pair.spec, weights, pair.oracle.images(x), self.mode._replace(masks=open_))
        statistics, limit = {n: after[n] for n in tape.statistics}, least_limit(pair.spec, dtype, len(x))
        self._note(compare(statistics, tape.statistics, limit=limit, dtype=dtype))
        if pair.recipe.momentum:
            trained = pair.oracle.exact.velocity
            moved = {n: weights[n] - lr * after[VELOCITY + n].astype(np.float64) for n in trained}
            sizes = {n: float(np.linalg.norm(a)) for n, a in moved.items()}  # pristine weights may not move at all
            self._note(
                compare({n: after[n] for n in trained}, moved, limit=roundings(4, dtype), dtype=dtype, floors=sizes)
            )

    def _go_on(self, answer: Answer, state: Callable[[], Arrays]) -> None:
        """Go on from the backend's state if the results after this step cannot be judged; else count it as judged."""
        if answer.close or not answer.sound:
            self.pair.oracle.take_over(state())
        else:
            self.judged += 1

    def _repeated(self, batch: int) -> Limit:
        """Return the limit for a repeated step: exact, but not on GPUs, which add in no fixed order."""
        cpu = self.worker.place(Recipe()) == "cpu"
        return EXACT if cpu else gradient_limit(self.pair.spec, self.life.dtype, batch)

    def _read_off(self, x: Array, before: Arrays, after: Arrays) -> Arrays | None:
        """Return the masks of a step on one image, or None if gradients are too small to show them.

        The gradient of a dense weight is that of its bias times the layer's input.
        """
        pair, recipe = self.pair, self.pair.recipe
        own, rate = pair.oracle, pair.spec.head.dropout
        scale = dropout_scale(self.declarations["dropout"], rate)
        masks_read: Arrays = {}
        open_ = {row.name: np.ones((1, *row.output_shape)) for row in dropouts(pair.spec)}
        for number, row in enumerate(dropouts(pair.spec), 1):
            grads = {part: _gradient(f"fc{number + 1}.{part}", before, after, recipe) for part in ("weight", "bias")}
            unit = np.abs(grads["bias"]).argmax()
            error = math.sqrt(ROUNDOFF[recipe.dtype])
            if not abs(grads["bias"][unit]) > error * np.abs(after[f"{VELOCITY}fc{number + 1}.bias"]).max():
                return None
            mode = self.mode._replace(masks=open_ | masks_read)
            tape = oracle.forward(pair.spec, own.exact.weights, own.images(x), mode)
            inside = tape.activations[f"fc{number}.relu"][0]
            inputs = grads["weight"][unit] / grads["bias"][unit]
            kept = inputs > inside * scale / 2
            errors = np.abs(inputs - kept * inside * scale)
            if errors.max() > 100 * error * scale * max(1.0, inside.max()):
                factor = (inputs / np.where(inside > 0, inside, 1.0))[errors.argmax()]
                self._refuse(row.name, f"a step multiplies by {factor:.6g}, wanted 0 or {scale:.6g}")
            masks_read[row.name] = kept[None] * scale
        return masks_read

    def _keep(self) -> None:
        """Compare the whole state and keep it."""
        state, answer, pair = self.worker.state(), self.pair.oracle.state(), self.pair
        if answer.sound:
            self._judge(pair.compared(state), answer)
        else:
            pair.oracle.take_over(state)
        if not pair.recipe.momentum:  # velocities may hold anything, and a later learner may use momentum
            state |= {n: np.zeros_like(a) for n, a in state.items() if n.startswith(VELOCITY)}
        pair.kept.append((pair.oracle.kept(), state))

    def _restore(self, action: Restore) -> None:
        pair = self.pair
        if not pair.kept:
            self._keep()
        ours, theirs = pair.kept[action.number % len(pair.kept)]
        if action.into == "fresh":
            self._begin()
        elif action.into == "renewed":
            self.worker.learner(pair.recipe)
        self.worker.restore({**theirs, "step": np.asarray(theirs["step"] + action.later)})
        pair.oracle.restore([{**state, "step": state["step"] + action.later} for state in ours])

    def _look(self, action: Look) -> None:
        pair, (x, y) = self.pair, self._batch(action.batch, None)
        state = pair.oracle.state()
        weights = {n: a for n, a in state.arrays.items() if n in pair.oracle.exact.weights}
        self._judge(self.worker.dump(), state._replace(arrays=weights))
        logits = {"logits": self.worker.forward(x, train=action.train)}
        if not (action.train and dropouts(pair.spec)):
            self._judge(logits, pair.oracle.evaluate(x, train=action.train))
        if not action.train:
            loss, grads = self.worker.loss_and_grads(x, y)
            self._judge({"loss": np.array(loss, self.life.dtype), **grads}, pair.oracle.gradients(x, y))

    def _judge(self, got: Arrays, answer: Answer) -> None:
        if answer.sound:
            limit, dtype = answer.limit, self.life.dtype
            self._note(compare(got, answer.arrays, limit=limit, dtype=dtype, floors=answer.floors))

    def _note(self, verdict: Verdict) -> None:
        self.verdict = max(self.verdict, verdict, key=lambda one: one.share) if verdict.ok else verdict
        if not verdict.ok:
            raise PartedError

    def _refuse(self, where: str, reason: str) -> None:
        self._note(Verdict(math.inf, EXACT, where, f"{where}: {reason}"))


def _gradient(name: str, before: Arrays, after: Arrays, recipe: Recipe) -> Array:
    """Return the gradient that a velocity has taken up in a step."""
    old, new = (state[VELOCITY + name].astype(np.float64) for state in (before, after))
    return new - recipe.momentum * old - recipe.weight_decay * before[name].astype(np.float64)
