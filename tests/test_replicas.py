"""Data-parallel training on CPU devices: the oracle's trajectory, batches that cannot be divided, ranks that die."""

from __future__ import annotations

import importlib
import json
import os
import shlex
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

import vgg
from vgg import BackendError, Head, Recipe, Spec, VGGError
from vgg.backends import VELOCITY
from vgg.cli import main
from vgg.conformance import checks
from vgg.conformance.board import _compiled
from vgg.conformance.cases import CASES, TRAJECTORIES, Array, Arrays, Case
from vgg.conformance.trajectories import FLOAT64_LIMIT, trajectory
from vgg.core import oracle
from vgg.core.comparator import compare
from vgg.core.masks import masks
from vgg.core.oracle import Mode
from vgg.core.recipe import recipe
from vgg.core.replicas import Group, group
from vgg.process import environments, registry
from vgg.process.client import Worker
from vgg.process.ranks import outer
from vgg.process.registry import Entry
from vgg.runs.train import PARTS
from vgg.training import data, loop

SYNCHRONISED = ("tensorflow", "jax")
TINY = Spec.from_blocks(((1, 4),), input_shape=(1, 8, 8), classes=10, head=Head((8,)), name="tiny")
SMALL = Spec.from_blocks(((1, 4),), input_shape=(2, 7, 10), classes=5, head=Head((9,)), name="small")
RECIPE = Recipe(momentum=0.9, weight_decay=1e-3, precision="float64")
RATE = 0.1
PATIENCE = 120.0
"""Seconds to wait for what takes none on an idle machine."""


@pytest.fixture(scope="module", params=registry.own_names())
def worker(request: pytest.FixtureRequest) -> Iterator[Worker]:
    """Two replicas of each backend."""
    with started(request.param) as two:
        yield two


def started(name: str, replicas: int = 2, *, launched: bool = False, **variables: str) -> Worker:
    variables = {**_compiled("float64"), **variables}
    return Worker(registry.find(name), timeout=60, replicas=replicas, variables=variables, launched=launched)


def stepped(case: Case) -> Arrays:
    """The oracle's loss and state after one step."""
    weights, drawn = case.params("float64"), Mode(train=True, masks=given(case))
    loss, grads, _ = oracle.loss_and_grads(case.spec, weights, case.images("float64"), case.labels(), drawn)
    still = {name: np.zeros_like(a) for name, a in grads.items()}
    settings = {"momentum": RECIPE.momentum, "weight_decay": RECIPE.weight_decay}
    weights, velocity = oracle.sgd(weights, grads, still, lr=RATE, **settings)
    return {"loss": np.array(loss), **weights, **{VELOCITY + name: v for name, v in velocity.items()}}


def step(worker: Worker, case: Case) -> Arrays:
    """``worker``'s loss and state after one step."""
    worker.build(case.spec, case.params("float64"), dtype="float64")
    worker.learner(RECIPE)
    loss = worker.step(case.images("float64"), case.labels(), RATE, given(case))
    state = worker.state()
    del state["step"]
    return {"loss": np.array(loss), **state}


def given(case: Case) -> dict[str, Array]:
    return dict(masks(case.spec, case.batch, case.seed, 0))


# Shares


@pytest.mark.parametrize("count", [0, 1, 2, 5, 6, 7])
@pytest.mark.parametrize(("replicas", "processes"), [(1, 1), (3, 1), (1, 3), (2, 2)])
def test_every_example_goes_to_one_replica_and_shares_differ_by_one_at_most(
    count: int, replicas: int, processes: int
) -> None:
    x, y = np.arange(count)[:, None], np.arange(count) + 10
    groups = [Group(replicas, rank, processes) for rank in range(processes)]
    shards = [shard for one in groups for shard in one.split(x, y, {"fc1.dropout": x + 20})]
    assert np.concatenate([images[:, 0] for images, _, _ in shards]).tolist() == list(range(count))
    assert all((labels == images[:, 0] + 10).all() for images, labels, _ in shards)
    assert all((own["fc1.dropout"] == images + 20).all() for images, _, own in shards)
    sizes = [len(images) for images, _, _ in shards]
    assert max(sizes) - min(sizes) <= 1


def test_padding_fills_the_last_share_and_is_told_apart() -> None:
    one = Group(3)
    padded, real = one.pad(np.array([4, 5, 6, 7])), one.real(4)
    assert real is not None
    assert padded[real].tolist() == [4, 5, 6, 7]
    assert (len(padded), one.real(6)) == (6, None)


