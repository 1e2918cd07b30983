"""Runs snippets in the environment of a framework, each in a fork of one process that has imported the framework.

``python snippet_runner.py`` reads JSON from standard input: ``modules`` to import, and ``jobs``, pairs of a file and
the name of a function in it (empty: the file is run as a script). It prints JSON: for each job what it printed, and the
last line of its error if it failed; and the ``versions`` of the modules. It needs the standard library only.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import runpy
import sys
import tempfile
import traceback
from typing import IO


def run(path: str, function: str) -> dict[str, str]:
    """Return what a job printed (``output``) and the last line of its error (``error``, empty if there is none)."""
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
        child = os.fork()
        if not child:
            _child(path, function, output, errors)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        printed, said = (_read(file) for file in (output, errors))
    failure = (said.strip().splitlines() or [f"exit status {status}"])[-1] if status else ""
    return {"output": printed, "error": failure}


def _child(path: str, function: str, output: IO[bytes], errors: IO[bytes]) -> None:
    """Run the job in this process, which is a fork, and end it."""
    os.dup2(output.fileno(), 1)
    os.dup2(errors.fileno(), 2)
    status = 1
    try:
        names = runpy.run_path(path, run_name="snippet" if function else "__main__")
        if function:
            names[function]()
        status = 0
    except BaseException:  # noqa: BLE001 - whatever it is, it is the snippet's
        traceback.print_exc()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def _read(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read().decode("utf-8", "replace")


def main() -> None:
    """Run the jobs that standard input names."""
    request = json.load(sys.stdin)
    with contextlib.redirect_stdout(sys.stderr):
        for name in request["modules"]:
            importlib.import_module(name)
    results = [run(*job) for job in request["jobs"]]
    versions = {name: importlib.import_module(name).__version__ for name in request["modules"]}
    print(json.dumps({"results": results, "versions": versions}))


if __name__ == "__main__":
    main()
