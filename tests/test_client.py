"""Workers that work, workers that misbehave, the wire, where a backend is found and how it is started."""

from __future__ import annotations

import importlib
import io
import os
import signal
import subprocess
import sys
import time
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from vgg import BackendError, Head, Recipe, Spec, VGGError, init
from vgg.core import oracle
from vgg.core.errors import ContractError
from vgg.process import environments, registry, wire
from vgg.process.client import Worker
from vgg.process.registry import Entry
from vgg.process.tuning import deterministic
from vgg.training import data
from vgg.worker import Session, described

if TYPE_CHECKING:
    from numpy.typing import NDArray

TESTS = Path(__file__).parent
PLUGIN = TESTS / "plugin_backend"
ORACLE, FAULTY = Entry("oracle", "vgg_oracle"), Entry("faulty", "faulty_backend")
SPEC = Spec.from_blocks(((1, 4), (1, 6)), input_shape=(3, 9, 14), classes=5, head=Head((7,)))
IMAGES = np.random.RandomState(0).standard_normal((3, 3, 9, 14)).astype(np.float32)
LABELS = np.array([4, 0, 2])
PATIENCE = 120.0
"""Seconds to wait for what takes none on an idle machine."""

Start = Callable[..., Worker]


@pytest.fixture
def start(monkeypatch: pytest.MonkeyPatch) -> Start:
    """Starts a worker that shows ``fault``, or a healthy one, in this interpreter."""
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join((str(PLUGIN), str(TESTS))))
    monkeypatch.delenv("PYTHONUNBUFFERED", raising=False)

    def started(fault: str = "", timeout: float = PATIENCE) -> Worker:
        monkeypatch.setenv("VGG_FAULT", fault)
        return Worker(FAULTY if fault else ORACLE, env="current", timeout=timeout)

    return started


def built(worker: Worker) -> Worker:
    worker.build(SPEC, init(SPEC))
    return worker


def group(worker: Worker) -> int:
    """The process group of a worker and of all it starts."""
    return worker._process.pid


def ends(pgid: int) -> bool:
    """Whether the last process of that group ends, soon enough."""
    deadline = time.monotonic() + PATIENCE
    while running(pgid):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def running(pgid: int) -> bool:
    """Whether a process of that group lives; on Linux, one that only waits for an idle PID 1 to take note does not."""
    try:
        os.killpg(pgid, 0)
    except ProcessLookupError:
        return False
    states = [state for path in Path("/proc").glob("[0-9]*/stat") for state, of in [status(path)] if of == pgid]
    return not states or set(states) != {"Z"}


def status(path: Path) -> tuple[str, int]:
    """(state, process group) from a file ``/proc/PID/stat``."""
    try:
        state, _parent, pgid, *_ = path.read_text().rpartition(")")[2].split()
    except OSError:
        return "", 0
    return state, int(pgid)


# Workers that work


def test_a_worker_gives_the_logits_of_the_module_it_serves(start: Start) -> None:
    with built(start()) as worker:
        logits = worker.forward(IMAGES)
    wanted = oracle.forward(SPEC, init(SPEC), IMAGES).logits.astype(np.float32)
    np.testing.assert_array_equal(logits, wanted, strict=True)


def test_a_trace_keeps_the_order_in_which_the_backend_gave_it(start: Start) -> None:
    with built(start()) as worker:
        traced = worker.trace(IMAGES)
    assert list(traced) == list(oracle.forward(SPEC, init(SPEC), IMAGES).activations)


def test_loss_and_gradients_come_back(start: Start) -> None:
    with built(start()) as worker:
        loss, grads = worker.loss_and_grads(IMAGES, LABELS)
    wanted_loss, wanted, _ = oracle.loss_and_grads(SPEC, init(SPEC), IMAGES, LABELS)
    assert loss == wanted_loss
    assert {name: g.tobytes() for name, g in grads.items()} == {n: g.astype("f4").tobytes() for n, g in wanted.items()}


