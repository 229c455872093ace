"""The table of paths in the docs is the application's."""

from __future__ import annotations

import re
from pathlib import Path

from router.web.api import Api
from router.web.server import Health, make_app
from router.web.webhooks import Webhooks

PAGE = Path(__file__).resolve().parents[3] / "docs" / "reference" / "http.md"


def test_documented_paths_are_the_applications() -> None:
    """Every path and method that is served is in docs/reference/http.md, and no other."""
    nothing: dict = {}
    app = make_app(
        Webhooks(nothing, nothing, None, None, None, 1),
        Api(None, None, None, [], open_=True),
        Health(None, None, lambda: ""),
        1,
    )
    served = {
        (re.sub(r"\{act:[^}]*\}", "{act}", route.resource.canonical), route.method)
        for route in app.router.routes()
        if route.method != "HEAD" and route.resource is not None
    }
    served = {(re.sub(r"\{(\w+):[^}]*\}", r"{\1}", path), method) for path, method in served}
    documented = set(re.findall(r"^\| `(/[^`]*)` \| (\w+) \|", PAGE.read_text("utf-8"), re.MULTILINE))
    assert documented == served
