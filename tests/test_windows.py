"""On Windows, what needs no backend works, and every other command says in one line which systems it works on."""

from __future__ import annotations

import json
import subprocess
import sys

POSIX = ("fcntl", "resource", "pwd", "grp", "termios", "tty", "pty", "syslog")
WINDOWS = f"""
import contextlib, io, json, os, signal, sys
import rich.console, rich.progress, rich.table  # they look for a real Windows
for name in {POSIX}:
    sys.modules[name] = None
for name in ("sched_getaffinity", "killpg", "mkfifo", "fstatvfs", "getuid"):
    delattr(os, name)
del signal.SIGKILL, signal.SIGHUP
sys.platform = "win32"
import vgg
from vgg.cli import main

spec = vgg.Spec.from_toml(vgg.arch("vgg11", narrow=8, hidden=(6,)).to_toml())
vgg.save_params(sys.argv[1], vgg.init(spec), spec)
answers = {{"fc1": list(vgg.load_params(sys.argv[1])["fc1.bias"].shape)}}
for words in json.loads(sys.argv[2]):
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        status = main(words)
    answers[" ".join(words)] = [status, out.getvalue()[:40], err.getvalue()]
print(json.dumps(answers))
"""
WORKS = [["list", "--json"], ["list"], ["show", "vgg16"], ["show", "vgg11", "--json"]]
REFUSED = [
    ["check", "torch", "--json"],
    ["train", "torch", "vgg11"],
    ["train", "--resume", "x"],
    ["compare"],
    ["bench"],
    ["env"],
]


def test_windows_has_specs_and_list_and_show_and_the_rest_says_what_it_needs(tmp_path: object) -> None:
    command = [sys.executable, "-c", WINDOWS, f"{tmp_path}/weights.safetensors", json.dumps(WORKS + REFUSED)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    answers = json.loads(done.stdout)
    assert answers.pop("fc1") == [6]
    for words in WORKS:
        status, out, err = answers[" ".join(words)]
        assert (status, bool(out), err) == (0, True, "")
    for words in REFUSED:
        status, out, err = answers[" ".join(words)]
        assert (status, out) == (2, "")
        assert err.startswith(f"vgg: vgg {words[0]}: got Windows, wanted Linux or macOS; use WSL 2")
        assert len(err.splitlines()) == 1
