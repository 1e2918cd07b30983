"""The process that reads hostile inputs: ``python -m fuzzing.child KIND SEED FIRST HOME``.

On standard output it names every input before it reads it, and then what was wrong, if anything was.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
from itertools import count
from pathlib import Path
from random import Random

from .base import Fuzzer
from .judge import judge
from .kinds import fuzzer

READY = -1


def main(kind: str, seed: str, first: str, place: str) -> None:
    """Read inputs from the index ``first`` on, until this process is ended."""
    with os.fdopen(os.dup(1), "w") as report:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        home = Path(place)
        (home / "tmp").mkdir(exist_ok=True)
        tempfile.tempdir = str(home / "tmp")
        os.environ |= {"TMPDIR": tempfile.tempdir, "HOME": place, "XDG_CACHE_HOME": f"{place}/cache"}
        os.chdir(home)
        fuzz = fuzzer(kind)(home)
        prove(fuzz, home / "input")
        print(json.dumps({"at": READY}), file=report, flush=True)
        for index in count(int(first)):
            print(json.dumps({"at": index}), file=report, flush=True)
            fault = judge(fuzz, Random(f"{seed}/{kind}/{index}"), home)
            if fault:
                print(json.dumps({"at": index, **fault}), file=report, flush=True)


def prove(fuzz: Fuzzer, folder: Path) -> None:
    """Let the program read a valid input, since all could be refused for a fault of the fuzzer. Raises what it does."""
    folder.mkdir()
    if fuzz.plain(folder):
        fuzz.read(folder)
    shutil.rmtree(folder)


if __name__ == "__main__":
    main(*sys.argv[1:])
