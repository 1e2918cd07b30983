"""Workers that mean harm: whatever they send or print, only their own column is red."""

from __future__ import annotations

import io
import json
import math
import os
import re
import signal
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from safetensors.numpy import save

import vgg
from vgg import BackendError, Head, Spec, VGGError, init
from vgg.core.texts import printable, shortened
from vgg.process import client, output, registry, replies, schema, wire
from vgg.process.client import Worker
from vgg.process.output import Output
from vgg.process.registry import Entry
from vgg.report import terminal

EVIL = Entry("evil", "evil")
SPEC = Spec.from_blocks(((1, 4),), input_shape=(2, 6, 9), classes=5, head=Head((7,)))
TINY = Spec.from_blocks(((1, 4),), input_shape=(1, 8, 8), classes=10, head=Head((8,)), name="tiny")
Says = Callable[..., Worker]


def message(head: dict[str, Any], body: bytes = b"", **more: Any) -> bytes:
    return json.dumps({**head, "bytes": len(body), **more}).encode() + b"\n" + body


FACTS: dict[str, Any] = {
    "framework": "evil 1",
    "versions": {"evil": "1"},
    "devices": ["cpu"],
    "flags": {"threads": 2, "fast": True, "mode": None, "nested": {"a": [0.5]}},
    "gpus": 0,
    "level": "training",
    "dtypes": ["float64", "float32"],
    "declared": {},
    "precisions": {"cpu": ["float32"], "gpu": []},
    "python": "3.11",
    "replicas": 1,
}


def facts(**wrong: Any) -> bytes:
    return message({"result": {**FACTS, **wrong}})


@pytest.fixture
def says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Says:
    """Starts a worker that writes these bytes in place of answers, then waits for its end."""

    def started(text: bytes, script: str = "read job; cat {}; exec cat >&2", timeout: float = 30) -> Worker:
        path = tmp_path / "text"
        path.write_bytes(text)
        command = ["sh", "-c", script.format(path), "sh"]
        monkeypatch.setattr(client, "launch", lambda *_: (command, dict(os.environ)))
        return Worker(EVIL, timeout=timeout)

    return started


ENVELOPES = {
    "no result": (message({}), "message: Object missing required field `result`"),
    "other words": (message({"answer": 1}), "message: Object contains unknown field `answer`"),
    "two answers in one": (message({"result": 1, "error": "x"}), "message: Object contains unknown field `result`"),
    "an event in no training": (message({"event": {}}), "message: got an event, wanted a result or an error"),
    "an event that is a number": (message({"event": 5}), "message: Expected `object`, got `int` - at `$.event`"),
    "an error without traceback": (message({"error": "x", "refused": True}), "missing required field `traceback`"),
    "an error that is a number": (message({"error": 1, "refused": True, "traceback": ""}), "Expected `str`, got `int`"),
    "a refusal that is a text": (message({"error": "", "refused": "", "traceback": ""}), "Expected `bool`, got `str`"),
    "nothing": (b"\n", "JSONDecodeError"),
    "binary": (bytes(range(128, 256)) + b"\n", "UnicodeDecodeError"),
    "a text": (b"Traceback (most recent call last):\n", "JSONDecodeError"),
    "a number": (b"5\n", "head: got int, wanted a JSON object"),
    "null": (b"null\n", "head: got NoneType, wanted a JSON object"),
    "a list": (b"[]\n", "head: got list, wanted a JSON object"),
    "a deep list": (b"[" * 100_000 + b"\n", "RecursionError"),
    "a deep result": (message({"result": json.loads("[" * 50 + "]" * 50)}), "message: got more than 8 levels"),
    "a long number": (b'{"result": ' + b"9" * 5000 + b', "bytes": 0}\n', "ValueError"),
    "a large number": (message({"result": 1 << 63}), "message: got an integer of more than 64 bits"),
    "no length": (b'{"result": null}\n', "bytes: got NoneType, wanted a number of bytes"),
    "a length that is true": (message({"result": None}, bytes=True), "bytes: got bool, wanted a number of bytes"),
    "a length that is a text": (message({"result": None}, bytes="1"), "bytes: got str, wanted a number of bytes"),
    "a length with a point": (message({"result": None}, bytes=1.0), "bytes: got float, wanted a number of bytes"),
    "a negative length": (message({"result": None}, bytes=-1), "bytes: got -1, wanted a number of bytes"),
    "a giant length": (message({"result": None}, bytes=1 << 60), "arrays: got 1,152,921,504,606,846,976 bytes, wanted"),
    "a giant head": (b'{"' + b"x" * (wire.LONGEST + 1), "head: got more than 16,777,216 bytes"),
    "NaN in facts": (facts(flags={"x": math.nan}), "message: got nan, wanted finite numbers"),
}


