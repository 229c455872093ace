"""Three plots: is 80 % sure right in 80 %; precision against recall; us beside the others, by family."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("Agg")
from matplotlib import pyplot as plt

_BARS = ("top1", "precision", "recall")


def draw(whole: dict[str, Any], out: Path) -> None:
    """Write reliability.png, precision_recall.png and families.png."""
    out.mkdir(parents=True, exist_ok=True)
    _reliability(whole, out / "reliability.png")
    _curve(whole, out / "precision_recall.png")
    _families(whole, out / "families.png")


def _save(figure: Any, file: Path) -> None:
    figure.tight_layout()
    figure.savefig(file, dpi=110, metadata={"Software": None})
    plt.close(figure)


def _reliability(whole: dict[str, Any], file: Path) -> None:
    rows = [r for r in whole["pooled"]["calibration"]["reliability"] if r["count"]]
    figure, axes = plt.subplots(figsize=(5, 4.6))
    axes.plot([0, 1], [0, 1], color="#999999", linestyle=":", label="perfect")
    axes.plot(
        [r["said"] for r in rows], [r["was"] for r in rows], marker="o", color="#1f5fa8", label="measured"
    )
    for r in rows:
        axes.annotate(
            str(r["count"]), (r["said"], r["was"]), textcoords="offset points", xytext=(6, -10), fontsize=8
        )
    axes.set(xlabel="probability that was shown", ylabel="share that was right", xlim=(0, 1), ylim=(0, 1.02))
    axes.set_title("Reliability of the first suspect (counts beside)", fontsize=10)
    axes.legend(loc="upper left", fontsize=8)
    _save(figure, file)


def _curve(whole: dict[str, Any], file: Path) -> None:
    figure, axes = plt.subplots(figsize=(5, 4.6))
    for name, one in [*whole["families"].items(), ("all", whole["pooled"])]:
        rows = [r for r in one["curve"] if r["precision"] is not None and r["recall"] is not None]
        if rows:
            width = 2.4 if name == "all" else 1.0
            axes.plot(
                [r["recall"] for r in rows], [r["precision"] for r in rows], label=name, linewidth=width
            )
    axes.set(xlabel="recall (observable)", ylabel="precision", xlim=(0, 1.02), ylim=(0, 1.02))
    axes.set_title("Decisions over the threshold, 0.05 to 0.95", fontsize=10)
    if axes.lines:
        axes.legend(loc="lower left", fontsize=8)
    _save(figure, file)


def _families(whole: dict[str, Any], file: Path) -> None:
    names = [n for n, one in whole["families"].items() if one["final"]["top1"] is not None]
    figure, grid = plt.subplots(len(_BARS), 1, figsize=(8, 7.5), sharex=True, squeeze=False)
    for axes, what in zip(grid[:, 0], _BARS, strict=True):
        who = ["Incident Router", *whole["pooled"]["rules"], "yardstick"]
        for n, label in enumerate(who):
            values = [_value(whole["families"][f], label, what) for f in names]
            places = [i + (n - len(who) / 2) * 0.11 for i in range(len(names))]
            color = "#1f5fa8" if not n else None
            axes.bar(places, values, width=0.1, label=label, color=color)
        axes.set_ylabel(what.replace("top1", "top-1"))
        axes.set_ylim(0, 1.05)
    grid[-1, 0].set_xticks(range(len(names)), names)
    grid[0, 0].legend(fontsize=7, ncols=4, loc="upper center", bbox_to_anchor=(0.5, 1.45))
    _save(figure, file)


def _value(one: dict[str, Any], label: str, what: str) -> float:
    found = one["final"] if label == "Incident Router" else one["rules"].get(label, one["yardstick"])
    return (found or {}).get(what) or 0.0
