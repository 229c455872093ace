"""Measurements against the budgets of the design: ``python -m tests.bench [--out DIR] [--short]``."""
