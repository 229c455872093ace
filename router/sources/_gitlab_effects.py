"""What a CI job with an environment did to it, told by its name, else by its stage.

Teams name such jobs as they like, and many jobs only sound like one of these: ``promote-docs``,
``rollback-test``, ``switch (dry-run)``. A switch that did not happen makes an innocent version a
suspect, so a name counts only where all of it is understood.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from router.model.events import DeployPhase

if TYPE_CHECKING:
    from collections.abc import Callable
    from collections.abc import Set as AbstractSet

#: Between the letters and digits of a name: ``switchTraffic`` is two words.
_CAMEL: Final = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_WORD: Final = re.compile(r"[^\W\d_]+|\d+").findall

#: How a name begins, its words joined by hyphens; the first match counts.
_BEGINNINGS: Final = tuple(
    (re.compile(pattern).match, phase)
    for pattern, phase in (
        (r"(roll-?back)(?:-|$)", DeployPhase.ROLLED_BACK),
        (r"(traffic-?switch|switch-?traffic|switch|promote)(?:-|$)", DeployPhase.SWITCHED),
        (r"(traffic)-(?=(?:to-)?(?:back|blue)(?:-|$))", DeployPhase.SWITCHED),
        (r"(clean-?up)(?:-|$)", DeployPhase.CLEANED_UP),
        (r"(deploy-?green)(?:-|$)", DeployPhase.GREEN_DEPLOYED),
        (r"(test-?green)(?:-|$)", DeployPhase.GREEN_TESTED),
    )
)


def _has(words: str) -> Callable[[str], re.Match[str] | None]:
    """Return a search for one of these words among words joined by hyphens."""
    return re.compile(rf"(?:^|-)(?:{words})(?:-|$)").search


_PRETENDS: Final = _has("dry-?run|plan")
_SMOKE: Final = _has("smoke")
_ROLLBACK: Final = _has("roll-?back")
_TESTS: Final = _has("tests?|testing|checks?|verify|verification|validate|validation|smoke|drill|rehearsal")
_UNDOES: Final = _has("revert|undo")

#: What may follow "switch" or "promote": where to, by common names; a job's own environment counts beside.
_WHERE: Final = frozenset({
    "green", "blue", "bluegreen", "back", "traffic",
    "to", "from", "into", "in", "on", "over", "for", "all", "the", "and", "v",
    "env", "environment", "region", "zone", "az", "dc", "cluster",
    "prod", "production", "prd", "live", "stage", "staging", "stg", "preprod", "pre", "non", "nonprod", "uat",
    "qa", "dev", "develop", "development", "int", "integration", "acceptance", "sandbox", "demo", "perf",
    "load",
})  # fmt: skip
#: ``eu``, ``west``, ``westeurope``, ``centralus``, and the letter of a zone.
_REGION: Final = re.compile(
    "(?:north|south|east|west|central)*"
    "(?:eu|us|uk|ap|af|ca|cn|de|fr|il|jp|me|mx|na|sa|au|"
    "asia|apac|emea|europe|america|africa|australia|india|japan)?"
    "(?:north|south|east|west|central)*|[a-f]"
).fullmatch
_FROM: Final = re.compile(r"(?:^|-)from-[^-]+")
_AIM: Final = re.compile(r"(?<![^-])(?:back(?!-end)|blue|green)(?![^-])").findall


def job_phase(name: str, stage: str, environment: str = "") -> DeployPhase | None:
    """Return what a job with an environment did to it, or None where neither name nor stage says.

    The stage counts only where the name is about none of these steps.
    """
    own, whole = _said(name), _said(stage)
    if _PRETENDS(own) or _PRETENDS(whole):
        return None
    places = frozenset(_said(environment).split("-"))
    known, phase = _phase(own, places)
    return phase if known else _by_stage(own, _phase(whole, places)[1])


def _said(text: str) -> str:
    """Return the words and numbers of a name in lower case, joined by hyphens."""
    return "-".join(_WORD(_CAMEL.sub("-", text).lower()))


def _phase(said: str, places: AbstractSet[str]) -> tuple[bool, DeployPhase | None]:
    """Return whether this is about one of the steps, and which was made; None: it only sounds like it."""
    for begins, phase in _BEGINNINGS:
        match = begins(said)
        if match is None:
            continue
        rest = said[match.end() :]
        if phase is DeployPhase.SWITCHED:
            return True, _switch(match[1], rest, places)
        only_tests = phase is DeployPhase.ROLLED_BACK and _TESTS(rest)
        about_rollback = phase is DeployPhase.GREEN_TESTED and _ROLLBACK(rest)
        return True, None if only_tests or about_rollback else phase
    if _SMOKE(said) and not _ROLLBACK(said):
        return True, DeployPhase.GREEN_TESTED
    return False, None


def _switch(verb: str, rest: str, places: AbstractSet[str]) -> DeployPhase | None:
    """Return which way traffic went, by all that is said after the verb; None where it was no traffic."""
    for word in rest.split("-") if rest else ():
        if not (word.isdigit() or word in _WHERE or word in places or _REGION(word)):
            return None
    if not _backwards(rest):
        return DeployPhase.SWITCHED
    return None if verb == "promote" else DeployPhase.ROLLED_BACK


def _backwards(said: str) -> bool:
    """True for ``back`` and for ``to blue``; of several colours the last counts, but for ``from blue``."""
    aims = _AIM(_FROM.sub("", said))
    return "back" in aims or aims[-1:] == ["blue"]


def _by_stage(own: str, phase: DeployPhase | None) -> DeployPhase | None:
    """Return what the stage says, unless the job's name makes it doubtful: ``test-rollback``."""
    if _ROLLBACK(own) and phase is not DeployPhase.ROLLED_BACK:
        return None
    if phase in {DeployPhase.SWITCHED, DeployPhase.ROLLED_BACK} and _TESTS(own):
        return None
    if phase is DeployPhase.SWITCHED and (_backwards(own) or _UNDOES(own)):
        return None
    return phase