def test_parameters_come_back_bit_for_bit(start: Start) -> None:
    with built(start()) as worker:
        dumped = worker.dump()
    assert {n: a.tobytes() for n, a in dumped.items()} == {n: a.tobytes() for n, a in init(SPEC).items()}


def test_facts_name_the_framework_the_python_and_the_declared_differences(start: Start) -> None:
    with start() as worker:
        facts = worker.facts()
    assert facts["framework"].startswith("numpy ")
    assert facts["python"] == sys.version.split()[0]
    assert facts["declared"] == {"running_var": "population"}


def test_a_learner_in_another_worker_goes_on_bit_for_bit(start: Start) -> None:
    recipe = Recipe(momentum=0.9, weight_decay=1e-3)
    with built(start()) as one, built(start()) as other:
        one.learner(recipe)
        other.learner(recipe)
        one.step(IMAGES, LABELS, 0.1)
        other.restore(one.state())
        assert one.step(IMAGES, LABELS, 0.1) == other.step(IMAGES, LABELS, 0.1)
        np.testing.assert_array_equal(one.evaluate(IMAGES), other.evaluate(IMAGES), strict=True)


def training(out: Path, epochs: int = 1) -> dict[str, Any]:
    """Arguments of a ``train`` job of three steps an epoch."""
    recipe = Recipe(epochs=epochs, batch_size=4)
    return {"out": str(out), "spec": SPEC.to_dict(), "recipe": recipe.to_dict(), "device": "cpu", "keep": 0}


def examples() -> dict[str, NDArray[np.generic]]:
    """Twelve images to train on, four to test."""
    some = data.load("synthetic")
    labels = some.train_labels[:12] % SPEC.classes, some.test_labels[:4] % SPEC.classes
    arrays = (some.train_images[:12], labels[0], some.test_images[:4], labels[1])
    return dict(zip(("train_images", "train_labels", "test_images", "test_labels"), arrays, strict=True))


def test_a_run_in_a_worker_tells_of_every_step_as_it_goes(start: Start, tmp_path: Path) -> None:
    events: list[dict[str, Any]] = []
    with start() as worker:
        summary, _ = worker.call("train", examples(), on_event=events.append, **training(tmp_path))
    assert [event.get("step") for event in events] == [0, 1, 2, None]
    assert summary["test_accuracy"] == events[-1]["test_accuracy"]


def test_the_variables_of_a_worker_win(start: Start) -> None:
    start("raises").close()  # the variable stays
    with built(Worker(FAULTY, env="current", timeout=PATIENCE, variables={"VGG_FAULT": "none"})) as worker:
        assert worker.forward(IMAGES).shape == (3, 5)


@pytest.mark.parametrize(
    ("device", "wanted"), [("cpu", "CUDA_VISIBLE_DEVICES=-1"), ("auto", "XLA_PYTHON_CLIENT_PREALLOCATE=false")]
)
def test_a_worker_sees_no_gpu_or_shares_it(
    start: Start, monkeypatch: pytest.MonkeyPatch, device: str, wanted: str
) -> None:
    start("none").close()  # its modules stay on the path
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")  # as in a job of Slurm's
    with Worker(ORACLE, env="current", timeout=PATIENCE, device=device) as worker:
        worker.facts()
        assert wanted.encode() in Path(f"/proc/{worker._process.pid}/environ").read_bytes().split(b"\0")


def test_what_is_set_for_one_order_leaves_other_flags_of_xla(monkeypatch: pytest.MonkeyPatch) -> None:
    entry = Entry("jax", "jax", variables={"XLA_FLAGS": "--ours"})
    monkeypatch.delenv("XLA_FLAGS", raising=False)
    assert deterministic(entry.variables)["XLA_FLAGS"] == "--ours --xla_gpu_deterministic_ops=true"
    monkeypatch.setenv("XLA_FLAGS", "--theirs")
    assert deterministic(entry.variables)["XLA_FLAGS"] == "--ours --theirs --xla_gpu_deterministic_ops=true"


