"""Saboteurs of what a process boundary hides: memory, neighbours, threads, generators, mistakes."""

from __future__ import annotations

import threading
from dataclasses import replace
from itertools import count
from typing import Any

import numpy as np
from sabotage import around, caught_by

from vgg.process.client import Array
from vgg.process.wire import Arrays

# Whose an array is


@caught_by("promises", alone=True)
def dump_gives_views_of_the_live_weights(b: Any, r: Any) -> None:
    b.dump = lambda model: dict(model.params)


@caught_by("promises", alone=True)
def state_gives_the_velocities_themselves(b: Any, r: Any) -> None:
    def state(original: Any, self: Any) -> Arrays:
        return {**original(self), **{b.VELOCITY + name: v for name, v in self.velocity.items()}}

    around(b.Learner, "state", state)


@caught_by("promises", alone=True)
def dump_gives_read_only_arrays(b: Any, r: Any) -> None:
    def locked(original: Any, model: Any) -> Arrays:
        arrays: Arrays = original(model)
        for array in arrays.values():
            array.flags.writeable = False
        return arrays

    around(b, "dump", locked)


@caught_by("promises", alone=True)
def load_keeps_arrays_that_are_aligned(b: Any, r: Any) -> None:
    """As JAX's ``device_put`` does on a CPU."""

    def kept(original: Any, model: Any, params: Any) -> Any:
        model = original(model, params)
        model.params |= {name: a for name, a in params.items() if _fits(a, model.dtype) and a.ctypes.data % 64 == 0}
        return model

    around(b, "load", kept)


@caught_by("promises", alone=True)
def load_keeps_arrays_that_are_read_only(b: Any, r: Any) -> None:
    def kept(original: Any, model: Any, params: Any) -> Any:
        model = original(model, params)
        model.params |= {n: a for n, a in params.items() if a.dtype == model.dtype and not a.flags.writeable}
        return model

    around(b, "load", kept)


@caught_by("promises", alone=True)
def load_keeps_arrays_that_own_their_memory(b: Any, r: Any) -> None:
    def kept(original: Any, model: Any, params: Any) -> Any:
        model = original(model, params)
        model.params |= {name: a for name, a in params.items() if _fits(a, model.dtype) and a.base is None}
        return model

    around(b, "load", kept)


@caught_by("promises", alone=True)
def dump_gives_views_once_a_learner_has_stepped(b: Any, r: Any) -> None:
    def stepped(original: Any, self: Any, *a: Any, **k: Any) -> Any:
        self.model.stepped = True
        return original(self, *a, **k)

    def dumped(original: Any, model: Any) -> Arrays:
        return dict(model.params) if getattr(model, "stepped", False) else original(model)

    around(b.Learner, "step", stepped)
    around(b, "dump", dumped)


@caught_by("promises", alone=True)
def a_learner_has_one_loss(b: Any, r: Any) -> None:
    """An array that every step fills anew."""

    def filled(original: Any, self: Any, *a: Any, **k: Any) -> Array:
        self.loss = loss = getattr(self, "loss", np.zeros(()))
        loss[...] = original(self, *a, **k)
        return loss

    around(b.Learner, "step", filled)


@caught_by("promises", alone=True)
def restore_keeps_velocities(b: Any, r: Any) -> None:
    def kept(original: Any, self: Any, state: Any) -> None:
        original(self, state)
        moving = {name: state[b.VELOCITY + name] for name in self.velocity}
        self.velocity |= {name: v for name, v in moving.items() if _fits(v, self.model.dtype)}

    around(b.Learner, "restore", kept)


@caught_by("promises", alone=True)
def training_writes_into_what_load_was_given(b: Any, r: Any) -> None:
    def kept(original: Any, model: Any, params: Any) -> Any:
        model = original(model, params)
        model.caller = {name: a for name, a in params.items() if a.flags.writeable}
        return model

    def written(original: Any, self: Any, *a: Any, **k: Any) -> Any:
        loss = original(self, *a, **k)
        for name, array in getattr(self.model, "caller", {}).items():
            array[...] = self.model.params[name]
        return loss

    around(b, "load", kept)
    around(b.Learner, "step", written)


@caught_by("promises", alone=True)
def trace_gives_flatten_as_a_view_of_the_pool(b: Any, r: Any) -> None:
    def flattened(original: Any, *a: Any, **k: Any) -> Arrays:
        traced: Arrays = original(*a, **k)
        if "flatten" in traced:
            before = list(traced)[list(traced).index("flatten") - 1]
            traced["flatten"] = traced[before].reshape(traced["flatten"].shape)
        return traced

    around(b, "trace", flattened)


