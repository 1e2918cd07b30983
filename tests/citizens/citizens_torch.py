"""What a user of PyTorch does with a model that ``build`` made."""

from __future__ import annotations

import copy
import io
import pickle

import numpy as np
import torch
from citizens import Check, images, labels, narrow_as_wide
from torch.nn import functional as F  # noqa: N812

from vgg import Spec
from vgg.backends.torch import build, dump, forward, learner, load, loss_and_grads, trace


def compiles_as_one_graph(spec: Spec) -> None:
    model = build(spec).eval()
    compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
    x = torch.from_numpy(images(spec))
    torch.testing.assert_close(compiled(x), model(x))


def exports(spec: Spec) -> None:
    model = build(spec).eval()
    x = torch.from_numpy(images(spec))
    torch.testing.assert_close(torch.export.export(model, (x,)).module()(x), model(x))


def copies_deeply(spec: Spec) -> None:
    model = build(spec)
    twin = copy.deepcopy(model)
    with torch.no_grad():
        next(twin.parameters()).zero_()
    assert dump(model)["block1.conv1.weight"].any()
    assert twin.spec == spec


def pickles(spec: Spec) -> None:
    model = build(spec)
    twin = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(forward(twin, images(spec)), forward(model, images(spec)))


def saves_weights_alone(spec: Spec) -> None:
    model, file = build(spec), io.BytesIO()
    torch.save(model.state_dict(), file)
    file.seek(0)
    twin = build(spec)
    load(twin, {name: array + 1 for name, array in dump(model).items()})
    twin.load_state_dict(torch.load(file, weights_only=True))
    assert {n: a.tobytes() for n, a in dump(twin).items()} == {n: a.tobytes() for n, a in dump(model).items()}


def hooks_see_what_trace_sees(spec: Spec) -> None:
    model, seen = build(spec).eval(), {}
    for name, layer in model.named_modules():
        if not list(layer.children()):
            layer.register_forward_hook(lambda _m, _i, out, name=name: seen.update({name: out.detach().clone()}))
    model(torch.from_numpy(images(spec)))
    for name, wanted in trace(model, images(spec)).items():
        np.testing.assert_array_equal(seen[name.replace("fc1.", "fc1_")].numpy(), wanted)


def hooks_see_what_each_layer_gives(spec: Spec) -> None:
    """Also after the pass, and with its gradient, as Grad-CAM needs both."""
    model, seen, gradients = build(spec).eval(), dict[str, torch.Tensor](), list[torch.Tensor]()
    conv = model.block1.conv1
    conv.register_forward_hook(lambda _m, _i, out: seen.update(conv=out))
    conv.register_full_backward_hook(lambda _m, _i, out: gradients.append(out[0]))
    model(torch.from_numpy(images(spec))).sum().backward()
    assert (seen["conv"] < 0).any()
    assert gradients[0].shape == seen["conv"].shape


def squares_in_float32(spec: Spec) -> None:
    narrow_as_wide(build, learner, spec)


def trains_in_a_loop_of_ones_own(spec: Spec) -> None:
    model = build(spec).eval()
    x, y = torch.from_numpy(images(spec)), torch.from_numpy(labels(spec))
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    before, (loss, grads) = dump(model), loss_and_grads(model, images(spec), labels(spec))
    own = F.cross_entropy(model(x), y)
    own.backward()
    optimizer.step()
    np.testing.assert_allclose(own.item(), loss, rtol=1e-5)
    for name, grad in grads.items():
        np.testing.assert_allclose(dump(model)[name], before[name] - 0.1 * grad, rtol=1e-4, atol=1e-6)


def leaves_the_process_alone(spec: Spec) -> None:
    def surroundings() -> tuple[object, ...]:
        switches = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
        order = torch.are_deterministic_algorithms_enabled(), torch.backends.cudnn.benchmark
        return (*switches, *order, torch.get_rng_state().numpy().tobytes(), torch.get_default_dtype())

    torch.backends.cudnn.allow_tf32 = True
    torch.manual_seed(7)
    before = surroundings()
    model = build(spec, dtype="float64")
    forward(model, images(spec), train=True)
    trace(model, images(spec))
    loss_and_grads(model, images(spec), labels(spec))
    dump(model)
    assert surroundings() == before


CHECKS: dict[str, Check] = {
    check.__name__: check
    for check in (
        compiles_as_one_graph,
        exports,
        copies_deeply,
        pickles,
        saves_weights_alone,
        hooks_see_what_trace_sees,
        hooks_see_what_each_layer_gives,
        squares_in_float32,
        trains_in_a_loop_of_ones_own,
        leaves_the_process_alone,
    )
}