# Workers that misbehave

DEATHS = {
    "killed": r"^faulty: forward: its process was killed by SIGKILL, .* run out of memory$",
    "crashes": r"^faulty: forward: its process was killed by SIGSEGV$",
    "aborts": r"^faulty: forward: its process exited with status 3\n  \| driver: out of memory$",
    "forks": r"^faulty: forward: its process exited with status 4",
}
HANGS = {
    "hangs": r"^faulty: forward: no sign of life for 1 s; killed it\n  \| waiting for the device$",
    "garbles": r"^faulty: forward: sent something that is not a message \(bytes: got NoneType, wanted .*\); killed it$",
    "closes": r"^faulty: forward: closed its end of the pipe; killed it$",
}


@pytest.mark.parametrize("fault", DEATHS)
def test_a_death_is_reported_with_its_cause_and_leaves_nothing_behind(start: Start, fault: str) -> None:
    with built(start(fault)) as worker, pytest.raises(BackendError, match=DEATHS[fault]):
        worker.forward(IMAGES)
    assert ends(group(worker))


@pytest.mark.parametrize("fault", HANGS)
def test_a_worker_that_cannot_be_heard_is_killed(start: Start, fault: str) -> None:
    with built(start(fault)) as worker:
        worker.timeout = 1 if fault == "hangs" else 5
        with pytest.raises(BackendError, match=HANGS[fault]):
            worker.forward(IMAGES)
        assert not worker.alive
    assert ends(group(worker))


def test_a_dead_worker_says_so_again_when_asked_again(start: Start) -> None:
    with built(start("killed")) as worker:
        with pytest.raises(BackendError, match="forward: its process was killed by SIGKILL"):
            worker.forward(IMAGES)
        with pytest.raises(BackendError, match="dump: its process was killed by SIGKILL"):
            worker.dump()


def test_a_worker_that_died_between_two_jobs_is_reported_at_the_next(start: Start) -> None:
    with built(start()) as worker:
        os.kill(group(worker), signal.SIGKILL)
        assert ends(group(worker))
        with pytest.raises(BackendError, match="oracle: dump: its process was killed by SIGKILL"):
            worker.dump()


def test_a_dead_worker_need_not_be_closed(start: Start) -> None:
    worker = built(start("aborts"))
    with pytest.raises(BackendError, match="status 3"):
        worker.forward(IMAGES)
    assert worker._channel.log.closed
    worker.close()


@pytest.mark.parametrize(
    ("fault", "reason"), [("raises", "ValueError: no kernel for this shape"), ("exits", r"called sys\.exit\(7\)")]
)
def test_after_an_exception_in_a_job_the_worker_serves_the_next(start: Start, fault: str, reason: str) -> None:
    with built(start(fault)) as worker:
        with pytest.raises(BackendError, match=rf"^faulty: forward: {reason}$"):
            worker.forward(IMAGES)
        assert worker.dump().keys() == init(SPEC).keys()


def test_the_workers_traceback_is_chained_to_the_error(start: Start) -> None:
    with built(start("raises")) as worker, pytest.raises(BackendError) as caught:
        worker.forward(IMAGES)
    assert "faulty_backend.py" in str(caught.value.__cause__)


def test_a_vgg_error_in_a_job_comes_over_as_it_was_worded(start: Start) -> None:
    reason = r"^oracle: build: device: got gpu, wanted cpu or auto; the framework sees no CUDA device$"
    with start() as worker:
        worker.device = "gpu"
        with pytest.raises(BackendError, match=reason):
            worker.build(SPEC)


def test_auto_is_the_cpu_where_there_is_no_gpu(start: Start) -> None:
    with start() as worker:
        worker.device = "auto"
        assert worker.build(SPEC) == worker.place(Recipe()) == "cpu"