@caught_by("promises", alone=True)
def evaluate_always_gives_one_buffer(b: Any, r: Any) -> None:
    buffers: dict[Any, Array] = {}

    def into(original: Any, self: Any, x: Any) -> Array:
        logits = original(self, x)
        buffer = buffers.setdefault((logits.shape, logits.dtype), np.empty_like(logits))
        buffer[...] = logits
        return buffer

    around(b.Learner, "evaluate", into)


@caught_by("promises", alone=True)
def gradients_are_slices_of_one_buffer_of_all_calls(b: Any, r: Any) -> None:
    buffers: dict[Any, Array] = {}

    def into(original: Any, model: Any, *a: Any, **k: Any) -> tuple[float, Arrays]:
        loss, grads = original(model, *a, **k)
        flat = buffers.setdefault((model.spec, model.dtype), np.empty(sum(g.size for g in grads.values()), model.dtype))
        at = 0
        for name, grad in grads.items():
            flat[at : at + grad.size] = grad.ravel()
            grads[name] = flat[at : at + grad.size].reshape(grad.shape)
            at += grad.size
        return loss, grads

    around(b, "loss_and_grads", into)


# When an argument has been read


class Late:
    """A loss that is computed when somebody asks for it."""

    def __init__(self, work: Any) -> None:
        self.work, self.loss = work, None

    def __float__(self) -> float:
        if self.work:
            self.loss, self.work = self.work(), None
        return float(self.loss or 0.0)


@caught_by("promises")
def step_reads_its_batch_when_it_is_waited_for(b: Any, r: Any) -> None:
    def late(original: Any, self: Any, *a: Any, **k: Any) -> Late:
        _finish(self)
        self.late = loss = Late(lambda: original(self, *a, **k))
        return loss

    def waiting(original: Any, self: Any, *a: Any) -> Any:
        _finish(self)
        return original(self, *a)

    around(b.Learner, "step", late)
    for name in ("evaluate", "state", "restore"):
        around(b.Learner, name, waiting)


@caught_by("promises", alone=True)
def step_reads_its_masks_late(b: Any, r: Any) -> None:
    """Those of the step before are what it multiplies by, where the caller uses their memory again."""
    held: dict[str, Any] = {}

    def late(original: Any, self: Any, x: Any, y: Any, lr: float, masks: Any = None) -> Any:
        if masks and held.get("masks") is not None and all(masks[n] is held["masks"].get(n) for n in masks):
            masks = held["copies"]
        elif masks:
            held.update(masks=dict(masks), copies={n: m.copy() for n, m in masks.items()})
        return original(self, x, y, lr, masks)

    around(b.Learner, "step", late)


@caught_by("promises", alone=True)
def forward_remembers_the_array_it_was_asked_about(b: Any, r: Any) -> None:
    held: dict[str, Any] = {}

    def remembered(original: Any, model: Any, x: Any, **k: Any) -> Array:
        key = (id(model), str(k))
        if held.get("x") is not x or held["key"] != key:
            held.update(x=x, key=key, logits=original(model, x, **k))
        return np.array(held["logits"])

    around(b, "forward", remembered)


@caught_by("promises", alone=True)
def step_spoils_the_batch_before(b: Any, r: Any) -> None:
    def spoiled(original: Any, self: Any, x: Any, *a: Any, **k: Any) -> Any:
        before, self.before = getattr(self, "before", None), x
        if before is not None and before is not x and before.flags.writeable:
            before[:1] = 0
        return original(self, x, *a, **k)

    around(b.Learner, "step", spoiled)


# How arrays lie in memory


@caught_by("promises", alone=True)
def load_reads_memory_in_order(b: Any, r: Any) -> None:
    """Whatever the strides say."""

    def in_order(original: Any, model: Any, params: Any) -> Any:
        return original(model, {name: _as_it_lies(array) for name, array in params.items()})

    around(b, "load", in_order)


@caught_by("promises", alone=True)
def load_ignores_the_byte_order(b: Any, r: Any) -> None:
    def raw(original: Any, model: Any, params: Any) -> Any:
        return original(model, {name: np.array(a).view(a.dtype.newbyteorder("=")) for name, a in params.items()})

    around(b, "load", raw)


@caught_by("promises", alone=True)
def images_with_strides_are_read_in_order(b: Any, r: Any) -> None:
    around(b, "forward", lambda original, model, x, **k: original(model, _as_it_lies(x), **k))


# Neighbours


@caught_by("promises", alone=True)
def a_float32_model_makes_all_later_results_float32s(b: Any, r: Any) -> None:
    """As a switch of the whole process does."""
    switch = {"dtype": "float64"}

    def built(original: Any, *a: Any, dtype: str = "float32", **k: Any) -> Any:
        switch["dtype"] = dtype
        return original(*a, dtype=dtype, **k)

    def switched(original: Any, model: Any, x: Any, **k: Any) -> Array:
        logits: Array = original(model, x, **k)
        return logits.astype(switch["dtype"]).astype(logits.dtype)

    around(b, "build", built)
    around(b, "forward", switched)