@pytest.mark.parametrize("name", ENVELOPES)
def test_what_is_not_a_message_ends_its_worker_with_one_line(says: Says, name: str) -> None:
    text, reason = ENVELOPES[name]
    with says(text) as worker:
        with pytest.raises(BackendError) as caught:
            worker.facts()
        assert not worker.alive
    line = str(caught.value)
    assert line.startswith("evil: facts: sent something that is not a message (")
    assert line.endswith("; killed it")
    assert reason in line
    assert len(line) < 600
    assert "\n" not in line


WRONG_FACTS = {
    "null": (message({"result": None}), "result: Expected `object`, got `null`"),
    "a list": (message({"result": []}), "result: Expected `object`, got `array`"),
    "empty": (message({"result": {}}), "result: Object missing required field `framework`"),
    "framework=5": (facts(framework=5), "result: Expected `str`, got `int` - at `$.framework`"),
    "no name": (facts(framework=""), "result: Expected `str` of length >= 1 - at `$.framework`"),
    "versions": (facts(versions={"a": 1}), "Expected `str`, got `int` - at `$.versions[...]`"),
    "devices": (facts(devices="cpu"), "Expected `array`, got `str` - at `$.devices`"),
    "a device": (facts(devices=[{}]), "Expected `str`, got `object` - at `$.devices[0]`"),
    "flags": (facts(flags=[]), "Expected `object`, got `array` - at `$.flags`"),
    "gpus": (facts(gpus=-1), "Expected `int` >= 0 - at `$.gpus`"),
    "many gpus": (facts(gpus=10**9), "Expected `int` <= 1024 - at `$.gpus`"),
    "half a gpu": (facts(gpus=0.5), "Expected `int`, got `float` - at `$.gpus`"),
    "level": (facts(level="all"), "Invalid enum value 'all' - at `$.level`"),
    "dtypes": (facts(dtypes=["int8"]), "Invalid enum value 'int8' - at `$.dtypes[0]`"),
    "no dtypes": (facts(dtypes=[]), "Expected `array` of length >= 1 - at `$.dtypes`"),
    "declared": (facts(declared={"nan": ["swallowed"]}), "Expected `str`, got `array` - at `$.declared[...]`"),
    "precisions": (facts(precisions={"tpu": []}), "Invalid enum value 'tpu'"),
    "python": (facts(python=None), "Expected `str`, got `null` - at `$.python`"),
    "replicas": (facts(replicas=0), "Expected `int` >= 1 - at `$.replicas`"),
    "much": (facts(flags={str(i): "x" * 100 for i in range(2000)}), "result: got 2"),
    "arrays": (message({"result": FACTS}, b"x"), "arrays: got 1 bytes, wanted at most 0"),
}


@pytest.mark.parametrize("name", WRONG_FACTS)
def test_facts_of_a_wrong_type_are_refused_by_field(says: Says, name: str) -> None:
    text, reason = WRONG_FACTS[name]
    with says(text) as worker, pytest.raises(BackendError, match=rf"^evil: facts: .*{re.escape(reason)}"):
        worker.facts()


def test_facts_as_they_should_be_are_accepted(says: Says) -> None:
    with says(facts(more="of them")) as worker:
        assert worker.facts() == {**FACTS, "more": "of them"}


STEP = {"epoch": 0, "step": 0, "loss": 2.3, "lr": 0.1, "seconds": 0.5, "images": 4, "number": 1}
TEST = {"epoch": 0, "training_loss": 2.1, "test_loss": 2.3, "test_accuracy": 0.5, "epoch_seconds": None, "number": 3}
VALIDATION = {**TEST, "validation_loss": 2.3, "validation_accuracy": 0.5, "epoch_seconds": 1.5}


@pytest.mark.parametrize("event", [{}, STEP, TEST, VALIDATION])
def test_events_of_training_are_accepted(event: dict[str, Any]) -> None:
    assert replies.opened("train", {"event": event}) == schema.Event(event)