@pytest.mark.parametrize("backend", registry.own_names())
def test_a_gpu_build_is_taken_where_a_gpu_is_wanted_and_there_is_a_driver(
    backend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    locks = []
    for driver in (None, "/usr/bin/nvidia-smi"):
        monkeypatch.setattr("shutil.which", lambda _, found=driver: found)
        locks += [registry.find(backend).on(device).lock for device in ("cpu", "gpu", "auto")]
    names = [lock.name for lock in locks if lock]
    unasked = backend if backend == "mxnet" else f"{backend}-gpu"
    assert names == [*[f"{backend}.txt"] * 4, f"{backend}-gpu.txt", f"{unasked}.txt"]
    assert all(lock.is_file() for lock in locks if lock)


def test_a_precision_that_is_not_declared_is_refused_before_anything_is_trained(start: Start) -> None:
    reason = r"precision: got bf16 on cpu, wanted one of float64, float32, fp16$"
    with built(start()) as worker:
        with pytest.raises(BackendError, match=f"^oracle: place: {reason}"):
            worker.place(Recipe(precision="bf16"))
        with pytest.raises(BackendError, match=f"^oracle: learner: {reason}"):
            worker.learner(Recipe(precision="bf16"))


@pytest.mark.parametrize(
    ("dtype", "precision", "wanted"),
    [("float64", "float32", "float32"), ("float64", "fp16", "float32"), ("float32", "float64", "float64")],
)
def test_a_learner_has_a_model_of_its_recipes_dtype(start: Start, dtype: str, precision: str, wanted: str) -> None:
    reason = f"learner: model: got {dtype}, wanted {wanted}, which {precision} is learned in"
    with start() as worker:
        worker.build(SPEC, init(SPEC, dtype=dtype), dtype=dtype)
        with pytest.raises(BackendError, match=f"^oracle: {reason}$"):
            worker.learner(Recipe(precision=precision))


@pytest.mark.parametrize("job", ["forward", "trace", "loss_and_grads"])
def test_pixels_are_for_learners_alone(start: Start, job: str) -> None:
    reason = f"{job}: images: got uint8, wanted float32 or float64; give pixels to a learner"
    with built(start()) as worker, pytest.raises(BackendError, match=f"^oracle: {reason}$"):
        worker.call(job, {"x": IMAGES.astype(np.uint8), "y": LABELS}, train=False)


def test_a_module_that_cannot_be_imported_says_why(start: Start) -> None:
    reason = r"^faulty: facts: ImportError: libframework\.so: cannot open shared object file$"
    with start("import") as worker, pytest.raises(BackendError, match=reason):
        worker.facts()


def test_a_module_that_does_not_exist_is_named() -> None:
    lost = Worker(Entry("lost", "vgg_lost"), env="current")
    with lost, pytest.raises(BackendError, match=r"^lost: facts: ModuleNotFoundError: No module named 'vgg_lost'$"):
        lost.facts()


def test_a_module_that_lacks_functions_is_told_which(start: Start) -> None:
    reason = "^faulty: facts: faulty_backend: got no trace, learner, wanted the functions vgg_block, build, "
    with start("incomplete") as worker, pytest.raises(BackendError, match=reason):
        worker.facts()


def test_a_backend_that_prints_is_told_what(start: Start) -> None:
    reason = r"^faulty: forward: got 'progress .*'\.\.\. on standard output, wanted nothing; print on standard error"
    with built(start("prints")) as worker:
        with pytest.raises(BackendError, match=reason):
            worker.forward(IMAGES)
        assert worker.dump().keys() == init(SPEC).keys()


def test_what_is_printed_at_import_or_in_training_is_no_fault(start: Start, tmp_path: Path) -> None:
    with start("chatters") as worker:
        worker.facts()
        summary, _ = worker.call("train", examples(), **training(tmp_path))
    assert "test_accuracy" in summary


@pytest.mark.parametrize("fault", ["reads", "starts"])
def test_what_a_backend_does_to_the_standard_streams_does_not_disturb_the_jobs(start: Start, fault: str) -> None:
    with built(start(fault)) as worker:
        logits = worker.forward(IMAGES)
    np.testing.assert_array_equal(logits, oracle.forward(SPEC, init(SPEC), IMAGES).logits.astype(np.float32))


def test_a_process_that_a_backend_started_does_not_outlive_it(start: Start) -> None:
    with built(start("starts")) as worker:
        worker.forward(IMAGES)
        assert running(group(worker))
    assert ends(group(worker))


def test_values_that_are_not_finite_come_through(start: Start) -> None:
    with built(start("not finite")) as worker:
        assert np.isnan(worker.forward(IMAGES)).all()


def interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def test_the_first_interrupt_asks_training_to_stop(start: Start, tmp_path: Path) -> None:
    def once(event: dict[str, Any]) -> None:
        if event["number"] == 1:
            raise KeyboardInterrupt

    with start() as worker:
        summary, _ = worker.call("train", examples(), on_event=once, **training(tmp_path, epochs=1000))
    assert summary["stopped"][1] > 0
    assert ends(group(worker))


def test_the_second_interrupt_leaves_at_once_and_nothing_behind(start: Start, tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), start("never stops") as worker:
        worker.call("train", examples(), on_event=interrupt, **training(tmp_path))
    assert ends(group(worker))


def test_an_interrupt_in_another_job_leaves_at_once(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Worker, "_next", interrupt)
    with pytest.raises(KeyboardInterrupt), start() as worker:
        worker.facts()
    assert ends(group(worker))


PARENT = """
import sys
from vgg.process.client import Worker
from vgg.process.registry import Entry
with Worker(Entry("oracle", "vgg_oracle"), env="current") as worker:
    worker.facts()
    print(worker._process.pid, flush=True)
    sys.stdin.read()
"""


@pytest.mark.usefixtures("start")
def test_a_worker_whose_client_is_killed_ends_by_itself() -> None:
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, "-c", PARENT], stdin=pipe, stdout=pipe) as parent:
        assert parent.stdout
        pgid = int(parent.stdout.readline())
        assert running(pgid)
        parent.kill()
    assert ends(pgid)