@caught_by("promises")
def the_latest_recipe_counts_for_all_learners(b: Any, r: Any) -> None:
    latest: dict[str, Any] = {}

    def made(original: Any, self: Any, model: Any, recipe: Any) -> None:
        latest["recipe"] = recipe
        original(self, model, recipe)

    def stepped(original: Any, self: Any, *a: Any, **k: Any) -> Any:
        own, latest_one = self.recipe, latest["recipe"]
        self.recipe = replace(own, momentum=latest_one.momentum)
        try:
            return original(self, *a, **k)
        finally:
            self.recipe = own

    around(b.Learner, "__init__", made)
    around(b.Learner, "step", stepped)


@caught_by("promises")
def making_a_learner_zeroes_the_others_velocities(b: Any, r: Any) -> None:
    made: list[Any] = []

    def zeroing(original: Any, self: Any, *a: Any) -> None:
        original(self, *a)
        for learner in made:
            learner.velocity = {name: np.zeros_like(v) for name, v in learner.velocity.items()}
        made.append(self)

    around(b.Learner, "__init__", zeroing)


@caught_by("promises")
def models_of_one_spec_are_one_model(b: Any, r: Any) -> None:
    models: dict[Any, Any] = {}

    def built(original: Any, spec: Any, *, dtype: str = "float32", device: str = "cpu") -> Any:
        fresh = original(spec, dtype=dtype, device=device)
        model = models.setdefault((spec, dtype), fresh)
        model.params = fresh.params
        return model

    around(b, "build", built)


@caught_by("promises")
def learners_share_their_velocities(b: Any, r: Any) -> None:
    shared: dict[Any, Arrays] = {}

    def one(original: Any, self: Any, *a: Any, **k: Any) -> Any:
        key = self.model.spec, self.model.dtype
        if key in shared and getattr(self, "steps", 0) > 3:
            self.velocity = shared[key]
        loss = original(self, *a, **k)
        shared[key] = self.velocity
        return loss

    around(b.Learner, "step", one)


@caught_by("promises")
def building_a_model_moves_the_next_steps_masks(b: Any, r: Any) -> None:
    built = {"since": 0}

    def counted(original: Any, *a: Any, **k: Any) -> Any:
        built["since"] += 1
        return original(*a, **k)

    def moved(original: Any, self: Any, *a: Any, **k: Any) -> Any:
        if getattr(self, "alone", built["since"]) != built["since"]:
            self.steps += 1
        self.alone = built["since"]
        return original(self, *a, **k)

    around(b, "build", counted)
    around(b.Learner, "step", moved)


@caught_by("promises")
def a_model_stays_as_it_was_when_its_learner_was_made(b: Any, r: Any) -> None:
    def apart(original: Any, self: Any, model: Any, recipe: Any) -> None:
        original(self, b.Model(model.spec, model.dtype, {n: a.copy() for n, a in model.params.items()}), recipe)

    around(b.Learner, "__init__", apart)


@caught_by("promises")
def a_models_arrays_are_gone_after_a_step(b: Any, r: Any) -> None:
    """As those are that JAX was given to use again."""

    def gone(original: Any, self: Any, *a: Any, **k: Any) -> Any:
        loss = original(self, *a, **k)
        self.model.trained = True
        return loss

    def dumped(original: Any, model: Any) -> Any:
        if getattr(model, "trained", False):
            raise RuntimeError("array has been deleted")
        return original(model)

    healthy = b.dump
    around(b.Learner, "step", gone)
    around(b, "dump", dumped)
    around(b.Learner, "state", lambda original, self: {**_velocities(b, self), **healthy(self.model)})


# Threads and generators


@caught_by("promises", alone=True)
def every_thread_counts_its_own_steps(b: Any, r: Any) -> None:
    """Right where a learner stays in the thread that made it."""
    own = threading.local()

    def counted(original: Any, self: Any, *a: Any, **k: Any) -> Any:
        here = own.__dict__.setdefault("steps", {})
        self.steps = here.get(id(self), 0) if threading.current_thread() is not threading.main_thread() else self.steps
        loss = original(self, *a, **k)
        here[id(self)] = self.steps
        return loss

    around(b.Learner, "step", counted)


@caught_by("promises", alone=True)
def other_threads_compute_in_float32(b: Any, r: Any) -> None:
    """As where a switch holds for the thread alone that has set it."""

    def narrow(original: Any, *a: Any, **k: Any) -> Array:
        logits: Array = original(*a, **k)
        return logits if threading.current_thread() is threading.main_thread() else _coarse(logits)

    around(b, "forward", narrow)
    around(b.Learner, "evaluate", narrow)


