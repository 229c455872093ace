"""The report: one document for programs, one table for people, one page for docs/."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

from tests.eval import rules, scoring, yardstick
from tests.eval.cases import Case, Ranking, World
from tests.eval.scoring import Judge

_SHOWN = ("top1", "top3", "precision", "recall", "false_per_100_unrelated")
_HEAD = ("top-1", "top-3", "precision", "recall", "false per 100")


def build(worlds: Sequence[World], threshold: float) -> dict[str, Any]:
    """Return the whole report."""
    families: dict[str, list[World]] = {}
    for world in worlds:
        families.setdefault(world.family, []).append(world)
    learned = {w.name: _learned(w, families[w.family]) for w in worlds}
    return {
        "threshold": threshold,
        "scenarios": [{"path": w.name, "family": w.family, "incidents": len(w.cases)} for w in worlds],
        "families": {name: family(found, threshold, learned) for name, found in sorted(families.items())},
        "pooled": family(worlds, threshold, learned),
    }


def _learned(world: World, kin: Sequence[World]) -> Judge | None:
    """Return the yardstick for one scenario: trained on the others of its family."""
    others = [w for w in kin if w is not world]
    fitted = yardstick.fit(others) if others else None
    return fitted.judge() if fitted is not None else None


def family(worlds: Sequence[World], threshold: float, learned: Mapping[str, Judge | None]) -> dict[str, Any]:
    """Return all scores of some scenarios."""
    final = scoring.judged(worlds, scoring.product())
    by_world = {w.name: scoring.judged([w], scoring.product()) for w in worlds}
    later = {
        f"after_{n}_min": scoring.score(
            scoring.judged(worlds, scoring.product(timedelta(minutes=n))), threshold
        )
        for n in scoring.LATER
    }
    return {
        "scenarios": len(worlds),
        "final": scoring.score(final, threshold),
        **later,
        "calibration": scoring.calibration(final),
        "curve": scoring.curve(final),
        "bootstrap": scoring.bootstrap(by_world, threshold),
        "grouping": scoring.grouping(worlds),
        "latency": scoring.latency(worlds),
        "by_kind": _by_kind(final, threshold),
        "rules": {
            name: scoring.score(scoring.judged(worlds, rule), 0.5) for name, rule in rules.RULES.items()
        },
        "oracle": scoring.score(scoring.judged(worlds, rules.oracle), 0.5),
        "yardstick": _of_yardstick(worlds, learned),
    }


def _of_yardstick(worlds: Sequence[World], learned: Mapping[str, Judge | None]) -> dict[str, Any] | None:
    pairs: list[tuple[Case, Ranking]] = []
    for world in worlds:
        judge = learned[world.name]
        if judge is None:
            return None
        pairs += scoring.judged([world], judge)
    return scoring.score(pairs, 0.5) | {"brier": scoring.calibration(pairs)["brier"]}


def _by_kind(pairs: Sequence[tuple[Case, Ranking]], threshold: float) -> dict[str, Any]:
    """Return what was decided by kind of fault: how many incidents, how many suspected, how many rightly."""
    rows: dict[str, dict[str, int]] = {}
    for case, ranking in pairs:
        row = rows.setdefault(case.fault.kind or "unnamed", {"incidents": 0, "suspected": 0, "right": 0})
        row["incidents"] += 1
        if ranking and ranking[0][1] >= threshold:
            row["suspected"] += 1
            row["right"] += case.cause is not None and ranking[0][0] == case.cause.id
    return dict(sorted(rows.items()))


# --- for people -------------------------------------------------------------------------------------


def behind(one: Mapping[str, Any]) -> list[str]:
    """Return where a rule, or the yardstick, is ahead of the product in a family."""
    found, ours = [], one["final"]
    others = {**one["rules"], "the yardstick": one["yardstick"]}
    for name, theirs in others.items():
        if theirs is None:
            continue
        found += [
            f"{name} has {what} {theirs[what]:.3f} (ours {ours[what]:.3f})"
            for what in ("top1", "precision", "recall")
            if ours[what] is not None and theirs[what] is not None and theirs[what] > ours[what]
        ]
        what = "false_per_100_unrelated"
        if theirs["recall"] and theirs[what] is not None and theirs[what] < ours[what]:
            found.append(f"{name} has {theirs[what]:.1f} false per 100 (ours {ours[what]:.1f})")
    return found


def table(report: Mapping[str, Any]) -> str:
    """Return the table for a terminal."""
    rows = [f"{'family':<18}{'who':<36}{'n':>6}" + "".join(f"{h:>15}" for h in _HEAD)]
    for name, one in [*report["families"].items(), ("all", report["pooled"])]:
        n = one["final"]["incidents"]
        rows.append(_row(name, "Incident Router", n, one["final"]))
        rows.append(_row("", "  5 min after it opened", n, one["after_5_min"]))
        rows += [_row("", rule, n, found) for rule, found in one["rules"].items()]
        if one["yardstick"] is not None:
            rows.append(_row("", "yardstick (learned)", n, one["yardstick"]))
    return "\n".join(rows)


def _row(family_: str, who: str, n: int, found: Mapping[str, Any]) -> str:
    return f"{family_:<18}{who:<36}{n:>6}" + "".join(f"{_number(found[w], w):>15}" for w in _SHOWN)


def _number(value: float | None, what: str) -> str:
    if value is None:
        return "-"
    return f"{value:.2f}" if what == "false_per_100_unrelated" else f"{value:.3f}"


def markdown(report: Mapping[str, Any]) -> str:
    """Return the tables for docs/."""
    out: list[str] = []
    for name, one in [*report["families"].items(), ("all families", report["pooled"])]:
        final = one["final"]
        counts = (
            f"{one['scenarios']} scenarios, {final['incidents']} incidents: {final['change_caused']} caused "
            f"by a deploy ({final['observable']} by one that anybody told of), {final['unrelated']} not. "
            f"{final['candidates'] or 0:.1f} candidates each."
        )
        out += [
            f"### {name}", "", counts, "",
            "| | " + " | ".join(_HEAD) + " |", "|---|" + "---|" * len(_HEAD),
            _line("**Incident Router**", final, one["bootstrap"]),
            _line("5 min after it opened", one["after_5_min"], {}),
        ]  # fmt: skip
        out += [_line(rule, found, {}) for rule, found in one["rules"].items()]
        if one["yardstick"] is not None:
            out.append(_line("learned yardstick", one["yardstick"], {}))
        out += ["", *_more(one), ""]
    return "\n".join(out)


def _more(one: Mapping[str, Any]) -> list[str]:
    groups, late, brier = one["grouping"], one["latency"], one["calibration"]["brier"]
    words = [
        f"{groups['incidents_per_fault']:.2f} incidents for each fault,",
        f"{groups['faults_per_incident']:.2f} faults for each incident,",
        f"{groups['pages_per_fault_and_team']:.2f} pages for each fault and team.",
    ]
    if late["to_stable_p50_min"] is not None:
        words.append(
            f"The first suspect of the end stood after {late['to_stable_p50_min']:.1f} min (p50), "
            f"{late['to_stable_p95_min']:.1f} min (p95)."
        )
    if brier is not None:
        words.append(f"Brier score of the first suspect's probability: {brier:.3f}.")
    found = behind(one)
    words.append(f"Not ahead: {'; '.join(found)}." if found else "Ahead of every rule and of the yardstick.")
    return [" ".join(words)]


def _line(who: str, found: Mapping[str, Any], spread: Mapping[str, Any]) -> str:
    cells = []
    for what in _SHOWN:
        text = _number(found[what], what)
        if spread.get(what) and text != "-":
            text += " (" + " to ".join(_number(v, what) for v in spread[what]) + ")"
        cells.append(text)
    return f"| {who} | " + " | ".join(cells) + " |"