def test_a_closed_worker_exits_by_itself(start: Start) -> None:
    with start() as worker:
        worker.facts()
    assert worker._process.returncode == 0


def test_a_worker_that_cannot_exit_by_itself_is_killed(start: Start) -> None:
    with start() as worker:
        os.kill(group(worker), signal.SIGSTOP)
    assert worker._process.returncode == -signal.SIGKILL


def test_closing_twice_is_harmless(start: Start) -> None:
    worker = start()
    worker.close()
    worker.close()
    assert not worker.alive


def test_a_closed_worker_refuses_a_job(start: Start) -> None:
    worker = start()
    worker.close()
    with pytest.raises(BackendError, match=r"^oracle: facts: "):
        worker.facts()


# The wire


def _arrays() -> dict[str, NDArray[np.generic]]:
    random = np.random.RandomState(1)
    some = random.standard_normal((3, 5, 2))
    dtypes = ("bool", "uint8", "int8", "int16", "int32", "int64", "uint64", "float16", "float32", "float64")
    return {
        **{dtype: (some * 50).astype(dtype) for dtype in dtypes},
        "zero axes": np.array(-0.0),
        "zero axes, int64": np.array(2**62 + 1),
        "empty": np.zeros((3, 0, 2), np.float32),
        "transposed": some.T,
        "strided": some[::2, ::-1],
        "broadcast": np.broadcast_to(np.float32(0.1), (4, 3)),
        "fortran": np.asfortranarray(some),
        "special": np.array([np.nan, np.inf, -np.inf, -0.0, 5e-324]),
    }


