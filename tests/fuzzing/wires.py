"""What a worker sends, and what ``vgg compare`` makes of it: a process that repeats a recorded session, spoilt."""

from __future__ import annotations

import io
import json
import shlex
import sys
from pathlib import Path
from random import Random
from typing import Any

from vgg import VGGError

from . import mutations, oracle, weights
from .base import Fuzzer, command

JOB = ("--arch", "tiny.toml", *oracle.TRAIN, "--epochs", "1", "--env", "current")
EVENT = {"epoch": 0, "step": 0, "loss": 1.0, "lr": 0.1, "number": 1, "seconds": 0.1, "images": 8}
Message = tuple[bytes, bytes]
"""(line, arrays)."""
REPEATS = """\
import json, shutil, sys
asked, told = True, sys.stdout.buffer
for text in json.load(open({spoilt!r})):
    if asked:  # a worker speaks when it has a job
        head = json.loads(sys.stdin.buffer.readline() or '{{"bytes": 0}}')
        sys.stdin.buffer.read(head["bytes"])
        if head.get("job") == "train":
            shutil.copytree({files!r}, head["arguments"]["out"], dirs_exist_ok=True)
    told.write(text.encode("latin1"))
    told.flush()
    asked = not text.startswith('{{"event"')
while sys.stdin.buffer.read(1 << 16):
    pass
"""
"""A program that answers each job by the next of the messages, after the events before it. It trains by copying."""


class Fuzz(Fuzzer):
    """Python is replaced by a program that writes the messages that it is told to, whatever the jobs are."""

    def __init__(self, home: Path) -> None:
        super().__init__(home)
        oracle.announce(home / "plugins")
        (home / "tiny.toml").write_text(oracle.TINY)
        python, tape = shlex.quote(sys.executable), home / "tape"
        self._shell(f'{python} "$@" | tee {shlex.quote(str(tape))}')
        self._compare(home / "valid", 60)
        self.session = recorded(tape.read_bytes())
        (home / "repeats.py").write_text(
            REPEATS.format(spoilt=str(home / "spoilt"), files=str(home / "valid" / "evil"))
        )
        self._shell(f"exec {python} -I -S {shlex.quote(str(home / 'repeats.py'))}")

    def _shell(self, script: str) -> None:
        shell = self.home / "python"
        shell.write_text(f"#!/bin/sh\n{script}\n")
        shell.chmod(0o755)
        sys.executable = str(shell)

    def _compare(self, out: Path, timeout: int) -> None:
        job = [str(self.home / word) if word == "tiny.toml" else word for word in JOB]
        try:
            command("compare", "evil", *job, "--timeout", str(timeout), "--out", str(out))
        except VGGError as error:
            raise VGGError(str(error).rpartition("evil: failed\n")[2]) from error  # without the lines of progress

    def plain(self, folder: Path) -> bool:
        self.out = folder / "run"
        self._spoil(list(map(b"".join, self.session)))
        return True

    def make(self, random: Random, folder: Path) -> None:
        self.out = folder / "run"
        messages = list(self.session)
        place = random.choice((0, 1, 2, random.randrange(len(messages))))
        sound = map(b"".join, messages[:place])
        self._spoil([*sound, *self._spoilt(random, messages, place)])

    def _spoil(self, messages: list[bytes]) -> None:
        (self.home / "spoilt").write_text(json.dumps([message.decode("latin1") for message in messages]))

    def _spoilt(self, random: Random, messages: list[Message], place: int) -> list[bytes]:
        line, arrays = messages[place]
        rest = [b"".join(message) for message in messages[place + 1 :]]
        match random.randrange(8):
            case 0:
                return [mutations.bytewise(random, line + arrays), *rest]
            case 1:
                return [mutations.noise(random, b""), *rest]
            case 2:
                return rest
            case 3 if arrays:
                arrays = random.choice((weights.mutant, weights.recast))(random, arrays)
                return [_line({**json.loads(line), "bytes": len(arrays)}), arrays, *rest]
            case 4:
                other = random.choice(messages)
                return [b"".join(other), *rest]
            case 5:
                return [_line({"event": mutations.treewise(random, EVENT), "bytes": 0}), line + arrays, *rest]
        return [_line(mutations.treewise(random, json.loads(line))), arrays, *rest]

    def read(self, folder: Path) -> None:
        self._compare(self.out, 1)


def _line(head: Any) -> bytes:
    return mutations.to_json(head).replace(b"\n", b"") + b"\n"


def recorded(tape: bytes) -> list[Message]:
    """Return the messages of a session."""
    stream, messages = io.BytesIO(tape), list[Message]()
    while line := stream.readline():
        messages.append((line, stream.read(json.loads(line)["bytes"])))
    return messages