@pytest.mark.parametrize(
    "event",
    [
        5,
        [],
        {"loss": 1.0},
        {"round": 3},
        {**STEP, "loss": "1"},
        {**STEP, "loss": math.nan},
        {**STEP, "seconds": 0},
        {**STEP, "images": 0},
        {**STEP, "number": 1.5},
        {**STEP, "epoch": -1},
        {**TEST, "test_accuracy": 1.1},
        {**TEST, "test_loss": None},
        {**VALIDATION, "validation_accuracy": True},
    ],
)
def test_other_events_are_refused(event: Any) -> None:
    with pytest.raises(VGGError, match=r"^(message|event): "):
        replies.opened("train", {"event": event})


SUMMARY: dict[str, Any] = {
    "first_loss": 2.3,
    "last_loss": 1.2,
    "test_accuracy": 0.5,
    "images_per_second": 100.0,
    "epoch_seconds": None,
    "compile_seconds": 0.1,
    "peak_bytes": 1 << 30,
    "device": "cpu",
    "shares": {"other": 0.1},
    "seconds": 1.0,
}
LOGITS = {"logits": np.zeros((2, 5))}
ACCEPTED: list[tuple[str, Any, dict[str, NDArray[Any]]]] = [
    ("train", SUMMARY, {}),
    ("train", {"stopped": [1, 2], "seconds": 1.0}, {}),
    ("place", "gpu", {}),
    ("build", "cpu", {}),
    ("load", None, {}),
    ("dump", None, {"a": np.zeros(1)}),
    ("forward", None, LOGITS),
    ("trace", ["b", "a"], {"a": np.zeros(1), "b": np.zeros(1)}),
    ("loss_and_grads", math.nan, {"a": np.zeros(1)}),
    ("step", 1, {}),
    ("state", None, {"step": np.array(1)}),
    ("promise", "", {}),
    ("contend", {"OMP_NUM_THREADS": "2"}, {}),
    ("measure", {"seconds": 1.0, "peak_bytes": 1, "gpu_peak_bytes": 0}, {}),
    ("answers", None, {**LOGITS, "gradient/a": np.zeros(1)}),
    ("ceiling", {"flops": 1e9, "bytes": 1e9}, {}),
    ("load_seconds", 0.5, {}),
]
REFUSED: list[tuple[str, Any, dict[str, NDArray[Any]]]] = [
    *(("train", {k: v for k, v in SUMMARY.items() if k != name}, {}) for name in SUMMARY if name != "seconds"),
    *(("train", {**SUMMARY, name: "1"}, {}) for name in SUMMARY if name != "seconds"),
    ("train", {**SUMMARY, "images_per_second": 0}, {}),
    ("train", {**SUMMARY, "test_accuracy": -0.1}, {}),
    ("train", {**SUMMARY, "peak_bytes": -1}, {}),
    ("train", {**SUMMARY, "shares": {"other": None}}, {}),
    ("train", {"stopped": "yes"}, {}),
    ("train", {"stopped": [1]}, {}),
    ("train", {"stopped": [1, -2]}, {}),
    ("train", [], {}),
    ("train", SUMMARY, LOGITS),
    ("place", "tpu", {}),
    ("place", None, {}),
    ("build", 0, {}),
    ("build", ["cpu"], {}),
    ("load", 1, {}),
    ("load", None, {"a": np.zeros(1)}),
    ("select", {}, {}),
    ("forward", None, {}),
    ("forward", None, {"logit": np.zeros(1)}),
    ("forward", None, {**LOGITS, "more": np.zeros(1)}),
    ("forward", 1, LOGITS),
    ("evaluate", None, {}),
    ("trace", None, {}),
    ("trace", ["a"], {}),
    ("trace", ["a", "a"], {"a": np.zeros(1)}),
    ("trace", ["a"], {"a": np.zeros(1), "b": np.zeros(1)}),
    ("trace", [1], {"a": np.zeros(1)}),
    ("dump", None, {"a\x1b[31m": np.zeros(1)}),
    ("dump", None, {"a" * 201: np.zeros(1)}),
    ("dump", None, {"a": np.zeros(1, complex)}),
    ("dump", None, {"a": np.zeros(1, "V2")}),
    ("loss_and_grads", "1", {}),
    ("loss_and_grads", None, {}),
    ("step", None, {}),
    ("step", True, {}),
    ("step", [1.0], {}),
    ("promise", None, {}),
    ("promise", 1, {}),
    ("contend", {"OMP_NUM_THREADS": 2}, {}),
    ("contend", None, {}),
    ("measure", {"seconds": 0, "peak_bytes": 1, "gpu_peak_bytes": 0}, {}),
    ("measure", {"seconds": 1.0}, {}),
    ("measure", 1.0, {}),
    ("answers", None, {"gradient/a": np.zeros(1)}),
    ("ceiling", {"flops": -1.0, "bytes": 1.0}, {}),
    ("load_seconds", "1", {}),
]