def test_no_two_replicas_draw_the_masks_of_one_number() -> None:
    groups = [Group(2, rank, 3) for rank in range(3)]
    assert sorted(n for step in range(4) for one in groups for n in one.numbers(step)) == list(range(24))
    assert Group().numbers(7) == [7]


def test_ranks_are_read_from_the_variables_of_the_backends_launcher(monkeypatch: pytest.MonkeyPatch) -> None:
    config = {"cluster": {"worker": ["a:1", "b:1", "c:1"]}, "task": {"type": "worker", "index": 2}}
    for name, value in {"RANK": "1", "WORLD_SIZE": "4", "TF_CONFIG": json.dumps(config), "VGG_REPLICAS": "2"}.items():
        monkeypatch.setenv(name, value)
    found = {}
    for names in ("RANK WORLD_SIZE", "TF_CONFIG", "JAX_PROCESS_ID JAX_NUM_PROCESSES"):
        monkeypatch.setenv("VGG_RANKS", names)
        found[names] = group()
    assert list(found.values()) == [Group(2, 1, 4), Group(2, 2, 3), Group(2, 0, 1)]


# Numbers


def test_two_replicas_follow_the_oracle(worker: Worker) -> None:
    case = TRAJECTORIES["plain"]
    assert case.batch % 2
    verdict = trajectory(worker, case, "float64")
    assert verdict.ok, verdict.reason


def test_replicas_resize_their_own_images(worker: Worker) -> None:
    verdict = checks.learning(worker, CASES["plain"], 0.9)
    assert verdict.ok, verdict.reason


def test_batch_norm_takes_the_global_batch_or_is_refused(worker: Worker) -> None:
    case = TRAJECTORIES["batch_norm"]
    if worker.entry.name in SYNCHRONISED:
        verdict = trajectory(worker, case, "float64")
        assert verdict.ok, verdict.reason
        return
    worker.build(case.spec, dtype="float64")
    with pytest.raises(BackendError, match=r"--replicas: got 2, wanted 1 with batch norm: vgg\.backends\.\w+ cannot"):
        worker.learner(RECIPE)


@pytest.mark.parametrize("batch", [1, 4])
def test_a_batch_may_be_divided_or_leave_a_replica_without_an_image(worker: Worker, batch: int) -> None:
    for batch_norm in {False, worker.entry.name in SYNCHRONISED}:
        verdict = trajectory(worker, Case(SMALL.modified(batch_norm=batch_norm), batch, seed=batch), "float64")
        assert verdict.ok, verdict.reason


def test_replicas_draw_masks_of_their_own(worker: Worker) -> None:
    """A velocity holds gradients: of the last layer's, a unit's is zero where all replicas dropped it or it is off."""
    case = Case(Spec.from_blocks(((1, 4),), input_shape=(2, 7, 10), classes=5, head=Head((1009,))), batch=1)
    twice, labels = np.repeat(case.images("float64"), 2, axis=0), np.repeat(case.labels(), 2)
    alive = []
    for masks_given in ({"fc1.dropout": np.ones((2, 1009))}, None):
        worker.build(case.spec, case.params("float64"), dtype="float64")
        worker.learner(RECIPE)
        before = worker.state()["fc2.weight"]
        worker.step(twice, labels, 0.0, masks_given)
        gradient = worker.state()[VELOCITY + "fc2.weight"] - RECIPE.weight_decay * before
        alive.append(int((np.abs(gradient).max(axis=0) > 1e-12).sum()))
    assert alive[0] > 300
    assert 0.65 < alive[1] / alive[0] < 0.85, "one half if masks are the same, three quarters if independent"


# Several processes under a launcher of the user's


@contextmanager
def servers(name: str, variables: dict[str, str], home: Path) -> Iterator[None]:
    """What MXNet needs besides workers."""
    with ExitStack() as stack:
        for role in ("scheduler", "server") if name == "mxnet" else ():
            command, environ = environments.launch(registry.find(name), "auto", str(home))
            process = subprocess.Popen(
                [*command, "-c", "import mxnet"],
                env={**environ, **variables, "DMLC_ROLE": role},
                start_new_session=True,
            )
            stack.callback(process.wait)
            stack.callback(os.killpg, process.pid, signal.SIGKILL)  # uv and what it started
        yield


