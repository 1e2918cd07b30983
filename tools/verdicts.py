"""What the suite says of the student's backend in ``docs/snippets/mine``, as it is and with a wrong flatten order.

``python tools/verdicts.py`` writes ``verdict.txt`` and ``broken.txt`` beside it.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from vgg.core.errors import VGGError
from vgg.core.files import write_atomically

ROOT = Path(__file__).resolve().parent.parent
MINE = ROOT / "docs" / "snippets" / "mine"
FAULTS = {
    "verdict.txt": ("", ""),
    "broken.txt": ("x.reshape(len(x), -1)", "x.transpose(0, 2, 3, 1).reshape(len(x), -1)"),
}
"""File of a verdict -> a text of the backend, and the text that takes its place."""
_POINTS = "[vgg.backends]\nmine = my_vgg\n"
_VARYING = re.compile(r"^(?:time  |FAILED |=+ short test summary| *\d+ (?:passed|failed), ).*\n", re.MULTILINE)
"""Lines that differ from run to run."""
_LOQUACIOUS = ("CI", "BUILD_NUMBER")
"""Variables by which pytest's summary repeats whole messages."""


def verdict(old: str, new: str) -> str:
    """Return the lines of ``vgg check`` about the backend in which ``new`` takes the place of ``old``.

    Raises ``VGGError`` when the suite gives no verdict.
    """
    with tempfile.TemporaryDirectory(prefix="vgg-") as folder:
        info = Path(folder, "my_vgg-0.dist-info")
        info.mkdir()
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: my-vgg\nVersion: 0\n")
        (info / "entry_points.txt").write_text(_POINTS)
        code = (MINE / "my_vgg.py").read_text(encoding="utf-8")
        Path(folder, "my_vgg.py").write_text(code.replace(old, new) if old else code, encoding="utf-8")
        environ = {name: value for name, value in os.environ.items() if name not in _LOQUACIOUS}
        environ |= {"PYTHONPATH": os.pathsep.join((folder, str(ROOT))), "COLUMNS": "80"}
        command = [sys.executable, "-m", "vgg", "check", "mine", "--spec", "mine.toml", "--jobs", "1"]
        done = subprocess.run(command, env=environ, capture_output=True, text=True, check=False, cwd=MINE)
    if "judged 1 of 1" not in done.stdout:
        raise VGGError(f"no verdict: {done.stderr.strip() or done.stdout}")
    return _VARYING.sub("", done.stdout.partition("\n")[2])


if __name__ == "__main__":
    for name, fault in FAULTS.items():
        write_atomically(MINE / name, verdict(*fault).encode())