@pytest.mark.parametrize(("job", "result", "arrays"), ACCEPTED)
def test_a_result_as_it_should_be_is_accepted(job: str, result: Any, arrays: dict[str, NDArray[Any]]) -> None:
    assert replies.opened(job, {"result": result}) == schema.Result(result) or result != result
    replies.check_result(job, result, arrays)


@pytest.mark.parametrize(("job", "result", "arrays"), REFUSED)
def test_a_result_of_another_type_is_refused(job: str, result: Any, arrays: dict[str, NDArray[Any]]) -> None:
    with pytest.raises(VGGError):
        replies.check_result(job, result, arrays)


def test_arrays_may_have_as_many_bytes_as_the_network_explains() -> None:
    limit = replies.Limit()
    assert limit.of("facts") == limit.of("train") == 0
    limit.widen(SPEC.to_dict(), {"x": np.zeros((3, 2, 6, 9))})
    params = init(SPEC)
    activations = 3 * (4 * 6 * 9 * 2 + 4 * 3 * 4 * 2 + 7 * 3 + 5) * 8
    assert sum(a.size for a in params.values()) * 8 < limit.of("dump") < 1 << 21
    assert activations < limit.of("trace")
    limit.widen({"blocks": "evil"}, {})
    assert limit.of("dump") < 1 << 21


@pytest.mark.parametrize("body", [b"\0" * 8, b"\xff" * 16, save({"a": np.zeros(3)})[:-8], b"x" * 100])
def test_arrays_that_are_none_end_their_worker(says: Says, body: bytes) -> None:
    with says(message({"result": None}, body)) as worker, pytest.raises(BackendError, match=r"not a message \(Safe"):
        worker.dump()


def test_a_message_that_nobody_awaits_ends_its_worker(says: Says) -> None:
    with says(facts() + facts()) as worker:
        worker.facts()
        assert _soon(lambda: not worker.alive)
        with pytest.raises(
            BackendError, match=r"^evil: dump: sent .* \(message: got one between two jobs, wanted none"
        ):
            worker.dump()


def test_a_flood_of_events_has_to_wait_and_does_not_delay_the_end(says: Says) -> None:
    with says(message({"event": {}}) * 10_000) as worker:
        assert worker._channel._inbox.maxsize < 100
        with pytest.raises(InterruptedError):
            worker.call("train", on_event=_refuse)
        start = time.monotonic()
    assert time.monotonic() - start < 30
    assert not worker._channel._reader.is_alive()


def _refuse(event: dict[str, Any]) -> None:
    raise InterruptedError


def _soon(holds: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + 120
    while not holds() and time.monotonic() < deadline:
        time.sleep(0.01)
    return holds()


# Any bytes, and any JSON

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=10,
)
HEADS = st.dictionaries(st.sampled_from(["result", "event", "error", "refused", "traceback"]), JSON, max_size=3)


@settings(deadline=None, derandomize=True)
@given(st.binary(max_size=200))
def test_any_bytes_are_a_message_or_an_error(text: bytes) -> None:
    with suppress(EOFError, VGGError, ValueError):
        wire.receive(io.BytesIO(text + b"\n"), lambda: 0)


@settings(deadline=None, derandomize=True, max_examples=300)
@given(st.sampled_from([*schema.RESULTS, "forward", "load"]), HEADS)
def test_any_json_is_accepted_as_it_is_or_refused_in_one_printable_line(job: str, head: dict[str, Any]) -> None:
    try:
        answer = replies.opened(job, head)
        if isinstance(answer, schema.Result):
            replies.check_result(job, answer.result, {})
        text = json.dumps(str(answer), ensure_ascii=False)
    except VGGError as error:
        text = str(error)
    assert text.isprintable()
    assert len(text) < 500


# Texts

