"""The oracle as a plug-in, and as a worker within this process, which is fast and does not hide where it fails."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Self

from vgg import Spec
from vgg.process import registry
from vgg.process.client import Array, Jobs
from vgg.process.registry import Entry
from vgg.process.wire import Arrays
from vgg.worker import Session

TESTS = Path(__file__).parents[1]
TINY = 'name = "tiny"\nblocks = [[1, 3]]\ninput_shape = [1, 8, 8]\nclasses = 10\nhead = {hidden = [], dropout = 0.0}\n'
TRAIN = ("--dataset", "digits", "--batch-size", "720", "--lr", "0.05", "--set", "momentum=0.9", "--set", "size=8")


def announce(folder: Path) -> None:
    """Make the plug-ins ``oracle`` and ``evil`` known to this process and to those that it starts."""
    info = folder / "vgg_plugins-0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: vgg-plugins\nVersion: 0\n")
    (info / "entry_points.txt").write_text("[vgg.backends]\noracle = vgg_oracle\nevil = vgg_oracle\n")
    paths = [str(folder), str(TESTS / "plugin_backend"), str(TESTS.parent)]
    sys.path[:0] = paths
    os.environ["PYTHONPATH"] = os.pathsep.join(paths)


class Inside(Jobs):
    """A worker of the oracle whose jobs are done by this process. Their exceptions are not translated."""

    def __init__(self, entry: Entry, **_: Any) -> None:
        self.entry = entry
        self.events: list[dict[str, Any]] = []
        self.on_event: Callable[[dict[str, Any]], None] | None = None
        self.session = Session(entry.module, self._emit)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Do nothing: there is no process to end."""

    def call(
        self,
        job: str,
        arrays: Mapping[str, Array] | None = None,
        *,
        on_event: Callable[[dict[str, Any]], None] | None = None,
        **arguments: Any,
    ) -> tuple[Any, Arrays]:
        self.on_event = on_event
        result, out = getattr(self.session, job)(dict(arrays or {}), **json.loads(json.dumps(arguments)))
        return json.loads(json.dumps(result)), out

    def _emit(self, event: dict[str, Any]) -> None:
        if self.on_event:
            self.on_event(json.loads(json.dumps(event)))


def spec() -> Spec:
    """Return the network that is trained."""
    return Spec.from_toml(TINY)


def entry() -> Entry:
    """Return the oracle's entry, once it is announced."""
    return registry.find("oracle")