def ranks(address: str, port: int, other: int) -> list[dict[str, str]]:
    """The variables of two processes, for all frameworks' launchers at once."""
    addresses = [f"{address}:{number}" for number in (port, other)]
    common = {"MASTER_ADDR": address, "MASTER_PORT": str(port), "WORLD_SIZE": "2"}
    common |= {"JAX_COORDINATOR_ADDRESS": addresses[0], "JAX_NUM_PROCESSES": "2"}
    common |= {"DMLC_PS_ROOT_URI": address, "DMLC_PS_ROOT_PORT": str(port)}
    common |= {"DMLC_NUM_WORKER": "2", "DMLC_NUM_SERVER": "1", "DMLC_ROLE": "worker"}
    cluster = {"cluster": {"worker": addresses}}
    return [
        {**common, **dict.fromkeys(("RANK", "JAX_PROCESS_ID", "DMLC_WORKER_ID"), str(rank))}
        | {"TF_CONFIG": json.dumps({**cluster, "task": {"type": "worker", "index": rank}})}
        for rank in range(2)
    ]


def free_ports() -> tuple[int, int]:
    with socket.socket() as one, socket.socket() as other:
        one.bind(("127.0.0.1", 0))
        other.bind(("127.0.0.1", 0))
        return one.getsockname()[1], other.getsockname()[1]


@pytest.mark.parametrize(("name", "batch"), [*((name, 5) for name in registry.own_names()), ("mxnet", 1)])
def test_two_processes_of_a_launcher_train_together(name: str, batch: int, tmp_path: Path) -> None:
    case = Case(SMALL, batch)
    variables = ranks("127.0.0.1", *free_ports())
    limit = 1e-6 if name == "mxnet" else FLOAT64_LIMIT  # its servers add in float32
    with servers(name, variables[0], tmp_path), ExitStack() as stack, ThreadPoolExecutor(2) as pool:
        workers = [stack.enter_context(started(name, 1, launched=True, **own)) for own in variables]
        for found in pool.map(lambda one: step(one, case), workers):
            verdict = compare(found, stepped(case), limit=limit)
            assert verdict.ok, verdict.reason


# What goes wrong


def processes(parent: int) -> Iterator[int]:
    """Every process below ``parent``."""
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, of, *_ = path.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(of) == parent and state != "Z":
            yield int(path.parent.name)
            yield from processes(int(path.parent.name))


def rank_of(pid: int) -> str | None:
    try:
        variables = dict(part.partition("=")[::2] for part in Path(f"/proc/{pid}/environ").read_text().split("\0"))
    except OSError:
        return None
    return variables.get("RANK")


def gone(pids: list[int]) -> bool:
    deadline = time.monotonic() + PATIENCE
    while any(rank_of(pid) is not None for pid in pids):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


@pytest.mark.parametrize(
    ("rank", "death", "reason"),
    [
        ("0", signal.SIGKILL, r"exitcode +: -9"),
        ("1", signal.SIGKILL, r"exitcode +: -9"),
        ("1", signal.SIGSTOP, "no sign of life for 4 s; killed it"),
    ],
)
def test_a_rank_that_dies_or_hangs_ends_them_all(rank: str, death: signal.Signals, reason: str) -> None:
    case = Case(SMALL, 4)
    with started("torch") as worker:
        step(worker, case)
        pids = {rank_of(pid): pid for pid in processes(worker._process.pid) if rank_of(pid)}
        worker.timeout = PATIENCE if death == signal.SIGKILL else 4
        os.kill(pids[rank], death)
        with pytest.raises(BackendError, match=reason):
            step(worker, case)
    assert pids.keys() == {"0", "1"}
    assert gone(list(pids.values()))


def test_a_process_has_no_more_replicas_than_gpus() -> None:
    Group(2).fit(2)
    with pytest.raises(VGGError, match=r"^--replicas: got 3, wanted at most 2, the GPUs here$"):
        Group(3).fit(2)


@pytest.mark.parametrize(
    ("config", "place"),
    [
        ({}, (0, 1)),
        ({"cluster": {"chief": ["a"], "worker": ["b", "c"]}, "task": {"type": "chief", "index": 0}}, (0, 3)),
        ({"cluster": {"chief": ["a"], "worker": ["b", "c"]}, "task": {"type": "worker", "index": 1}}, (2, 3)),
        ({"cluster": {"worker": ["b", "c"]}, "task": {"type": "worker", "index": 1}}, (1, 2)),
    ],
)
def test_a_chief_comes_before_the_workers(
    monkeypatch: pytest.MonkeyPatch, config: dict[str, Any], place: tuple[int, int]
) -> None:
    monkeypatch.setenv("TF_CONFIG", json.dumps(config))
    found = outer(registry.find("tensorflow"))
    assert (found.rank, found.processes) == place