SURROGATE, MARKUP, ESCAPE = "\ud800", "[/x][red]", "\x1b[2J\x07\u202e"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (SURROGATE, r"\ud800"),
        (MARKUP, MARKUP),
        (ESCAPE, r"\x1b[2J\x07\u202e"),
        ("a\r\nb\tc", "a\\r\nb\tc"),
        (
            "\N{MULTIPLICATION SIGN} \N{GREEK SMALL LETTER ALPHA}",
            "\N{MULTIPLICATION SIGN} \N{GREEK SMALL LETTER ALPHA}",
        ),
    ],
)
def test_an_errors_text_is_shown_without_what_a_terminal_would_obey(says: Says, text: str, shown: str) -> None:
    wrong = message({"error": text, "refused": False, "traceback": text})
    with says(wrong) as worker, pytest.raises(BackendError) as caught:
        worker.facts()
    assert str(caught.value) == f"evil: facts: {shown}"
    assert str(caught.value.__cause__) == f"in the worker\n{shown}"


def test_megabytes_of_an_error_are_cut(says: Says) -> None:
    text = "first " + "x" * 3_000_000 + " last"
    wrong = message({"error": text, "refused": False, "traceback": text})
    reason = r"^evil: facts: first x+ \[\.\.\. 2,998,011 characters \.\.\.\] x+ last$"
    with says(wrong) as worker, pytest.raises(BackendError, match=reason) as caught:
        worker.facts()
    assert len(str(caught.value)) < 2100
    assert len(str(caught.value.__cause__)) < 20_100


def test_of_many_lines_the_first_and_the_last_are_kept() -> None:
    assert shortened("\n".join(map(str, range(100))), lines=4) == "0\n1\n2\n[... 96 lines ...]\n99"
    assert shortened("short") == printable("short") == "short"


def test_texts_in_facts_are_shown_as_they_are(says: Says, capsys: pytest.CaptureFixture[str]) -> None:
    with says(facts(framework=SURROGATE + MARKUP + ESCAPE + "\n")) as worker:
        framework = worker.facts()["framework"]
    assert framework == r"\ud800[/x][red]\x1b[2J\x07\u202e\n"
    column = {"facts": {"framework": framework}, **SUMMARY, "ok": True, "reason": ""}
    column |= dict.fromkeys(("layers", "layers_agreeing", "parameters", "logits_error", "gradient_error"))
    terminal.comparison({"backends": {"[/b]": column, "evil": {"ok": False, "error": MARKUP}}})
    shown = "".join(capsys.readouterr())
    for text in (framework, "[/b]", f"evil failed: {MARKUP}"):
        assert text in shown


# What is printed


def test_what_is_printed_is_kept_in_part_and_on_no_disk(tmp_path: Path) -> None:
    with Output(tmp_path / "pipe") as printed:
        with (tmp_path / "pipe").open("wb") as pipe:
            pipe.write(b"first" + b"x" * 10_000_000 + b"last")
        text = printed.take()
        assert text.startswith("firstx")
        assert text.endswith("xlast")
        assert "\n[...]\n" in text
        assert len(text) < output.FIRST + output.LAST + 10
        assert printed.take() == ""
        assert (tmp_path / "pipe").stat().st_size == 0


def test_a_process_that_goes_on_printing_does_not_hinder_the_end(tmp_path: Path) -> None:
    printed = Output(tmp_path / "pipe")
    with (tmp_path / "pipe").open("wb"):
        printed.close()
        printed.close()
    assert printed.closed


MUCH = "head -c 50000000 /dev/zero | tr '\\0' y"
FLOOD = f'{MUCH} >&2; {MUCH} > "$4"; read job; cat {{}}; exec cat >&2'


