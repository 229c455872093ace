"""Relabelling: an alert's labels are rewritten before it is routed, as Prometheus' ``relabel_config`` says.

The same keys and the same meaning (prometheus ``model/relabel/relabel.go``): a missing label is the
empty string, a rule that does not match changes nothing, an empty result removes the label. What
would only be a mistake (an alert dropped by ``drop`` without a regex, a key that the action does not
read) is refused at load. Whatever the labels, :func:`apply` answers: values are cut at
``MAX_LABEL_VALUE`` characters, and no label is added to ``MAX_LABELS`` of them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

from pydantic import Field, model_validator

from router.kit.text import shorten
from router.model.wire_alerts import MAX_LABEL_VALUE, MAX_LABELS
from router.model.wire_alerts import MAX_NAME as MAX_LABEL_NAME
from router.rulebook.matchers import MatcherError, compiled_regex
from router.rulebook.problems import unknown_hint
from router.rulebook.schema import MAX_NAME, LabelName, Section, Text

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from router.rulebook.problems import Problems
    from router.rulebook.yaml_loader import Document, Path

    #: Changes the labels in place; False: the alert is dropped.
    Run = Callable[[dict[str, str]], bool]
    #: What each group of a regex took ("" where none), the whole first; None: no match.
    Groups = Callable[[str], Sequence[str] | None]

#: By feel: joined, they are as long as twenty values.
MAX_SOURCES: Final = 20
#: Label names that a rule remembers the answer for: alerts have the same few dozen again and again.
_NAMES: Final = 256
_EVERYTHING: Final = "(.*)"
_DEFAULTS: Final = {"source_labels": [], "separator": ";", "regex": _EVERYTHING, "replacement": "$1"}
#: Of each action: the keys that it reads, and those of them without which it says nothing.
_READS: Final = {
    "replace": ({"source_labels", "separator", "regex", "target_label", "replacement"}, ("target_label",)),
    "lowercase": ({"source_labels", "separator", "target_label"}, ("source_labels", "target_label")),
    "uppercase": ({"source_labels", "separator", "target_label"}, ("source_labels", "target_label")),
    "keepequal": ({"source_labels", "target_label"}, ("source_labels", "target_label")),
    "dropequal": ({"source_labels", "target_label"}, ("source_labels", "target_label")),
    "keep": ({"source_labels", "separator", "regex"}, ("source_labels", "regex")),
    "drop": ({"source_labels", "separator", "regex"}, ("source_labels", "regex")),
    "labelmap": ({"regex", "replacement"}, ()),
    "labeldrop": ({"regex"}, ("regex",)),
    "labelkeep": ({"regex"}, ("regex",)),
}
#: Prometheus reads these keys with nothing after them as the empty text.
_EMPTY_IS_TEXT: Final = ("regex", "replacement", "separator")


class RelabelModel(Section):
    """An item of ``relabel_configs:``."""

    source_labels: list[LabelName] = Field(default=[], max_length=MAX_SOURCES)
    separator: Text = ";"
    regex: str = _EVERYTHING
    target_label: str = Field(default="", max_length=MAX_NAME)
    replacement: Text = "$1"
    action: str = "replace"
    modulus: int | None = None

    @model_validator(mode="before")
    @classmethod
    def _empty_is_text(cls, data: Any) -> Any:
        """Read ``replacement:`` with nothing after it as "", where other sections take it as not there."""
        if not isinstance(data, dict):
            return data
        return {k: "" if v is None and k in _EMPTY_IS_TEXT else v for k, v in data.items()}


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule, compiled; the texts are as they were written."""

    action: str
    source_labels: tuple[str, ...]
    separator: str
    regex: str
    target_label: str
    replacement: str
    run: Run = field(repr=False, compare=False)


def apply(rules: Sequence[Rule], labels: Mapping[str, str]) -> dict[str, str] | None:
    """Return the labels after all rules, in order; None: the alert is dropped."""
    found = dict(labels)
    for rule in rules:
        if not rule.run(found):
            return None
    return found


def compiled(
    models: Sequence[RelabelModel], document: Document, path: Path, problems: Problems
) -> tuple[Rule, ...]:
    """Return the rules that can be used; what is wrong with the others goes to ``problems``."""
    found: list[Rule] = []
    for index, model in enumerate(models):
        wrong = _Wrong(document, (*path, index), problems)
        rule = _rule(model, wrong)
        if rule is not None and not wrong.any:
            found.append(rule)
    return tuple(found)


