from __future__ import annotations

from citizens import Check

CHECKS: dict[str, Check] = {check.__name__: check for check in ()}
