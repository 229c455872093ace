"""Compares what a test of rules expects with what there is, and says the difference in a few lines.

Called by :mod:`router.work.scenarios`. Pure, and knows nothing of how it came to be.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from router.decide import suspects
from router.model.incidents import State
from router.rulebook import durations, matchers

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from datetime import timedelta

    from router.model.incidents import Incident
    from router.rulebook.book import Rulebook
    from router.rulebook.scenarios import IncidentTest, PageTest, Part
    from router.rulebook.schema_tests import IncidentModel, RouteTestModel, SentModel
    from router.rulebook.yaml_loader import Path
    from router.work.rehearsal import Sent

#: Lines of a list, and characters of a value that are shown.
_SHOWN: Final = 20
_WIDE: Final = 200
_OVER: Final = "resolved"


# --- routes ---------------------------------------------------------------------------------------


def route(wanted: RouteTestModel, book: Rulebook) -> list[str]:
    """Return where an alert goes otherwise than expected; the group is that of the first route."""
    labels = book.relabelled(wanted.labels)
    routes = book.route(labels) if labels is not None else []
    what = f"an alert with {pairs(wanted.labels)}"
    receivers = [r.receiver for r in routes]
    found: list[str] = []
    if receivers != wanted.exp_receivers:
        dropped = " (relabel_configs drop it)" if labels is None else ""
        where = "".join(f"\n    {r.id} -> {r.receiver}" for r in routes)
        found.append(
            f"{what}: receivers\n  expected {_names(wanted.exp_receivers)}\n"
            f"  was      {_names(receivers)}{dropped}{where}"
        )
    if wanted.exp_group is not None:
        group = book.group_labels(routes[0], labels) if routes and labels is not None else {}
        if group != wanted.exp_group:
            found.append(f"{what}: group\n  expected {pairs(wanted.exp_group)}\n  was      {pairs(group)}")
    return found


# --- incidents ------------------------------------------------------------------------------------


def incidents(wanted: IncidentTest, heads: Sequence[Incident]) -> Iterator[tuple[Path, str]]:
    """Yield what is otherwise than expected: each open incident is expected once, resolved ones may be."""
    heads = [h for h in heads if h.state.open or h.state is State.RESOLVED]
    expected = wanted.incidents
    taken = _paired([[j for j, h in enumerate(heads) if _fits(p.model, h)] for p in expected])
    left = [j for j in range(len(heads)) if j not in taken.values()]
    for i, part in enumerate(expected):
        if i in taken:
            continue
        alike = [j for j in left if holds(heads[j], part.model.labels)]
        # Rather one that is as open as expected; a resolved one explains why none is.
        over = part.model.state == _OVER
        alike.sort(key=lambda j: heads[j].state.open is over)
        if alike:
            left.remove(alike[0])
            lines = differences(part.model, heads[alike[0]])
            yield part.path, "\n".join([f"incident {pairs(part.model.labels)}:", *lines])
        else:
            lines = listed([heads[j] for j in left])
            text = f"there is no incident with {pairs(part.model.labels)}; beside those expected there are:"
            yield part.path, "\n".join([text, *lines])
    if more := [heads[j] for j in left if heads[j].state.open]:
        yield wanted.path, "\n".join(["open, and not expected:", *listed(more)])


def holds(head: Incident, labels: Mapping[str, str]) -> bool:
    """Return whether these are among what an incident's alerts have in common, or its group's labels."""
    return all(head.labels.get(k) == v or head.group_labels.get(k) == v for k, v in labels.items())


def _fits(wanted: IncidentModel, head: Incident) -> bool:
    over = wanted.state == _OVER
    return head.state.open is not over and holds(head, wanted.labels) and not differences(wanted, head)


def _paired(candidates: Sequence[Sequence[int]]) -> dict[int, int]:
    """Return as many pairs as there can be, each candidate in one of them at most (Kuhn's algorithm)."""
    owner: dict[int, int] = {}

    def place(i: int, tried: set[int]) -> bool:
        for j in candidates[i]:
            if j not in tried:
                tried.add(j)
                if j not in owner or place(owner[j], tried):
                    owner[j] = i
                    return True
        return False

    for i in range(len(candidates)):
        place(i, set())
    return {i: j for j, i in owner.items()}


def differences(wanted: IncidentModel, head: Incident) -> list[str]:
    """Return a line for each key that is given and differs."""
    top = suspects.prime(head.suspects)
    told = [head.receiver, *head.also] if head.told_at is not None else []
    there: dict[str, tuple[Any, Any]] = {
        "state": (wanted.state or (None if head.state.open else "open"), str(head.state)),
        "severity": (wanted.severity, str(head.severity)),
        "firing": (wanted.firing, head.firing),
        "receivers": (wanted.receivers, told),
        "suspect": (wanted.suspect, f"{top.service} {top.version}" if top is not None else ""),
        "held_for": (wanted.held_for, head.hold.service if head.hold is not None else ""),
        "group": (wanted.group, head.group_labels),
    }
    lines = [
        f"  {key}: expected {_shown(want)}, was {_shown(was)}"
        for key, (want, was) in there.items()
        if want is not None and want != was
    ]
    if wanted.muted_by is not None and not _muted(wanted.muted_by, head):
        lines.append(
            f"  muted_by: expected {_shown(wanted.muted_by)}, was {_shown(', '.join(head.muted_by))}"
        )
    return lines


def _muted(wanted: str, head: Incident) -> bool:
    """Return whether a token is ``<kind>``, ``<kind>:<which>`` or that without what follows a bar."""
    if not wanted:
        return not head.muted_by
    return any(wanted in {t, t.partition("|")[0], t.partition(":")[0]} for t in head.muted_by)


def listed(heads: Sequence[Incident]) -> list[str]:
    """Return a line for each incident, some at most."""
    lines = [
        f"  {h.state} {h.severity}, {h.firing} firing, {h.receiver}: {pairs({**h.group_labels, **h.labels})}"
        for h in heads[:_SHOWN]
    ]
    if len(heads) > _SHOWN:
        lines.append(f"  and {len(heads) - _SHOWN} more")
    return lines or ["  none"]


# --- what was sent --------------------------------------------------------------------------------


def pages(wanted: PageTest, sent: Sequence[Sent], before: timedelta | None) -> Iterator[tuple[Path, str]]:
    """Yield what was sent otherwise than expected; ``sent`` is all since ``before`` (None: the start)."""
    kind, receiver = wanted.model.kind, wanted.model.receiver
    sent = [s for s in sent if kind in (None, s.kind) and receiver in (None, s.receiver)]
    since = f"since {durations.render(before)}" if before is not None else "since the start"
    count = wanted.model.exp_count
    if count is not None and count != len(sent):
        text = f"sent {since}: expected {count}, was {len(sent)}"
        yield wanted.path, "\n".join([text, *_told(sent)])
    if wanted.sent is None:
        return
    fits = [_sent(part.model, s) for part, s in zip(wanted.sent, sent, strict=False)]
    if len(sent) != len(wanted.sent) or not all(same for same, _ in fits):
        lines = [f"sent {since}: expected", *_expected(wanted.sent), "was", *_told(sent)]
        yield wanted.path, "\n".join(lines)
        return
    for part, (_, lines), s in zip(wanted.sent, fits, sent, strict=True):
        if lines:
            yield part.path, "\n".join([f"{s.receiver} {s.kind} {s.want}:", *lines])


def _sent(wanted: SentModel, sent: Sent) -> tuple[bool, list[str]]:
    """Return whether it is the delivery that was expected, and where its payload differs."""
    same = all(
        want in (None, was)
        for want, was in (
            (wanted.receiver, sent.receiver),
            (wanted.kind, sent.kind),
            (wanted.want, str(sent.want)),
        )
    )
    if wanted.payload is None or not same:
        return same, []
    if not sent.payload:
        return same, [f"  payload: {sent.kind} has none that could be compared"]
    return same, [f"  {line}" for line in compared(wanted.payload, sent.payload, "payload")]


def _expected(wanted: Sequence[Part[SentModel]]) -> list[str]:
    models = [part.model for part in wanted[:_SHOWN]]
    lines = [f"  {m.receiver or '*'} {m.kind or '*'} {m.want or '*'}" for m in models]
    if len(wanted) > _SHOWN:
        lines.append(f"  and {len(wanted) - _SHOWN} more")
    return lines or ["  nothing"]


def _told(sent: Sequence[Sent]) -> list[str]:
    lines = [f"  {s.receiver} {s.kind} {s.want} ({s.at:%Y-%m-%d %H:%M:%S})" for s in sent[:_SHOWN]]
    if len(sent) > _SHOWN:
        lines.append(f"  and {len(sent) - _SHOWN} more")
    return lines or ["  nothing"]


def compared(wanted: Any, there: Any, path: str) -> list[str]:
    """Return where ``wanted`` is not a part of what is there.

    Keys must be there and fit; each item of a list must fit one of the list that is there, in the same
    order; a text that begins with ``~`` is a regular expression that must be found.
    """
    if isinstance(wanted, dict) and isinstance(there, dict):
        lines: list[str] = []
        for key, below in wanted.items():
            here = f"{path}.{key}"
            lines += compared(below, there[key], here) if key in there else [f"{here}: is not there"]
        return lines
    if isinstance(wanted, list) and isinstance(there, list | tuple):
        return _in_order(wanted, there, path)
    if isinstance(wanted, str) and wanted.startswith("~") and isinstance(there, str):
        pattern = matchers.compiled_regex(wanted[1:], dot_nl=True)
        if pattern.search(there.encode("utf-8", "replace")) is not None:
            return []
    elif wanted == there and isinstance(wanted, bool) is isinstance(there, bool):  # 1 is not true
        return []
    return [f"{path}: expected {_shown(wanted)}, was {_shown(there)}"]


def _in_order(wanted: Sequence[Any], there: Sequence[Any], path: str) -> list[str]:
    if len(wanted) == len(there):  # nothing can be left out, so each difference can be named
        found = (compared(w, t, f"{path}[{i}]") for i, (w, t) in enumerate(zip(wanted, there, strict=True)))
        return [line for lines in found for line in lines]
    at = 0
    for index, item in enumerate(wanted):
        while at < len(there) and compared(item, there[at], ""):
            at += 1
        if at == len(there):
            return [f"{path}[{index}]: expected {_shown(item)}, and none of {_shown(list(there))} fits"]
        at += 1
    return []


# --- for people -----------------------------------------------------------------------------------


def pairs(labels: Mapping[str, str]) -> str:
    """Return labels as they are written in matchers."""
    text = ", ".join(f'{k}="{v}"' for k, v in labels.items())
    return text[:_WIDE] or "no labels"


def _names(names: Sequence[str]) -> str:
    return ", ".join(names) or "nobody"


def _shown(value: Any) -> str:
    text = value if isinstance(value, str) and value else json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= _WIDE else text[: _WIDE - 1] + "…"
