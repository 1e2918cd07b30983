"""Makes the notebooks of the documentation from their sources, and runs them.

``python tools/notebooks.py [NAME...]`` reads ``docs/notebooks/vgg_NAME.py`` and writes the notebook with its outputs.
That of a framework runs in the environment that vgg builds for it, beside which a kernel of Jupyter is installed for
the time.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jupytext
import nbformat
from nbclient import NotebookClient
from uv import find_uv_bin

from vgg.core.files import write_atomically
from vgg.process import registry
from vgg.process.environments import launch

ROOT = Path(__file__).resolve().parent.parent
SOURCES = ROOT / "docs" / "notebooks"
NAMES = (*registry.own_names(), "compare")
"""Of the notebooks: one per framework, and one that compares them in the current interpreter."""
FIXED = {"CUDA_VISIBLE_DEVICES": "-1", "OMP_NUM_THREADS": "1", "TF_CPP_MIN_LOG_LEVEL": "3"}
"""Variables of every kernel: small networks gain nothing from more threads."""
TIMEOUT = 900
"""Seconds that a cell may take."""


def source(name: str) -> Path:
    """Return the path of a notebook's source."""
    return SOURCES / f"vgg_{name}.py"


def target(name: str) -> Path:
    """Return the path of a notebook."""
    return ROOT / "docs" / "notebook.ipynb" if name == "compare" else source(name).with_suffix(".ipynb")


def fingerprint(name: str) -> str:
    """Return sixteen characters that differ when the source or the framework's lock file does."""
    lock = None if name == "compare" else registry.find(name).lock
    parts = (source(name).read_bytes(), lock.read_bytes() if lock else b"")
    return hashlib.sha256(b"\0".join(parts)).hexdigest()[:16]


def unrun(name: str) -> Any:
    """Return a notebook without outputs."""
    notebook = jupytext.read(source(name))
    for i, cell in enumerate(notebook.cells):
        cell.id, cell.metadata = f"cell-{i}", {}
    about = {"display_name": "Python 3", "language": "python", "name": "python3"}
    notebook.metadata = {"kernelspec": about, "vgg": {"fingerprint": fingerprint(name)}}
    return notebook


def run(name: str) -> Any:
    """Return a notebook with its outputs. Raises ``nbclient.exceptions.CellExecutionError`` when a cell fails."""
    notebook = unrun(name)
    with tempfile.TemporaryDirectory(prefix="vgg-") as folder:
        place = Path(folder)
        (place / "home").mkdir()
        (place / "home" / "vgg").symlink_to(ROOT / "vgg")
        command, environ = _python(name, str(place / "home"))
        paths = [environ["PYTHONPATH"], _kernel(command[0], str(place / "kernel"))]
        spec = {
            "argv": [*command, "-m", "ipykernel_launcher", "-f", "{connection_file}"],
            "display_name": "Python 3",
            "language": "python",
            "env": _own(environ) | {"PYTHONPATH": os.pathsep.join(paths), **FIXED},
        }
        kernel = place / "kernels" / "notebook"
        kernel.mkdir(parents=True)
        (kernel / "kernel.json").write_text(json.dumps(spec))
        os.environ["JUPYTER_PATH"] = folder
        client = NotebookClient(
            notebook, timeout=TIMEOUT, kernel_name="notebook", coalesce_streams=True, record_timing=False
        )
        client.execute(cwd=folder)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs = [output for output in cell.outputs if output.get("name") != "stderr"]
    notebook.metadata.pop("language_info", None)
    return notebook


def _python(name: str, home: str) -> tuple[list[str], dict[str, str]]:
    if name == "compare":
        return [sys.executable], {**os.environ, "PYTHONPATH": home}
    return launch(registry.find(name), "auto", home)


def _own(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the variables that differ from those of this process, which a kernel inherits."""
    return {name: value for name, value in environ.items() if os.environ.get(name) != value}


def _kernel(python: str, folder: str) -> str:
    """Install Jupyter's kernel, which has no NumPy of its own, into ``folder``, and return that."""
    command = [os.fsdecode(find_uv_bin()), "pip", "install", "--quiet", "--python", python, "--target", folder]
    subprocess.run([*command, "ipykernel"], check=True)
    return folder


def text(notebook: Any) -> str:
    """Return a notebook as the text of its file."""
    return str(nbformat.writes(notebook)).rstrip("\n") + "\n"


if __name__ == "__main__":
    for each in sys.argv[1:] or NAMES:
        write_atomically(target(each), text(run(each)).encode())
        print(f"{each}: {target(each).relative_to(ROOT)}")