def test_a_worker_that_prints_without_end_fills_no_disk(
    says: Says, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with says(facts(), FLOOD) as worker:
        assert worker.facts() == FACTS
        assert worker._channel.log._forgotten > 49_000_000
        assert sum(path.stat().st_size for path in tmp_path.glob("vgg-*/*") if not path.is_dir()) == 0
        worker._channel.kill()
        with pytest.raises(BackendError) as caught:
            worker.facts()
    assert "SIGKILL" in str(caught.value)
    assert len(str(caught.value)) < 1000


def test_a_grandchild_that_holds_every_pipe_does_not_hinder_the_end(says: Says, tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    script = f"setsid sh -c 'echo $$ > {pid}; exec sleep 100' & until [ -s {pid} ]; do :; done; echo gone >&2; exit 3"
    reason = r"^evil: facts: its process exited with status 3\n  \| gone$"
    with says(b"", script) as worker:
        assert _soon(lambda: not worker.alive)
        with pytest.raises(BackendError, match=reason):
            worker.facts()
    os.kill(int(pid.read_text()), signal.SIGKILL)


def test_a_process_that_cannot_be_started_is_that_backends_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "launch", lambda *_: ([sys.executable + "-none"], dict(os.environ)))
    with pytest.raises(BackendError, match=r"^evil: its worker cannot be started \(.*No such file or directory"):
        Worker(EVIL)


@pytest.mark.parametrize("what", ["os.mkfifo", "threading.Thread.start"])
def test_a_system_that_gives_no_more_is_that_backends_error(monkeypatch: pytest.MonkeyPatch, what: str) -> None:
    def refuse(*_: object) -> None:
        raise RuntimeError("can't start new thread") if "Thread" in what else OSError(28, "No space left on device")

    monkeypatch.setattr(client, "launch", lambda *_: (["sleep", "100"], dict(os.environ)))
    monkeypatch.setattr(what, refuse)
    with pytest.raises(BackendError, match=r"^evil: its worker cannot be started \("):
        Worker(EVIL)


# Side by side with an honest backend

HARMS = {
    "a number for a name": "facts: result: Expected `str`, got `int` - at `$.framework`",
    "junk in facts": "facts: result: Expected `object`, got `array` - at `$.versions`",
    "NaN in facts": "facts: sent something that is not a message (message: got nan, wanted finite numbers); killed it",
    "a set": "facts: TypeError: Object of type set is not JSON serializable",
    "no result": "message: Object missing required field `result`",
    "an event": "message: Expected `object`, got `int` - at `$.event`",
    "an evil error": r"train: ValueError: \ud800[/x]\x1b[2J\u202e",
    "killed": "train: its process was killed by SIGKILL, as systems do when they have run out of memory",
    "needs memory": "train: MemoryError: ",
    "prints": "train: its process was killed by SIGKILL",
    "junk in its files": "evaluation.json: got JSON of type list, wanted a JSON object",
}


def _compared(monkeypatch: pytest.MonkeyPatch, harm: str, out: Path) -> dict[str, Any]:
    tests = Path(__file__).parent
    entries = {"evil": Entry("evil", "hostile_backend"), "oracle": Entry("oracle", "vgg_oracle")}
    monkeypatch.setattr(registry, "_OWN", entries)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(map(str, (tests, tests / "plugin_backend"))))
    monkeypatch.setenv("VGG_HARM", harm)
    return vgg.compare(["evil", "oracle"], TINY, epochs=1, batch_size=500, out=out, progress=False).to_dict()


@pytest.mark.parametrize("harm", HARMS)
def test_a_backend_that_does_harm_is_red_and_the_other_is_not(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path, harm: str
) -> None:
    result = _compared(monkeypatch, harm, tmp_path / "both")
    error = result["backends"]["evil"]["error"]
    assert HARMS[harm] in error
    assert len(error) < 3000
    assert result["backends"]["oracle"]["ok"]
    assert not result["ok"]
    assert json.loads((tmp_path / "both" / "compare.json").read_text())["backends"]["evil"]["error"] == error
    assert "evil failed" in (tmp_path / "both" / "report.html").read_text()
    terminal.comparison(result)
    shown = "".join(capsys.readouterr())
    assert "evil failed" in shown
    assert not re.search(r"[\x00-\x09\x0b-\x1f\u202e\ud800]", shown)


def test_evil_texts_of_an_honest_net_are_shown_as_text(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    result = _compared(monkeypatch, "evil texts", tmp_path / "both")
    assert result["ok"]
    page = (tmp_path / "both" / "report.html").read_text()
    assert page.count("<script") == 1  # our own
    assert r"\ud800[/x]\x1b[2J\u202e\n&lt;script&gt;" in page
    terminal.comparison(result)
    shown = capsys.readouterr().out
    assert r"\ud800[/x]\x1b[2J\u202e\n<script>" in shown
    assert not re.search(r"[\x00-\x09\x0b-\x1f\u202e\ud800]", shown)


@pytest.mark.parametrize("harm", ["evil texts", "junk in its files"])
def test_a_run_alone_is_shown_or_refused_in_one_line(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, harm: str
) -> None:
    _compared(monkeypatch, harm, tmp_path / "both")
    train = partial(vgg.train, "evil", TINY, epochs=1, batch_size=500, out=tmp_path / "run", progress=False)
    if harm == "evil texts":
        assert train().report.read_text().count("<script") == 1  # our own
        return
    with pytest.raises(BackendError, match=r"evaluation.json: got JSON of type list, wanted a JSON object"):
        train()