@dataclass(slots=True)
class _Wrong:
    """What is wrong with one item."""

    document: Document
    path: Path
    problems: Problems
    any: bool = False

    def add(self, key: str, message: str, hint: str) -> None:
        self.any = True
        self.problems.add(self.document, (*self.path, key), message, hint)


def _rule(model: RelabelModel, wrong: _Wrong) -> Rule | None:
    action = model.action.lower()  # as Prometheus
    if action == "hashmod":
        wrong.add("action", "hashmod is not supported", "remove it; it spreads scrape targets")
        return None
    if action not in _READS:
        wrong.add("action", f"no action is named {action[:60]!r}", unknown_hint(action, _READS))
        return None
    _check_keys(model, action, wrong)
    _check_target(model, action, wrong)
    try:
        regex = None if model.regex == _EVERYTHING else compiled_regex(model.regex, dot_nl=True)
    except MatcherError as exc:
        wrong.add("regex", str(exc), exc.hint)
        return None
    target = _template(model, "target_label", regex, wrong) if action == "replace" else _NOTHING
    fills = action in {"replace", "labelmap"}
    replacement = _template(model, "replacement", regex, wrong) if fills else _NOTHING
    return Rule(
        action=action,
        source_labels=tuple(model.source_labels),
        separator=model.separator,
        regex=model.regex,
        target_label=model.target_label,
        replacement=model.replacement,
        run=_run(model, action, regex, target, replacement),
    )


def _check_keys(model: RelabelModel, action: str, wrong: _Wrong) -> None:
    reads, needs = _READS[action]
    for key in sorted(model.model_fields_set - {"action"}):
        if key not in reads and (key not in _DEFAULTS or getattr(model, key) != _DEFAULTS[key]):
            read = ", ".join(sorted(reads))
            wrong.add(key, f"{action} does not read {key}", f"remove it; {action} reads {read}")
    for key in needs:
        # A regex has a default, but to these actions it says nothing, or to drop everything.
        if key not in model.model_fields_set or (key != "regex" and not getattr(model, key)):
            wrong.add(key, f"{action} needs {key}", f"add {key}:")


def _check_target(model: RelabelModel, action: str, wrong: _Wrong) -> None:
    if action != "replace" and "$" in model.target_label and "target_label" in _READS[action][0]:
        hint = "only replace fills in what a regex took"
        wrong.add("target_label", f"{action} takes target_label as it is, with the $", hint)
    if action == "labelmap" and not model.replacement:
        wrong.add("replacement", "the new name is empty", "write for example $1")


@dataclass(frozen=True, slots=True)
class _Template:
    """A text with groups in it: literals, and the groups' numbers; ``fixed``: all of it, if it has none."""

    parts: tuple[str | int, ...] = ()
    fixed: str | None = ""

    def filled(self, groups: Sequence[str]) -> str:
        """Return the text for a match; enough of it to see that it is too long, if it is."""
        if self.fixed is not None:
            return self.fixed
        out, room = [], MAX_LABEL_VALUE + 1
        for part in self.parts:
            text = part if isinstance(part, str) else groups[part]
            out.append(text[:room])
            room -= len(text)
            if room <= 0:
                break
        return "".join(out)


_NOTHING: Final = _Template()


def _template(model: RelabelModel, key: str, regex: Any, wrong: _Wrong) -> _Template:
    """Return a key's text, compiled; a group's name that the regex does not have is a problem.

    A number that it does not have is empty, as in Prometheus, where this is a way to remove a label.
    """
    count = 1 if regex is None else regex.groups
    names = {} if regex is None else {name.decode(): number for name, number in regex.groupindex.items()}
    parts: list[str | int] = []
    for part in _parts(getattr(model, key)):
        if isinstance(part, str):
            parts.append(part)
            continue
        (name,) = part
        number = names.get(name, _number(name))
        if number is None:
            wrong.add(key, f"the regex has no group named {name[:60]!r}", _group_hint(name, names))
        elif number <= count:
            parts.append(number)
    fixed = all(isinstance(part, str) for part in parts)
    return _Template(tuple(parts), "".join(map(str, parts)) if fixed else None)


def _group_hint(name: str, names: Collection[str]) -> str:
    rest = name.lstrip("0123456789")
    if rest and rest != name:
        return f"a name is as long as it can be; write ${{{name[: -len(rest)][:9]}}}{rest[:60]}"
    return unknown_hint(name, names) or "its groups have numbers: $1"