@pytest.mark.parametrize(
    "config",
    [
        "{",
        "[]",
        "[" * 100_000,
        '{"cluster": {"worker": ["a"]}}',
        '{"cluster": {"worker": ["b"]}, "task": {"type": "ps", "index": 0}}',
        '{"cluster": {"ps": ["b"]}, "task": {"type": "ps", "index": 0}}',
        '{"cluster": {"worker": ["b"]}, "task": {"type": "worker", "index": 1}}',
        '{"cluster": {"worker": ["b"]}, "task": {"type": "worker", "index": -1}}',
        '{"cluster": {"chief": ["a"], "worker": ["b"]}, "task": {"type": "chief", "index": 1}}',
        '{"cluster": {"worker": "ab"}, "task": {"type": "worker", "index": 1}}',
        '{"cluster": {"worker": 2}, "task": {"type": "worker", "index": 1}}',
    ],
)
def test_a_cluster_that_makes_no_sense_is_refused(monkeypatch: pytest.MonkeyPatch, config: str) -> None:
    monkeypatch.setenv("TF_CONFIG", config)
    with pytest.raises(VGGError, match=r"^TF_CONFIG: got .* wanted a cluster of chief and worker.*; unset what"):
        outer(registry.find("tensorflow"))


PAIRS = {name: " ".join(registry.find(name).ranks) for name in ("torch", "jax", "mxnet")}
LEFT = [("1", "1"), ("2", "2"), ("-1", "2"), ("0", "0"), ("first", "2"), ("0", "two"), ("", ""), ("1.0", "2")]


@pytest.mark.parametrize(("rank", "count"), [*LEFT, ("0", None), (None, "2")])
@pytest.mark.parametrize("name", PAIRS)
def test_a_rank_that_cannot_be_is_refused_by_the_names_of_its_variables(
    monkeypatch: pytest.MonkeyPatch, name: str, rank: str | None, count: str | None
) -> None:
    names = PAIRS[name].split()
    for variable, value in zip(names, (rank, count), strict=True):
        if value is not None:
            monkeypatch.setenv(variable, value)
    got = ", ".join("nothing" if value is None else value for value in (rank, count))
    wanted = "a rank, and a number of processes that is greater; unset what a launcher has left"
    with pytest.raises(VGGError) as caught:
        outer(registry.find(name))
    assert str(caught.value) == f"{', '.join(names)}: got {got}, wanted {wanted}"


MEETING = [(name, variable) for name in PAIRS for variable in registry.find(name).meeting]


@pytest.mark.parametrize(("name", "missing"), MEETING)
@pytest.mark.parametrize("value", [None, "", "server 1:x"])
def test_several_processes_need_all_variables_of_their_launcher(
    monkeypatch: pytest.MonkeyPatch, name: str, missing: str, value: str | None
) -> None:
    for variable, set_to in ranks("127.0.0.1", 4000, 4001)[1].items():
        monkeypatch.setenv(variable, set_to)
    assert outer(registry.find(name)) == Group(1, 1, 2)
    monkeypatch.delenv(missing) if value is None else monkeypatch.setenv(missing, value)
    pair = PAIRS[name].replace(" ", " and ")
    got = repr(value) if value else "nothing"
    with pytest.raises(VGGError, match=rf"^{missing}: got {got}, wanted .*; set it too, or unset {pair} to use one"):
        outer(registry.find(name))


@pytest.mark.parametrize("left", [0, 1])
@pytest.mark.parametrize("name", registry.own_names())
def test_a_command_that_is_not_launched_ignores_what_launchers_have_left(
    monkeypatch: pytest.MonkeyPatch, name: str, left: int
) -> None:
    for variable, value in {**ranks("127.0.0.1", 1, 2)[left], "DMLC_ROLE": "server", "LOCAL_RANK": "7"}.items():
        monkeypatch.setenv(variable, value)
    case = Case(SMALL, 4)
    with started(name, 1) as worker:
        verdict = compare(step(worker, case), stepped(case), limit=FLOAT64_LIMIT)
        assert verdict.ok, verdict.reason
        assert worker.facts()["replicas"] == 1


