"""Shrink a life that fails: leave out actions, then simplify those that remain."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import fields, replace
from typing import Any

from ..core.blocks import Block, Conv, Head
from ..core.errors import VGGError
from ..core.spec import Spec
from .life import Action, Evaluate, Life, Load, Look, Net, Renew, Restore, Step

TRIES = 90
"""The most lives that shrinking tries: each may take a framework seconds."""


def shortest(fails: Callable[[Life], int], life: Life, lived: int) -> Life:
    """Return the simplest life that was seen to fail.

    ``fails`` returns how many actions a life had begun when it failed, or 0 if it does not fail; ``lived`` is that
    number for ``life``.
    """
    life, tries = replace(life, actions=life.actions[:lived]), TRIES
    simpler = _simpler(life)
    while tries:
        candidate = next(simpler, None)
        if candidate is None:
            break
        tries -= 1
        if lived := fails(candidate):
            life = replace(candidate, actions=candidate.actions[:lived])
            simpler = _simpler(life)
    return life


def _simpler(life: Life) -> Iterator[Life]:
    """Yield simpler lives, those that leave out most first."""
    for number in range(len(life.nets)):
        if len(life.nets) > 1:
            yield replace(life, nets=(life.nets[number],))
    size = len(life.actions) // 2
    while size:
        for start in range(0, len(life.actions), size):
            yield replace(life, actions=life.actions[:start] + life.actions[start + size :])
        size //= 2
    for number, net in enumerate(life.nets):
        for simple in _simpler_nets(net):
            yield replace(life, nets=(*life.nets[:number], simple, *life.nets[number + 1 :]))
    for number, action in enumerate(life.actions):
        for easy in _simpler_actions(action):
            yield replace(life, actions=(*life.actions[:number], easy, *life.actions[number + 1 :]))
    yield from [replace(life, seed=0)] if life.seed else []


def _simpler_actions(action: Action) -> Iterator[Action]:
    if isinstance(action, Step) and action.count > 1:
        yield from (replace(action, count=count) for count in (1, action.count // 2, action.count - 1))
    if isinstance(action, Renew):
        yield from (Renew(recipe) for recipe in _by_default(action.recipe, keep=("precision",)))
    elif isinstance(action, (Step, Evaluate, Restore, Look, Load)):
        yield from _by_default(action)


def _simpler_nets(net: Net) -> Iterator[Net]:
    for spec in _simpler_specs(net.spec):
        yield replace(net, spec=spec)
    for recipe in _by_default(net.recipe, keep=("precision",)):
        yield replace(net, recipe=recipe)
    yield from [replace(net, heavy=False)] if net.heavy else []
    yield from [replace(net, pristine=False)] if net.pristine else []
    yield from [replace(net, seed=0)] if net.seed else []


def _simpler_specs(spec: Spec) -> Iterator[Spec]:
    plain = Block((Conv(3),))
    changes: tuple[dict[str, Any], ...] = (
        {"blocks": (plain,)},
        {"blocks": spec.blocks[:1]},
        {"head": Head((), 0.0)},
        {"head": Head(spec.head.hidden[:1], spec.head.dropout)},
        {"head": replace(spec.head, dropout=0.0)},
        {"head": replace(spec.head, global_pool=False)},
        {"batch_norm": False},
        {"input_shape": (1, *spec.input_shape[1:])},
    )
    for change in changes:
        try:
            simple = replace(spec, **change)
        except VGGError:
            continue
        if simple != spec:
            yield simple


def _by_default(value: Any, keep: tuple[str, ...] = ()) -> Iterator[Any]:
    """Yield ``value`` with one of its fields at its default."""
    for field in fields(value):
        if field.name not in keep and getattr(value, field.name) != field.default:
            try:
                simple = replace(value, **{field.name: field.default})
            except VGGError:  # a plateau needs validation
                continue
            yield simple
