"""A fleet and its days of webhooks, drawn from a seed, with the sealed truth of what caused what.

Independent of ``tests.eval.fleet`` and of how the product decides. :func:`generate` draws a scenario,
:func:`write` lays it into a folder, ``python -m tests.eval.second`` does both.
"""

from __future__ import annotations

from tests.eval.second.family import FAMILIES, Family
from tests.eval.second.scenario import Scenario, generate, write

__all__ = ["FAMILIES", "Family", "Scenario", "generate", "write"]
