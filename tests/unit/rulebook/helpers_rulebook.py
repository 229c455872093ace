"""Small notifier kinds and a way to write a folder of rules, for the tests of this room."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from textwrap import dedent

from pydantic import BaseModel, ConfigDict

from router.model.destinations import Lane
from router.rulebook.book import Rulebook
from router.rulebook.load import load


class PagerOptions(BaseModel):
    model_config = ConfigDict(extra="forbid")
    routing_key_env: str
    client_url: str = ""


class ChatOptions(BaseModel):
    model_config = ConfigDict(extra="forbid")
    channel: str


class NoOptions(BaseModel):
    model_config = ConfigDict(extra="forbid")


@dataclass(frozen=True)
class Kind:
    kind: str
    lane: Lane
    options: type[BaseModel]
    tells_changes: bool = False


KINDS = {
    "pagerduty": Kind("pagerduty", Lane.PAGE, PagerOptions, tells_changes=True),
    "slack": Kind("slack", Lane.CHAT, ChatOptions),
    "log": Kind("log", Lane.CHAT, NoOptions, tells_changes=True),
}
#: The least that loads; a test adds its own sections to it.
LEAST = "route: {receiver: default}\nreceivers: [{name: default}]\n"


def write(folder: Path, **files: str) -> Path:
    """Write ``<name>.yaml`` for each file; return the folder, which is named rules."""
    rules = folder / "rules"
    rules.mkdir(exist_ok=True)
    for name, text in files.items():
        (rules / f"{name}.yaml").write_text(dedent(text), encoding="utf-8")
    return rules


def book(folder: Path, **files: str) -> Rulebook:
    """Write the files and load them."""
    return load(write(folder, **files), KINDS)
