"""The tables of paths and of problem codes in the docs are the application's."""

from __future__ import annotations

import ast
import re
from pathlib import Path

from router.web import openapi
from router.web.api import Access, Api
from router.web.bodies import Limits
from router.web.deploys import Deploys
from router.web.incidents import Incidents
from router.web.letters import Letters
from router.web.reconciliation import Reconciliation
from router.web.rules import Rules
from router.web.server import Health, make_app
from router.web.silences import Silences
from router.web.webhooks import Ears, Webhooks

ROOT = Path(__file__).resolve().parents[3]
PAGE = ROOT / "docs" / "reference" / "http.md"


def test_documented_paths_are_the_applications() -> None:
    """Every path and method that is served is in docs/reference/http.md, and no other."""
    nothing: dict = {}
    parts = [
        Incidents(None, None, None, str),
        Letters(None, None, nothing, None),
        Rules(None, None, None, None),
        Silences(None, None, None, None),
        Reconciliation(None),
        Deploys(None, None, None, None),
    ]
    api = Api(None, None, parts, str, Access([], open=True))
    app = make_app(
        Webhooks(nothing, nothing, None, None, None, Limits(1), Ears(None, None)),
        api,
        Health(None, None, lambda: ""),
        1,
    )
    served = {
        (re.sub(r"\{act:[^}]*\}", "{act}", route.resource.canonical), route.method)
        for route in app.router.routes()
        if route.method != "HEAD" and route.resource is not None
    }
    served = {(path, "POST" if method == "*" else method) for path, method in served}
    served = {(re.sub(r"\{(\w+):[^}]*\}", r"{\1}", path), method) for path, method in served}
    rows = re.findall(r"^\| `(/[^`]*)` \| (\w+) \| ([0-9, ]+) \|", PAGE.read_text("utf-8"), re.MULTILINE)
    assert {row[:2] for row in rows} == served
    described = {
        (path, method.upper()): {int(status) for status in one["responses"]} - {500}
        for path, each in openapi.document(api.operations())["paths"].items()
        for method, one in each.items()
    }
    answers = {(path, method): {int(s) for s in statuses.split(",")} for path, method, statuses in rows}
    assert {key: answers[key] for key in described} == described


def test_documented_codes_are_the_codes() -> None:
    """Every problem code that web or a source can answer is in docs/reference/http.md, and no other."""
    given = set()
    for path in [
        *(ROOT / "router/web").glob("*.py"),
        *(ROOT / "router/sources").glob("*.py"),
        *(ROOT / "router/model").glob("*.py"),
    ]:
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Name)
                and node.func.id in {"Rejected", "problem"}
                and isinstance(node.args[0], ast.Constant)
                and isinstance(node.args[1], ast.Constant)
            ):
                given.add((str(node.args[0].value), node.args[1].value))
    rows = re.findall(r"^\| (\d{3}) \| (`[^|]+`) \|", PAGE.read_text("utf-8"), re.MULTILINE)
    documented = {(status, code) for status, codes in rows for code in re.findall(r"`(\w+)`", codes)}
    assert documented == given