ARRAYS = _arrays()


def message(head: dict[str, Any], arrays: dict[str, NDArray[np.generic]] | None = None) -> bytes:
    stream = io.BytesIO()
    wire.send(stream, head, arrays)
    return stream.getvalue()


@pytest.mark.parametrize("name", ARRAYS)
def test_an_array_comes_through_bit_for_bit(name: str) -> None:
    wanted = ARRAYS[name]
    _, got = wire.receive(io.BytesIO(message({}, {"x": wanted})))
    assert (got["x"].shape, got["x"].dtype, got["x"].tobytes()) == (wanted.shape, wanted.dtype, wanted.tobytes())


def test_many_arrays_come_through_in_one_message() -> None:
    _, got = wire.receive(io.BytesIO(message({}, ARRAYS)))
    assert {name: array.tobytes() for name, array in got.items()} == {n: a.tobytes() for n, a in ARRAYS.items()}


def test_numbers_in_the_head_come_through_exactly() -> None:
    head = {"result": [0.1, 1e-320, float("inf"), 2**60 + 1, "block1.conv1 \N{MULTIPLICATION SIGN}\n", None]}
    assert wire.receive(io.BytesIO(message(head))) == (head, {})


def test_messages_follow_one_another() -> None:
    stream = io.BytesIO(message({"n": 1}, ARRAYS) + message({"n": 2}) + message({"n": 3}, ARRAYS))
    assert [wire.receive(stream)[0]["n"] for _ in range(3)] == [1, 2, 3]


def test_a_stream_that_ends_anywhere_in_a_message_is_at_its_end() -> None:
    whole = message({"n": 1}, {"x": ARRAYS["float32"]})
    for cut in range(len(whole)):
        with pytest.raises(EOFError):
            wire.receive(io.BytesIO(whole[:cut]))


# Where a backend is found


@pytest.mark.parametrize(("alias", "name"), registry.ALIASES.items())
def test_an_alias_is_answered_with_the_name(alias: str, name: str) -> None:
    with pytest.raises(VGGError, match=rf"^unknown backend '{alias}': did you mean {name}\?$"):
        registry.find(alias)


def test_a_misspelt_backend_is_answered_with_the_nearest() -> None:
    with pytest.raises(VGGError, match=r"^unknown backend 'tensrflow': did you mean tensorflow\?$"):
        registry.find("tensrflow")


