"""Saboteurs of the scripts that ``vgg code`` prints: the backend itself is healthy."""

from __future__ import annotations

from typing import Any

from sabotage import around, caught_by


def _edited(b: Any, old: str, new: str) -> None:
    """Change the template of scripts, in which ``old`` stands once."""
    if b.TEMPLATE.count(old) != 1:
        raise NameError(f"the template has {b.TEMPLATE.count(old)} of {old!r}")  # the saboteur itself is broken
    b.TEMPLATE = b.TEMPLATE.replace(old, new)


@caught_by("code", alone=True)
def scripts_without_lrn(b: Any, r: Any) -> None:
    _edited(b, "{{ conv.lrn }}", "False")


@caught_by("code", alone=True)
def scripts_whose_pools_never_overlap(b: Any, r: Any) -> None:
    """By the kernel as the stride: right for VGG, and of the same size at the end where rows are dropped."""
    _edited(b, "(block.pool.kernel, block.pool.stride)", "(block.pool.kernel, block.pool.kernel)")


@caught_by("code", alone=True)
def scripts_whose_every_block_pools(b: Any, r: Any) -> None:
    _edited(b, "if block.pool else None", "if block.pool else (1, 1) if loop.last else (2, 1)")


@caught_by("code", alone=True)
def scripts_without_dropout(b: Any, r: Any) -> None:
    """As in the book: nobody noticed."""
    _edited(b, "{{ spec.head.dropout }}", "0.0")


@caught_by("code", alone=True)
def scripts_that_train_without_dropout(b: Any, r: Any) -> None:
    """Their models have it."""
    _edited(b, "{{ spec.head.dropout }}", "{{ spec.head.dropout if recipe is none else 0.0 }}")


@caught_by("code", alone=True)
def scripts_that_keep_their_own_initial_values(b: Any, r: Any) -> None:
    _edited(b, "load_file({{ weights }})", "{k: 0 * v + 0.1 for k, v in load_file({{ weights }}).items()}")


@caught_by("code", alone=True)
def scripts_that_flatten_in_another_order(b: Any, r: Any) -> None:
    """The first dense layer gets its inputs as H,W,C."""
    shape, first = "*{{ spec.feature_shape }}", 'weights["fc1.weight"]'
    moved = f"{first} = {first}.reshape(-1, {shape}).transpose(0, 2, 3, 1).reshape({first}.shape)"
    guarded = f"\n{{% if not spec.head.global_pool %}}\n{moved}\n{{% endif %}}"
    _edited(b, "load_file({{ weights }})", "load_file({{ weights }})" + guarded)


@caught_by("code", alone=True)
def scripts_whose_running_variance_is_one(b: Any, r: Any) -> None:
    """Right for new nets and in train mode."""
    one = "{k: 0 * v + 1 if 'running_var' in k else v for k, v in load_file({{ weights }}).items()}"
    _edited(b, "load_file({{ weights }})", one)


@caught_by("code", alone=True)
def scripts_without_weight_decay(b: Any, r: Any) -> None:
    _edited(b, "{{ recipe.weight_decay }}", "0.0")


@caught_by("code", alone=True)
def scripts_without_momentum(b: Any, r: Any) -> None:
    _edited(b, "{{ recipe.momentum }}", "0.0")


@caught_by("code", alone=True)
def scripts_that_leave_pixels_uncentred(b: Any, r: Any) -> None:
    _edited(b, "{{ recipe.mean }}", "0.0")


@caught_by("code", alone=True)
def scripts_with_a_rate_of_their_own(b: Any, r: Any) -> None:
    _edited(b, "{{ recipe.lr }}", "0.005 if 0.001 < {{ recipe.lr }} else {{ recipe.lr }}")


@caught_by("code", alone=True)
def scripts_that_do_not_run(b: Any, r: Any) -> None:
    _edited(b, "classes = {{ spec.classes }}", 'classes = int("{{ spec.classes }} classes")')


@caught_by("code", alone=True)
def scripts_that_load_one_dense_layer_twice(b: Any, r: Any) -> None:
    """Where two have one shape."""

    def doubled(original: Any, *a: Any, **k: Any) -> Any:
        model, step = original(*a, **k)
        if model.spec.head.hidden == (17, 17, 17):
            model.params["fc3.weight"] = model.params["fc2.weight"]
        return model, step

    around(b, "scripted", doubled)
