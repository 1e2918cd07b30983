"""The README's result table, from the ``compare.json`` of a real run.

``python -m vgg.report.markdown COMPARE_JSON README`` writes it between the two comment lines that name the JSON file.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..errors import VGGError
from ..params import write_atomically
from ..tables import ROWS


def table(result: Mapping[str, Any]) -> str:
    """A Markdown table, one column a backend, and the machine and date below it."""
    columns = result["backends"].values()
    lines = [["", *result["backends"]], ["---"] * (1 + len(columns))]
    lines += [[row, *(text(column).replace("\n", ", ") for column in columns)] for row, text in ROWS.items()]
    machine, plan = result["machine"], result["recipe"]
    epochs = f"{plan['epochs']} epoch{'s' * (plan['epochs'] > 1)}"
    note = (
        f"{plan['dataset']}, {epochs} of batch {plan['batch_size']} at {plan['size']} px; "
        f"{machine['cores']} cores of {machine['cpu']}, {result['date'][:10]}."
    )
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + f"\n\n{note}\n"


def replaced(text: str, name: str, fresh: str) -> str:
    """``text`` with what stands between the two comment lines of ``name`` replaced by ``fresh``."""
    start, end = f"<!-- {name} -->\n", f"<!-- end of {name} -->\n"
    if start not in text or end not in text:
        raise VGGError(f"no lines '{start.strip()}' and '{end.strip()}' in the document")
    before, _, rest = text.partition(start)
    return before + start + fresh + end + rest.partition(end)[2]


if __name__ == "__main__":
    source, document = map(Path, sys.argv[1:3])
    fresh = replaced(document.read_text(), source.name, table(json.loads(source.read_text())))
    write_atomically(document, fresh.encode())
