"""What is taken over of an Alertmanager's receivers: PagerDuty's and Slack's, without any secret.

A key that stands in the file becomes the name of an environment variable; which one, a note says. Templates
are Go's and cannot be taken over. What tells nobody here, a note says, too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from router.kit.text import web_url
from router.model.events import Severity
from router.rulebook.alertmanager_reading import Names, Reading, slug

if TYPE_CHECKING:
    from collections.abc import Mapping

    from router.rulebook.nodes import Node
    from router.rulebook.yaml_loader import Path

_LEVELS: Final = ("critical", "error", "warning", "info")
_SUFFIX: Final = "_configs"
#: Keys about which something else is said.
_SILENT: Final = frozenset({"send_resolved", "api_url", "api_url_file"})
_V1: Final = ("service_key", "service_key_file")
_TAKEN: Final = {
    "pagerduty": ("routing_key", "routing_key_file", *_V1, "client", "client_url", "severity"),
    "slack": ("channel",),
}


class Receivers:
    """The receivers of one file; ``names`` has what each is called here, ``environment`` what must be set."""

    def __init__(self, reading: Reading) -> None:
        self.reading = reading
        self.names = Names()
        self.environment: list[str] = []
        self._channels: list[str] = []

    def all(self, node: Node | None) -> list[dict[str, Any]]:
        """Return ``receivers:`` as our rules have it."""
        found = [self._one(item, ("receivers", index)) for index, item in enumerate(self._listed(node))]
        if self._channels and node is not None:
            rooms = ", ".join(dict.fromkeys(self._channels))
            hint = f"set ROUTER_SLACK_BOT_TOKEN and invite the bot to: {rooms}"
            self.reading.note(node, ("receivers",), "Slack is told by a bot, not by incoming webhooks", hint)
        return found

    def _listed(self, node: Node | None) -> tuple[Node, ...]:
        return self.reading.items(node, ("receivers",))

    def _one(self, node: Node, path: Path) -> dict[str, Any]:
        reading = self.reading
        keys = reading.keys(node, path, ())
        written = reading.text(keys.get("name"), (*path, "name"))
        if not written:
            reading.wrong(node, path, "the receiver has no name", "add name:")
        if written in self.names.given:
            reading.wrong(node, (*path, "name"), "two receivers have this name", "rename one of them")
        name = self.names.add(written)
        if written and name != written:
            reading.note(node, (*path, "name"), f"the name is written as {name!r}: ours hold no / and no |")
        found: dict[str, Any] = {"name": name}
        for key, value in keys.items():
            if key == "name":
                continue
            if not key.endswith(_SUFFIX):
                reading.wrong(value, (*path, key[:60]), f"unknown key {key[:60]!r}")
                continue
            made = self._configs(key.removesuffix(_SUFFIX), value, (*path, key), name)
            if made:
                found[key] = made
        reading.origin[f"receivers[{path[-1]}]"] = node.line
        if len(found) == 1 and len(keys) > 1:
            text = f"{name} tells nobody here; its incidents are still kept and shown"
            reading.note(node, path, text, "give it pagerduty_configs: or slack_configs:")
        return found

    def _configs(self, kind: str, node: Node, path: Path, name: str) -> list[dict[str, Any]]:
        items = self.reading.items(node, path)
        if kind not in _TAKEN:
            text = f"{len(items)} {kind[:40]} target(s) are not taken over: there is no such notifier here"
            self.reading.note(node, path, text)
            return []
        make = self._pagerduty if kind == "pagerduty" else self._slack
        found: list[dict[str, Any]] = []
        for index, item in enumerate(items):
            here = (*path, index)
            keys = self.reading.keys(item, here, ())
            made = make(item, keys, here, name)
            if made is not None:
                self._rest(kind, item, keys, here)
                found.append(made)
        return found

    def _rest(self, kind: str, node: Node, keys: Mapping[str, Node], path: Path) -> None:
        """Say what of one target has no place here."""
        if not self.reading.flag(keys.get("send_resolved"), (*path, "send_resolved"), default=True):
            text = "send_resolved: false is not taken over: the end of an incident is always told"
            self.reading.note(node, path, text)
        left = sorted(key[:60] for key in keys if key not in _SILENT and key not in _TAKEN[kind])
        if left:
            hint = "titles and bodies of our own are title: and body: of a receiver, in Jinja"
            self.reading.note(node, path, f"not taken over: {', '.join(left)}", hint)

    # --- PagerDuty --------------------------------------------------------------------------------

    def _pagerduty(
        self, node: Node, keys: Mapping[str, Node], path: Path, name: str
    ) -> dict[str, Any] | None:
        reading = self.reading
        found: dict[str, Any] = {}
        if "routing_key_file" in keys:
            place = reading.text(keys["routing_key_file"], (*path, "routing_key_file"))
            if not place.startswith("/"):
                text = "Alertmanager looks for the file beside its configuration, the router where it runs"
                reading.note(
                    keys["routing_key_file"], (*path, "routing_key_file"), text, "write the whole path"
                )
            found["routing_key_file"] = place
        else:
            found["routing_key_env"] = self._variable(name)
            old = any(key in keys for key in _V1)
            text = f"the key is not copied: set {found['routing_key_env']}"
            hint = "the old one is of Events API v1; make an integration of Events API v2" if old else ""
            reading.note(node, path, text, hint)
        for key in ("client", "client_url"):
            value = reading.text(keys.get(key), (*path, key))
            if "{{" in value:
                reading.note(keys[key], (*path, key), f"{key} is a template and not taken over")
            elif key == "client_url" and value and not web_url(value):
                text = "client_url is no link that is safe to show, and not taken over"
                reading.note(keys[key], (*path, key), text)
            elif value:
                found[key] = value
        level = reading.text(keys.get("severity"), (*path, "severity"))
        if level in _LEVELS:
            found["severity_map"] = {severity.value: level for severity in Severity}
        elif level:
            hint = "the incident's own severity is sent; severity_map of the target changes it"
            reading.note(keys["severity"], (*path, "severity"), "severity is a template", hint)
        return found

    def _variable(self, name: str) -> str:
        """Return the name of the variable that holds a receiver's key; each has its own."""
        word = slug(name).replace("-", "_").upper() or "RECEIVER"
        wanted, number = f"PAGERDUTY_{word}_ROUTING_KEY", 1
        found = wanted
        while found in self.environment:
            number += 1
            found = f"{wanted}_{number}"
        self.environment.append(found)
        return found

    # --- Slack ------------------------------------------------------------------------------------

    def _slack(self, node: Node, keys: Mapping[str, Node], path: Path, name: str) -> dict[str, Any] | None:
        channel = self.reading.text(keys.get("channel"), (*path, "channel"))
        if not channel or "{{" in channel:
            what = "names its channel by a template" if channel else "names no channel"
            hint = "add slack_configs: with a channel to this receiver"
            self.reading.note(node, path, f"{name}: the target {what} and is not taken over", hint)
            return None
        self._channels.append(channel[:80])
        return {"channel": channel}