def _parts(text: str) -> list[str | tuple[str]]:
    """Return literal texts, and the names of groups as tuples; a name is as long as it can be."""
    out: list[str | tuple[str]] = []
    while text:
        before, sign, text = text.partition("$")
        out.append(before)
        if not sign:
            break
        braced = text.startswith("{")
        end = start = int(braced)
        while end < len(text) and (text[end] == "_" or text[end].isalpha() or text[end].isdecimal()):
            end += 1
        if text.startswith("$"):
            out.append("$")
            text = text[1:]
        elif end == start or (braced and not text.startswith("}", end)):
            out.append("$")  # malformed: it stands for itself
        else:
            out.append((text[start:end],))
            text = text[end + braced :]
    return [part for part in out if part]


def _number(name: str) -> int | None:
    """Return the group's number; one with a leading zero, or beyond what Go counts to, is a name."""
    if name.isascii() and name.isdecimal() and len(name) < 10 and (name == "0" or name[0] != "0"):
        return int(name)
    return None


def _groups(regex: Any) -> Groups:
    if regex is None:
        return lambda value: (value, value)
    fullmatch = regex.fullmatch

    def groups(value: str) -> Sequence[str] | None:
        match = fullmatch(value.encode("utf-8", "replace"))
        if match is None:
            return None
        return [(part or b"").decode("utf-8", "replace") for part in (match[0], *match.groups())]

    return groups


def _joined(model: RelabelModel) -> Callable[[dict[str, str]], str]:
    if len(model.source_labels) == 1:
        (name,) = model.source_labels
        return lambda labels: labels.get(name, "")
    names, separator = tuple(model.source_labels), model.separator
    return lambda labels: separator.join([labels.get(name, "") for name in names])


def _set(labels: dict[str, str], name: str, value: str) -> None:
    """Set the label; "" removes it. A name that is none is passed over."""
    if not value:
        labels.pop(name, None)
    elif 0 < len(name) <= MAX_LABEL_NAME and (len(labels) < MAX_LABELS or name in labels):
        labels[name] = value if len(value) <= MAX_LABEL_VALUE else shorten(value, MAX_LABEL_VALUE)


def _run(model: RelabelModel, action: str, regex: Any, target: _Template, replacement: _Template) -> Run:
    groups = _groups(regex)
    if action.startswith("label"):
        return _by_name(action, lru_cache(_NAMES)(groups), replacement)
    joined = _joined(model)
    if action == "replace":
        return _replace(joined, groups, target, replacement)
    if action in ("lowercase", "uppercase"):
        return _cased(joined, model.target_label, _lower if action == "lowercase" else _upper)
    stays = action.startswith("keep")
    if action in ("keep", "drop"):
        return lambda labels: (groups(joined(labels)) is not None) is stays
    name = model.target_label
    return lambda labels: (labels.get(name, "") == joined(labels)) is stays


def _replace(
    joined: Callable[[dict[str, str]], str], groups: Groups, target: _Template, replacement: _Template
) -> Run:
    def run(labels: dict[str, str]) -> bool:
        found = groups(joined(labels))
        if found is not None:
            _set(labels, target.filled(found), replacement.filled(found))
        return True

    return run


def _cased(joined: Callable[[dict[str, str]], str], name: str, change: Callable[[str], str]) -> Run:
    def run(labels: dict[str, str]) -> bool:
        _set(labels, name, change(joined(labels)))
        return True

    return run


def _by_name(action: str, groups: Groups, replacement: _Template) -> Run:
    def rename(labels: dict[str, str]) -> bool:
        for name, value in sorted(labels.items()):  # of two that get one name the last counts
            found = groups(name)
            if found is not None:
                _set(labels, replacement.filled(found), value)
        return True

    def thin(labels: dict[str, str]) -> bool:
        for name in list(labels):
            if (groups(name) is None) is keeps:
                del labels[name]
        return True

    keeps = action == "labelkeep"
    return rename if action == "labelmap" else thin


def _lower(text: str) -> str:
    """Return the text in lower case, each character for itself, as Go does: a label keeps its length."""
    if text.isascii():
        return text.lower()
    return "".join("i" if c == "\u0130" else c.lower() for c in text)  # the only one that becomes two


def _upper(text: str) -> str:
    if text.isascii():
        return text.upper()
    # where the capitals are two, as of ß, Unicode's simple mapping is the title's or the character itself
    return "".join(next((u for u in (c.upper(), c.title()) if len(u) == 1), c) for c in text)