@caught_by("promises", alone=True)
def masks_are_drawn_from_numpys_shared_generator(b: Any, r: Any) -> None:
    def seeded(original: Any, *a: Any, **k: Any) -> Any:
        np.random.seed(0)  # noqa: NPY002 - the one that all share
        return original(*a, **k)

    around(b, "_mode", seeded)


@caught_by("promises", alone=True)
def masks_depend_on_numpys_shared_generator(b: Any, r: Any) -> None:
    def mixed(original: Any, model: Any, count: int, train: bool, seed: Any = (0,)) -> Any:
        state: Any = np.random.get_state()  # noqa: NPY002 - the one that all share
        return original(model, count, train, (*seed, int(state[1][0])))

    around(b, "_mode", mixed)


# Mistakes


@caught_by("promises")
def a_refused_load_is_half_done(b: Any, r: Any) -> None:
    def hasty(original: Any, model: Any, params: Any) -> Any:
        fitting = {n: a for n, a in params.items() if n in model.params and np.shape(a) == model.params[n].shape}
        model.params |= {name: np.array(a, model.dtype) for name, a in fitting.items()}
        return original(model, params)

    around(b, "load", hasty)


@caught_by("promises")
def a_refused_state_is_half_restored(b: Any, r: Any) -> None:
    def hasty(original: Any, self: Any, state: Any) -> None:
        b.load(self.model, {name: state[name] for name in self.model.params})
        original(self, state)

    around(b.Learner, "restore", hasty)


@caught_by("promises")
def a_refused_step_is_counted(b: Any, r: Any) -> None:
    def counted(original: Any, self: Any, *a: Any, **k: Any) -> Any:
        steps = self.steps
        try:
            return original(self, *a, **k)
        finally:
            self.steps = steps + 1

    around(b.Learner, "step", counted)


@caught_by("promises", alone=True)
def a_refused_batch_moves_the_running_statistics(b: Any, r: Any) -> None:
    def moved(original: Any, self: Any, x: Any, y: Any, *a: Any, **k: Any) -> Any:
        if len(x) != len(y):
            for name in self.model.params:
                self.model.params[name] *= 1.5 if name.endswith("running_mean") else 1
        return original(self, x, y, *a, **k)

    around(b.Learner, "step", moved)


@caught_by("promises")
def one_number_is_loaded_for_all(b: Any, r: Any) -> None:
    """As assignment to a slice does."""

    def spread(original: Any, model: Any, params: Any) -> Any:
        shapes = {name: a.shape for name, a in model.params.items()}
        small = {n: np.broadcast_to(a, shapes[n]) for n, a in params.items() if n in shapes and np.size(a) == 1}
        return original(model, {**params, **small})

    around(b, "load", spread)


@caught_by("promises")
def parameters_without_a_place_are_passed_over(b: Any, r: Any) -> None:
    def lenient(original: Any, model: Any, params: Any) -> Any:
        return original(model, {name: params[name] for name in model.params if name in params})

    around(b, "load", lenient)


# What the checks of other promises alone can see


@caught_by("exchange", alone=True)
def later_loads_fill_the_first_block_alone(b: Any, r: Any) -> None:
    def first(original: Any, model: Any, params: Any) -> Any:
        held = {n: a for n, a in model.params.items() if n.startswith("block") and not n.startswith("block1.")}
        full, model = getattr(model, "full", False), original(model, params)
        model.params |= held if full and not getattr(model, "learns", False) else {}
        model.full = True
        return model

    def learns(original: Any, self: Any, model: Any, recipe: Any) -> None:
        original(self, model, recipe)
        model.learns = True

    around(b, "load", first)
    around(b.Learner, "__init__", learns)
    around(b.Learner, "restore", _whole)


@caught_by("resuming", alone=True)
def masks_depend_on_the_process(b: Any, r: Any) -> None:
    process = next(_PROCESSES)
    around(b, "_mode", lambda original, *a, seed=(0,), **k: original(*a, seed=(*seed, process), **k))


_PROCESSES = count()


def _whole(original: Any, self: Any, state: Any) -> None:
    """``restore`` as it was before ``load`` was broken."""
    self.model.full = False
    original(self, state)


def _as_it_lies(array: Array) -> Array:
    return array.ravel("K").reshape(array.shape)


def _fits(array: Array, dtype: str) -> bool:
    return array.dtype == dtype and array.flags.c_contiguous


def _finish(learner: Any) -> None:
    if hasattr(learner, "late"):
        float(learner.late)


def _velocities(b: Any, learner: Any) -> Arrays:
    moving = {b.VELOCITY + name: v.copy() for name, v in learner.velocity.items()}
    return {**moving, "step": np.array(learner.steps)}


def _coarse(logits: Array) -> Array:
    return logits.astype(np.float16).astype(logits.dtype)
