"""Saboteurs that readers who had not seen the checks got past an earlier suite."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from faults_of_lives import in_step, in_update, resized
from sabotage import Sabotage, around, caught_by, of_kind

from vgg.process.client import Array

When = Callable[[Any], bool]


def enlist(check: str, name: str, sabotage: Sabotage) -> None:
    sabotage.__name__ = name.replace(" ", "_")
    caught_by(check)(sabotage)


# What of a recipe is no business of a learner, and recipes at the ends of what is allowed


def slower(when: Callable[[Any], Any]) -> Sabotage:
    """Half the rate where ``when(learner)``."""
    return lambda b, r: in_step(b, lambda step, s, x, y, lr, m: step(s, x, y, lr / 2 if when(s) else lr, m))


RECIPES: dict[str, Callable[[Any], Any]] = {
    "a learner drops the rate itself": lambda s: s.recipe.lr_drops,
    "a learner waits for a plateau": lambda s: s.recipe.plateau,
    "neutral masks halve the rate": lambda s: s.recipe.dropout == "neutral",
    "the rate of large batches in a recipe": lambda s: s.recipe.batch_size > 200,
    "the rate of a recipe by name": lambda s: s.recipe.name == "paper",
    "a decay above a tenth halves the rate": lambda s: s.recipe.weight_decay > 0.1,
    "the rate halves after 400 steps": lambda s: s.steps >= 400,
    "the rate halves after 10000 steps": lambda s: s.steps >= 10_000,
}
for name, when in RECIPES.items():
    enlist("life", name, slower(when))


@caught_by("life")
def a_learner_flips_images(b: Any, r: Any) -> None:
    in_step(b, lambda step, s, x, y, lr, m: step(s, x[..., ::-1] if s.recipe.flip else x, y, lr, m))


@caught_by("life")
def a_learner_crops_images(b: Any, r: Any) -> None:
    healthy = b.Learner._images

    def images(self: Any, x: Array) -> Any:
        sides = (max(1, round(self.recipe.crop * side)) for side in x.shape[2:])
        return healthy(self, x[:, :, *(slice(side) for side in sides)] if x.dtype == np.uint8 else x)

    b.Learner._images = images


@caught_by("life")
def the_first_convolutions_are_frozen(b: Any, r: Any) -> None:
    def step(healthy: Any, self: Any, *a: Any) -> Any:
        names = [name for name in self.model.params if ".conv" in name][: 2 * self.recipe.init_convs]
        held = {name: self.model.params[name] for name in names}
        loss = healthy(self, *a)
        self.model.params |= held
        return loss

    in_step(b, step)


@caught_by("life")
def a_tiny_rate_counts_as_none(b: Any, r: Any) -> None:
    in_step(b, lambda step, s, x, y, lr, m: step(s, x, y, lr if lr >= 1e-6 else 0.0, m))


def _recipe(changed: Callable[[Any], dict[str, float]]) -> Sabotage:
    def sabotage(b: Any, r: Any) -> None:
        init = b.Learner.__init__
        b.Learner.__init__ = lambda self, model, recipe: init(self, model, replace(recipe, **changed(recipe)))

    return sabotage


enlist("life", "a negative mean counts as positive", _recipe(lambda c: {"mean": abs(c.mean)}))
enlist("life", "a deviation below a hundredth is raised to it", _recipe(lambda c: {"std": max(c.std, 0.01)}))


# Lives: sizes of batches, many calls, what is loaded, what is kept


@caught_by("life")
def the_ninth_size_of_a_batch_counts_as_the_first(b: Any, r: Any) -> None:
    def step(healthy: Any, self: Any, x: Any, y: Any, lr: float, m: Any) -> Any:
        seen = self.__dict__.setdefault("seen", [])
        if len(x) not in seen and len(seen) < 8:
            seen.append(len(x))
        return healthy(self, x, y, lr if len(x) in seen else lr * len(x) / seen[0], m)

    in_step(b, step)


@caught_by("life")
def evaluate_wraps_beyond_512_images(b: Any, r: Any) -> None:
    around(b.Learner, "evaluate", lambda healthy, self, x: np.resize(healthy(self, x[:512]), (len(x), 3)))


@caught_by("life")
def a_step_drops_images_beyond_256(b: Any, r: Any) -> None:
    def first(masks: Any) -> Any:
        return masks and {name: mask[:256] for name, mask in masks.items()}

    in_step(b, lambda step, s, x, y, lr, m: step(s, x[:256], y[:256], lr, first(m)))


@caught_by("life")
def statistics_freeze_after_100_steps(b: Any, r: Any) -> None:
    def step(healthy: Any, self: Any, *a: Any) -> Any:
        held = {name: array for name, array in self.model.params.items() if "running" in name}
        loss = healthy(self, *a)
        if self.steps > 100:
            self.model.params |= held
        return loss

    in_step(b, step)


@caught_by("life")
def gradients_are_those_before_the_last_step(b: Any, r: Any) -> None:
    def step(healthy: Any, self: Any, *a: Any) -> Any:
        before = self.model.params
        loss = healthy(self, *a)
        self.model.stale = before, self.model.params
        return loss

    def asked(healthy: Any, model: Any, *a: Any, **k: Any) -> Any:
        before, after = getattr(model, "stale", (None, None))
        stale = before is not None and after is model.params
        return healthy(b.Model(model.spec, model.dtype, before) if stale else model, *a, **k)

    in_step(b, step)
    around(b, "loss_and_grads", asked)


@caught_by("life")
def evaluate_does_not_see_what_is_loaded(b: Any, r: Any) -> None:
    def evaluate(healthy: Any, self: Any, x: Any) -> Any:
        self.held = getattr(self, "held", None) or self.model.params
        return healthy(replace_model(self), x)

    def replace_model(self: Any) -> Any:
        twin = object.__new__(type(self))
        twin.__dict__ |= self.__dict__ | {"model": b.Model(self.model.spec, self.model.dtype, self.held)}
        return twin

    def forgets(healthy: Any, self: Any, *a: Any) -> Any:
        self.held = None
        return healthy(self, *a)

    around(b.Learner, "evaluate", evaluate)
    around(b.Learner, "step", forgets)
    around(b.Learner, "restore", forgets)


@caught_by("life")
def variances_of_one_are_not_restored(b: Any, r: Any) -> None:
    def restore(healthy: Any, self: Any, state: Any) -> None:
        before = self.model.params
        healthy(self, state)
        for name in [name for name in before if name.endswith("running_var") and (state[name] == 1).all()]:
            self.model.params[name] = before[name]

    around(b.Learner, "restore", restore)


@caught_by("life")
def evaluate_is_wrong_after_a_hundred_calls(b: Any, r: Any) -> None:
    def evaluate(healthy: Any, self: Any, x: Any) -> Any:
        self.calls = getattr(self, "calls", 0) + 1
        return healthy(self, x) * (1.01 if self.calls > 100 else 1)

    around(b.Learner, "evaluate", evaluate)


@caught_by("life")
def pixels_by_their_area(b: Any, r: Any) -> None:
    matrices: dict[tuple[int, ...], Any] = {}

    def images(right: Any, x: Array) -> Any:
        if x.dtype != np.uint8:
            return right(x)
        turned = matrices.setdefault((x.shape[2] * x.shape[3], *x.shape[:2]), x.shape[2]) != x.shape[2]
        return right(x.swapaxes(2, 3) if turned else x)

    resized(b, images)


# Masks


def seeded(mixed: Callable[[int, int], tuple[int, ...]]) -> Sabotage:
    def mode(healthy: Any, model: Any, count: int, train: bool, seed: tuple[int, ...] = (0,)) -> Any:
        return healthy(model, count, train, mixed(*seed) if len(seed) == 2 else seed)

    return lambda b, r: around(b, "_mode", mode)


SEEDS: dict[str, Callable[[int, int], tuple[int, ...]]] = {
    "masks repeat every 1000 steps": lambda seed, step: (seed, step % 1000),
    "masks of a thousand times the seed and the step": lambda seed, step: (seed * 1000 + step, 0),
    "seeds are counted modulo 1000": lambda seed, step: (seed % 1000, step),
    "seeds above a million have one mask": lambda seed, step: (min(seed, 10**6), step),
    "steps above 10000 have one mask": lambda seed, step: (seed, min(step, 10_000)),
}
for name, mixed in SEEDS.items():
    enlist("masking", name, seeded(mixed))


@caught_by("masking")
def masks_depend_on_momentum(b: Any, r: Any) -> None:
    now: list[int] = [0]

    def step(healthy: Any, self: Any, *a: Any) -> Any:
        now[0] = int(100 * self.recipe.momentum)
        return healthy(self, *a)

    in_step(b, step)
    around(b, "_mode", lambda healthy, model, count, train, seed=(0,): healthy(model, count, train, (*seed, now[0])))


def drawn(kept: Callable[[Any, int, int, float], Array]) -> Sabotage:
    """Units kept by ``kept(random, images, units, rate)``."""

    def sabotage(b: Any, r: Any) -> None:
        def mode(model: Any, count: int, train: bool, seed: tuple[int, ...] = (0,)) -> Any:
            random, masks = np.random.default_rng(seed), {}
            for row in b.expand(model.spec):
                if row.kind == "dropout":
                    rate = row.attributes["rate"]
                    masks[row.name] = kept(random, count, row.output_shape[0], rate) / (1 - rate)
            return b.reference.Mode(train, masks)

        b._mode = mode

    return sabotage


RATES: dict[str, Callable[[float], float]] = {
    "a rate is rounded to a 256th": lambda rate: round(256 * rate) / 256,
    "a rate is rounded to a hundredth": lambda rate: round(rate, 2),
    "small rates drop nothing": lambda rate: rate if rate > 0.05 else 0.0,
    "rates of seven tenths keep so many": lambda rate: 1 - rate if 0.55 < rate < 0.85 else rate,
}
for name, changed in RATES.items():
    enlist("modes", name, drawn(lambda q, n, u, p, changed=changed: q.random((n, u)) >= changed(p)))  # type: ignore[misc]


@caught_by("modes")
def images_repeat_after_64(b: Any, r: Any) -> None:
    drawn(lambda q, n, u, p: (q.random((n, u)) >= p)[np.arange(n) % 64])(b, r)


# Nets that no architecture by name is like


def off(kind: str, when: Callable[[Any, Array], bool]) -> Sabotage:
    """Outputs are 2 % too large where ``when(row, x)``."""

    def rule(healthy: Any, row: Any, own: Any, x: Any, *rest: Any) -> Any:
        return healthy(row, own, x, *rest) * (1.02 if when(row, x) else 1)

    return lambda b, r: of_kind(r, kind, rule)


NETS: dict[str, tuple[str, Callable[[Any, Array], bool]]] = {
    "kernels of nine": ("conv", lambda row, x: row.attributes["kernel"] == 9),
    "strides of three": ("conv", lambda row, x: row.attributes["kernel"] == row.attributes["stride"] == 3),
    "more than 512 channels": ("conv", lambda row, x: row.output_shape[0] > 512),
    "images of four channels": ("conv", lambda row, x: row.name == "block1.conv1" and x.shape[1] == 4),
    "a million numbers": ("conv", lambda row, x: x.shape[1] >= 64 and x.size > 1_000_000),
    "pools that skip": ("max_pool", lambda row, x: row.attributes["stride"] > row.attributes["kernel"]),
    "normalisation over one channel": ("lrn", lambda row, x: x.shape[1] == 1),
}
for name, (kind, of) in NETS.items():
    enlist("switches" if name == "a million numbers" else "forward", name, off(kind, of))


HEADS: dict[str, tuple[str, When]] = {
    "hidden layers of one unit": ("forward", lambda spec: 1 in spec.head.hidden),
    "strides before a global pool": (
        "life",
        lambda spec: spec.head.global_pool and not spec.head.hidden and spec.blocks[0].convs[0].stride > 1,
    ),
    "pools of three before a global pool": (
        "life",
        lambda spec: spec.head.global_pool and any(block.pool and block.pool.kernel == 3 for block in spec.blocks),
    ),
}


def louder(when: When) -> Sabotage:
    """Logits 1 % too large where ``when(spec)``."""

    def forward(b: Any, r: Any) -> None:
        def rule(healthy: Any, spec: Any, *a: Any, **k: Any) -> Any:
            tape = healthy(spec, *a, **k)
            if when(spec):
                tape.activations[next(reversed(tape.activations))] = 1.01 * tape.logits
            return tape

        around(r, "forward", rule)

    return forward


for name, (check, where) in HEADS.items():
    enlist(check, name, louder(where))


@caught_by("forward", alone=True)
def logits_of_sixteen_convolutions_are_another_nets(b: Any, r: Any) -> None:
    def forward(healthy: Any, model: Any, *a: Any, **k: Any) -> Any:
        convs = sum(len(block.convs) for block in model.spec.blocks)
        return healthy(model, *a, **k) * (1.001 if convs == 16 else 1)

    around(b, "forward", forward)


@caught_by("learning")
def nets_of_five_blocks_learn_at_half_the_rate(b: Any, r: Any) -> None:
    slower(lambda s: len(s.model.spec.blocks) == 5)(b, r)


# Pixels, numbers, formats


def dimmed(when: Callable[[Array], Any]) -> Sabotage:
    """Pixels are halved where ``when(x)``."""
    return lambda b, r: resized(b, lambda right, x: right(x // 2 if x.dtype == np.uint8 and when(x) else x))


enlist("pixels", "dark images are darker", dimmed(lambda x: 1 < x.max() < 128))
enlist("pixels", "a batch of more than 200 is darker", dimmed(lambda x: len(x) > 200))
enlist("pixels", "images of four channels are darker", dimmed(lambda x: x.shape[1] == 4))
enlist("pixels", "images of more than 256 rows are darker", dimmed(lambda x: x.shape[2] > 256))


@caught_by("extremes")
def a_small_loss_is_none(b: Any, r: Any) -> None:
    def step(healthy: Any, *a: Any) -> float:
        loss: float = healthy(*a)
        return 0.0 if loss < 1e-4 else loss

    in_step(b, step)


@caught_by("extremes")
def faint_channels_have_no_gradient(b: Any, r: Any) -> None:
    def rule(healthy: Any, row: Any, own: Any, saved: Any, grad: Any) -> Any:
        back, grads = healthy(row, own, saved, grad)
        faint = (saved[1] > 1 / np.sqrt(2e-5)).ravel()
        return back * ~faint[:, None, None] if saved[2] else back, grads

    of_kind(r, "batch_norm", rule, backward=True)


@caught_by("steps")
def a_step_on_nan_is_skipped(b: Any, r: Any) -> None:
    def step(healthy: Any, self: Any, *a: Any) -> Any:
        held = self.model.params, self.velocity
        loss = healthy(self, *a)
        if not np.isfinite(loss):
            self.model.params, self.velocity = held
        return loss

    in_step(b, step)


@caught_by("precision")
def what_overflows_is_not_averaged(b: Any, r: Any) -> None:
    def step(healthy: Any, self: Any, *a: Any) -> Any:
        held = {name: array for name, array in self.model.params.items() if "running_" in name}
        velocity = {name: array.copy() for name, array in self.velocity.items()}
        loss = healthy(self, *a)
        if self.recipe.precision == "fp16" and all((self.velocity[n] == v).all() for n, v in velocity.items()):
            self.model.params.update(held)
        return loss

    in_step(b, step)


enlist("steps", "fp16 halves the rate after 20 steps", slower(lambda s: s.recipe.precision == "fp16" and s.steps > 20))


@caught_by("precision")
def the_model_of_an_fp16_learner_is_rounded(b: Any, r: Any) -> None:
    def init(healthy: Any, self: Any, model: Any, recipe: Any) -> None:
        healthy(self, model, recipe)
        model.half = recipe.precision == "fp16"

    def forward(healthy: Any, model: Any, x: Any, **k: Any) -> Any:
        return healthy(model, x.astype(np.float16) if getattr(model, "half", False) else x, **k)

    around(b.Learner, "__init__", init)
    around(b, "forward", forward)


# Inside the process, refusals, facts


@caught_by("promises")
def logits_are_kept_by_the_first_image(b: Any, r: Any) -> None:
    def forward(healthy: Any, model: Any, x: Any, *, train: bool = False) -> Any:
        key = x.shape, train, x[:1].tobytes(), id(model.params)
        if getattr(model, "key", None) != key:
            model.key, model.held = key, healthy(model, x, train=train)
        return model.held.copy()

    around(b, "forward", forward)


@caught_by("promises", alone=True)
def logits_are_kept_by_the_sum_of_pixels(b: Any, r: Any) -> None:
    def evaluate(healthy: Any, self: Any, x: Array) -> Any:
        weights = b"".join(array.tobytes() for array in self.state().values())
        key = self.steps, hash(weights), x.shape, np.sort(x, axis=None).sum()
        if getattr(self, "last", (None, None))[0] != key:
            self.last = key, healthy(self, x)
        return self.last[1].copy()

    around(b.Learner, "evaluate", evaluate)


@caught_by("promises")
def logits_of_a_large_batch_are_one_array(b: Any, r: Any) -> None:
    rooms: dict[tuple[int, ...], Array] = {}

    def evaluate(healthy: Any, self: Any, x: Any) -> Any:
        logits = healthy(self, x)
        if len(x) < 64:
            return logits
        room = rooms.setdefault((*logits.shape, logits.itemsize), np.empty_like(logits))
        room[...] = logits
        return room

    around(b.Learner, "evaluate", evaluate)


@caught_by("promises")
def images_with_channels_last_are_misread(b: Any, r: Any) -> None:
    def forward(healthy: Any, model: Any, x: Any, **k: Any) -> Any:
        return healthy(model, x[:, ::-1] if x.shape[1] > 1 and x.strides[1] == x.itemsize else x, **k)

    around(b, "forward", forward)


@caught_by("promises")
def facts_seed_the_generator(b: Any, r: Any) -> None:
    def facts(healthy: Any) -> Any:
        np.random.seed(0)  # noqa: NPY002
        return healthy()

    around(b, "facts", facts)


@caught_by("promises")
def build_silences_numpy(b: Any, r: Any) -> None:
    def build(healthy: Any, *a: Any, **k: Any) -> Any:
        np.seterr(all="ignore")
        return healthy(*a, **k)

    around(b, "build", build)


@caught_by("promises")
def one_hot_labels_are_taken(b: Any, r: Any) -> None:
    def asked(healthy: Any, model: Any, x: Any, y: Any, **k: Any) -> Any:
        return healthy(model, x, y.argmax(axis=1) if y.ndim == 2 and y.shape[1] > 1 else y, **k)

    around(b, "loss_and_grads", asked)


@caught_by("promises")
def grey_pixels_are_repeated(b: Any, r: Any) -> None:
    def evaluate(healthy: Any, self: Any, x: Array) -> Any:
        grey = x.dtype == np.uint8 and x.ndim == 4 and x.shape[1] == 1
        return healthy(self, np.repeat(x, self.model.spec.input_shape[0], 1) if grey else x)

    around(b.Learner, "evaluate", evaluate)


@caught_by("life")
def pixels_are_squeezed_into_the_size_of_the_recipe(b: Any, r: Any) -> None:
    def images(healthy: Any, self: Any, x: Array) -> Any:
        side = self.recipe.size
        if x.dtype == np.uint8 and side < min(*self.model.spec.input_shape[1:], *x.shape[2:]):
            down, across = (b.resize_matrix(extent, side) for extent in x.shape[2:])
            x = np.rint(down @ x @ across.T).astype(np.uint8)
        return healthy(self, x)

    around(b.Learner, "_images", images)


@caught_by("refusals")
def a_parameter_too_many_is_a_value_error(b: Any, r: Any) -> None:
    def load(healthy: Any, model: Any, params: Any) -> Any:
        for name in params:
            if name not in model.params:
                raise ValueError(name)
        return healthy(model, params)

    around(b, "load", load)


@caught_by("claims")
def a_gpu_where_none_is_shown(b: Any, r: Any) -> None:
    around(b, "facts", lambda healthy: {**healthy(), "gpus": 1})


@caught_by("life")
def the_rate_falls_after_a_million_steps(b: Any, r: Any) -> None:
    in_update(b, r, lambda s, lr, momentum, weight_decay: {"lr": lr if s.steps < 10**6 else 0.9 * lr})


@caught_by("refusals")
def a_step_that_is_no_scalar_is_reshaped_in_place_and_nothing_is_restored(b: Any, r: Any) -> None:
    def restore(healthy: Any, self: Any, state: Any) -> Any:
        if state["step"].ndim:
            state["step"].shape = ()
        else:
            healthy(self, state)

    around(b.Learner, "restore", restore)
