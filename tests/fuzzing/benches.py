"""Results of ``vgg bench``, read by ``vgg bench --compare``."""

from __future__ import annotations

import json
from pathlib import Path

from vgg.timing import results

from .files import FileFuzzer

COMMITTED = Path(__file__).parents[2] / "benchmarks" / "results" / "bench-cpu.json"


class Fuzz(FileFuzzer):
    def __init__(self, home: Path) -> None:
        super().__init__(home)
        result = json.loads(COMMITTED.read_text())
        name = next(iter(result["workloads"]))
        workload = result["workloads"][name]
        backend = next(iter(workload["backends"]))
        workload["backends"] = {backend: workload["backends"][backend]}
        self.result = result | {"workloads": {name: workload}}
        self.valid = (json.dumps(self.result).encode(),)

    def read(self, folder: Path) -> None:
        old = results.read(self.path(folder))
        results.check_comparable(old, self.result)
        results.regressions(old, self.result)