def test_a_backend_like_no_other_is_answered_with_all_names() -> None:
    with pytest.raises(VGGError, match=r"^unknown backend 'xyz': choose from .*jax, mxnet.*, tensorflow, torch"):
        registry.find("xyz")


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The example plug-in, as far as its metadata go."""
    points = tomllib.loads((PLUGIN / "pyproject.toml").read_text())["project"]["entry-points"]
    text = "".join(f"[{group}]\n" + "".join(f"{k} = {v}\n" for k, v in of.items()) for group, of in points.items())
    info = tmp_path / "vgg_oracle-0.1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: vgg-oracle\nVersion: 0.1\n")
    (info / "entry_points.txt").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)


@pytest.mark.usefixtures("installed")
def test_an_installed_plug_in_is_found_by_its_entry_point() -> None:
    assert registry.find("oracle") == ORACLE


@pytest.mark.usefixtures("installed")
def test_plug_ins_are_named_after_the_own_backends() -> None:
    own = registry.own_names()
    assert registry.names()[: len(own)] == own
    assert "oracle" in registry.names()[len(own) :]


def test_a_folder_that_happens_to_have_a_frameworks_name_is_not_the_framework(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "no_framework").mkdir()
    monkeypatch.syspath_prepend(tmp_path)
    assert not Entry("lost", "vgg_lost", ("no_framework",)).importable()


# How it is started

LOST = Entry("lost", "vgg_lost", ("json", "no_such_framework"), Path("lost.txt"))


def test_the_current_interpreter_without_the_framework_is_refused_with_a_way_out() -> None:
    reason = r"^lost: .*python\S* has no .*no_such_framework; install it, or leave out --env current$"
    with pytest.raises(BackendError, match=reason):
        Worker(LOST, env="current")


@pytest.mark.parametrize("module", ["vgg_lost", "vgg_oracle"])
def test_a_plug_in_runs_in_the_current_interpreter(module: str) -> None:
    command, _ = environments.launch(Entry("plug-in", module), "auto", "/home")
    assert command == [sys.executable]


def test_the_current_interpreter_is_taken_if_it_has_the_framework() -> None:
    command, _ = environments.launch(Entry("json", "vgg_json", ("json",), Path("lock.txt")), "auto", "/home")
    assert command == [sys.executable]


@pytest.mark.usefixtures("start")
def test_the_current_interpreter_sees_this_package_first_and_the_users_path_after_it() -> None:
    _, environ = environments.launch(ORACLE, "current", "/home")
    assert environ["PYTHONPATH"].split(os.pathsep) == ["/home", str(PLUGIN), str(TESTS)]


def test_the_current_interpreter_is_left_as_it_is() -> None:
    fast = Entry("json", "vgg_json", ("json",), Path("lock.txt"), variables={"VGG_FAST": "ours"})
    assert "VGG_FAST" not in environments.launch(fast, "current", "/home")[1]


def test_a_worker_that_cannot_be_started_leaves_no_folder_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with pytest.raises(BackendError):
        Worker(LOST, env="current")
    assert not list(tmp_path.iterdir())


def test_a_closed_worker_leaves_no_folder_behind(start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with start():
        assert list(tmp_path.iterdir())
    assert not list(tmp_path.iterdir())


def test_a_worker_whose_client_has_died_meanwhile_does_not_wait_for_it(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "printed")  # nobody reads it
    command = [sys.executable, "-m", "vgg.worker", "vgg_oracle", str(tmp_path / "printed")]
    done = subprocess.run(command, stdin=subprocess.PIPE, capture_output=True, timeout=PATIENCE, check=False)
    assert (done.returncode, done.stderr) == (1, b"the client is gone\n")


class MuteError(Exception):
    """An error that fails when it is asked what it says."""

    def __str__(self) -> str:
        raise ValueError


def test_an_error_that_cannot_say_what_it_is_has_a_name() -> None:
    assert described(MuteError()) == "MuteError, whose message cannot be read"


@pytest.mark.parametrize(
    ("name", "value", "wanted"),
    [
        ("DECLARED", [1], "a dict of texts by name"),
        ("DECLARED", {"epsilon": 5}, "a dict of texts by name"),
        ("PRECISIONS", 5, "a dict of tuples of names by name"),
        ("PRECISIONS", {"cpu": None}, "a dict of tuples of names by name"),
        ("PRECISIONS", {"cpu": "float32"}, "a dict of tuples of names by name"),
        ("REPLICAS", "yes", "a dict of booleans by name"),
    ],
)
def test_a_table_of_another_type_is_refused_by_name(
    monkeypatch: pytest.MonkeyPatch, name: str, value: object, wanted: str
) -> None:
    monkeypatch.syspath_prepend(PLUGIN)
    module = importlib.import_module("vgg_oracle")
    monkeypatch.setattr(module, name, value, raising=False)
    with pytest.raises(VGGError, match=f"{name}: got .*, wanted {wanted}"):
        Session("vgg_oracle", lambda _: None)


def test_facts_that_are_no_dict_break_the_contract(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(PLUGIN)
    monkeypatch.setattr(importlib.import_module("vgg_oracle"), "facts", lambda: None)
    with pytest.raises(ContractError, match=r"facts\(\): got NoneType, wanted a dict"):
        Session("vgg_oracle", lambda _: None).facts({})