def test_a_comparison_ignores_what_launchers_have_left(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    launched = Entry("oracle", "vgg_oracle", ranks=("RANK", "WORLD_SIZE"))
    monkeypatch.setattr(registry, "_OWN", {"oracle": launched})
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).with_name("plugin_backend")))
    for variable, value in {"RANK": "1", "WORLD_SIZE": "1"}.items():
        monkeypatch.setenv(variable, value)
    options: dict[str, Any] = {"epochs": 1, "progress": False}
    assert vgg.compare(["oracle"], TINY, out=tmp_path / "both", **options).ok
    with pytest.raises(VGGError, match=r"^RANK, WORLD_SIZE: got 1, 1, wanted a rank, and a number of processes"):
        vgg.train("oracle", TINY, out=tmp_path / "run", **options)
    assert not (tmp_path / "run").exists()


def test_no_replica_is_too_few() -> None:
    with pytest.raises(VGGError, match=r"^--replicas: got 0, wanted at least 1$"):
        started("torch", 0)


def test_a_launcher_within_a_launcher_is_refused() -> None:
    with pytest.raises(VGGError, match=r"^--replicas: got 2, wanted 1 under a launcher"):
        started("torch", launched=True)


def test_a_backend_without_replicas_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).with_name("plugin_backend")))
    reason = r"^oracle: facts: --replicas: got 2, wanted 1: vgg_oracle trains on one device$"
    with Worker(Entry("oracle", "vgg_oracle"), replicas=2) as alone, pytest.raises(BackendError, match=reason):
        alone.facts()


# Runs


CHOSEN = ("--batch-size=287", "--dropout=neutral", "--precision=float64")


@pytest.fixture
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The oracle's run of two epochs on one device; ``spec.json`` beside it."""
    monkeypatch.syspath_prepend(Path(__file__).with_name("plugin_backend"))
    oracle, digits, out = importlib.import_module("vgg_oracle"), data.load("digits"), tmp_path / "one"
    spec = Spec.from_blocks(((1, 4),), input_shape=(1, 8, 8), classes=10, head=Head((16,), dropout=0.25))
    plan = recipe("quick", epochs=2, batch_size=287, dropout="neutral", precision="float64")
    arrays = {part: getattr(digits, part) for part in PARTS}
    settings: dict[str, Any] = {"spec": spec.to_dict(), "recipe": plan.to_dict(), "device": "cpu", "facts": {}}
    (tmp_path / "spec.json").write_text(json.dumps(spec.to_dict()))
    out.mkdir()
    loop.run(oracle, out, arrays, emit=lambda _: None, **settings)
    return out


@pytest.mark.parametrize("name", registry.own_names())
def test_two_machines_of_the_documents_script_train_together(name: str, tmp_path: Path, alone: Path) -> None:
    command, environ = environments.launch(registry.find(name), "auto", "")
    here = {"HOSTS": " ".join(f"localhost:{port}" for port in free_ports()), "DEVICES": "1"}
    here |= {"PYTHON": shlex.join(command), "PATH": f"{Path(sys.executable).parent}:{environ['PATH']}"}
    script = Path(__file__).parents[1] / "docs" / "launch.sh"
    job = ["bash", str(script), name, "spec.json", *CHOSEN, "--epochs=2", "--out=two"]
    machines = [
        subprocess.Popen(job, cwd=tmp_path, env={**environ, **here, "MACHINE": str(machine)}) for machine in range(2)
    ]
    assert [machine.wait() for machine in machines] == [0, 0]
    assert {p.name for p in (tmp_path / "two").rglob("*")} == {p.name for p in alone.rglob("*")} | {"report.html"}
    wanted, limit = load_file(alone / "weights.safetensors"), 1e-6 if name == "mxnet" else FLOAT64_LIMIT
    verdict = compare(load_file(tmp_path / "two" / "weights.safetensors"), wanted, limit=limit)
    assert verdict.ok, verdict.reason


@pytest.mark.parametrize(
    ("count", "reason"), [("0", "wanted a whole number from 1 to"), ("33", "got 33, wanted at most 32")]
)
def test_a_number_of_replicas_that_cannot_be_is_refused(
    capsys: pytest.CaptureFixture[str], count: str, reason: str
) -> None:
    try:
        status = main(["train", "torch", "vgg11_narrow", "--recipe", "quick", "--replicas", count])
    except SystemExit as stop:
        status = int(stop.code or 0)
    assert status == 2
    assert reason in capsys.readouterr().err
