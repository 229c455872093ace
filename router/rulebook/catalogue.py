"""From ``services:``, ``environments:``, ``severities:`` and ``receivers:`` to what the book holds.

Also the defaults for those who wrote none of them, so that an empty catalogue is
still useful.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from pydantic import ValidationError

from router.model.events import Severity
from router.rulebook import templates
from router.rulebook.book import Receiver, Service, Target
from router.rulebook.problems import unknown_hint
from router.rulebook.template_filters import TemplateError

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from router.rulebook.load import KindSpec
    from router.rulebook.problems import Problems
    from router.rulebook.schema import ReceiverModel, ServiceModel
    from router.rulebook.templates import Template
    from router.rulebook.yaml_loader import Document, Path

#: Replaced as a whole by ``environments:``.
ENVIRONMENTS: Final[Mapping[str, tuple[str, ...]]] = {
    "prod": ("production", "prd"),
    "staging": ("stage", "stg"),
    "qa": (),
    "test": ("testing",),
    "dev": ("development",),
}
#: Added to by ``severities:``. Words of Prometheus' mixins, PagerDuty and the usual others.
SEVERITIES: Final[Mapping[str, Severity]] = {
    **{severity.value: severity for severity in Severity},
    "page": Severity.CRITICAL,
    "fatal": Severity.CRITICAL,
    "emergency": Severity.CRITICAL,
    "high": Severity.ERROR,
    "major": Severity.ERROR,
    "warn": Severity.WARNING,
    "minor": Severity.WARNING,
    "low": Severity.INFO,
    "notice": Severity.INFO,
    "informational": Severity.INFO,
}
_SUFFIX: Final = "_configs"


def service(model: ServiceModel) -> Service:
    """Return the service as the book holds it."""
    return Service(
        name=model.name,
        team=model.team,
        tier=model.tier,
        dependencies=tuple(dict.fromkeys(model.dependencies)),
        gitlab_projects=tuple(model.gitlab_projects),
        argocd_applications=tuple(model.argocd_applications),
        argo_rollouts=tuple(model.argo_rollouts),
        receiver=model.receiver,
        dashboards=dict(model.dashboards),
        runbook=model.runbook,
        description=model.description,
    )


def check_dependencies(
    model: ServiceModel, document: Document, path: Path, known: Collection[str] | None, problems: Problems
) -> None:
    """Refuse unknown services and a service that depends on itself; longer cycles are allowed."""
    for index, name in enumerate(model.dependencies):
        here = (*path, "dependencies", index)
        if name == model.name:
            problems.add(document, here, "a service cannot depend on itself", "remove it")
        elif known is not None and name not in known:
            problems.add(document, here, f"no service is named {name[:60]!r}", unknown_hint(name, known))


class Claims:
    """Who claimed which project, application or rollout: each belongs to one service."""

    def __init__(self, problems: Problems) -> None:
        self._problems = problems
        self._owner: dict[tuple[str, str], str] = {}

    def add(self, model: ServiceModel, document: Document, path: Path) -> None:
        """Note the claims of one service; the second claim of a thing is refused."""
        claims = {
            "gitlab_projects": model.gitlab_projects,
            "argocd_applications": model.argocd_applications,
            "argo_rollouts": model.argo_rollouts,
        }
        for key, texts in claims.items():
            for index, text in enumerate(texts):
                owner = self._owner.setdefault((key, text.lower()), model.name)
                if owner != model.name or text in texts[:index]:
                    message = f"{text!r} is already claimed by the service {owner!r}"
                    self._problems.add(document, (*path, key, index), message, "leave it with one of them")


def environments(
    sections: Mapping[str, list[str] | None], document: Document, problems: Problems
) -> dict[str, str]:
    """Return every name in lower case -> the canonical one."""
    found = {name.lower(): name for name in sections}
    for name, aliases in sections.items():
        for index, alias in enumerate(aliases or ()):
            owner = found.setdefault(alias.lower(), name)
            if owner != name:
                path = ("environments", name, index)
                problems.add(
                    document, path, f"{alias!r} already means {owner!r}", "leave it with one of them"
                )
    return found


def default_environments() -> dict[str, str]:
    """Return what the usual names of environments mean."""
    return {alias: name for name, aliases in ENVIRONMENTS.items() for alias in (name, *aliases)}


def receiver(
    model: ReceiverModel, document: Document, path: Path, kinds: Mapping[str, KindSpec], problems: Problems
) -> Receiver:
    """Return the receiver with one target per entry under ``<kind>_configs``."""
    targets: list[Target] = []
    title = _template(model.title, document, (*path, "title"), problems)
    body = _template(model.body, document, (*path, "body"), problems)
    for key, entries in (model.model_extra or {}).items():
        here = (*path, key)
        kind = key.removesuffix(_SUFFIX)
        if not key.endswith(_SUFFIX) or kind not in kinds:
            known = ["name", "title", "body", *(f"{name}{_SUFFIX}" for name in kinds)]
            problems.add(document, here, f"unknown key {key[:60]!r}", unknown_hint(key, known))
        elif entries is not None and not isinstance(entries, list):
            problems.add(document, here, "this must be a list", "start each entry with -")
        else:
            found = (
                _target(
                    kinds[kind], f"{model.name}/{kind}/{index}", value, document, (*here, index), problems
                )
                for index, value in enumerate(entries or ())
            )
            targets.extend(replace(target, title=title, body=body) for target in found if target is not None)
    return Receiver(model.name, tuple(targets))


def _template(text: str, document: Document, path: Path, problems: Problems) -> Template | None:
    try:
        return templates.compiled(text) if text else None
    except TemplateError as exc:
        problems.add(document, path, str(exc), exc.hint)
        return None


def _target(
    spec: KindSpec, target_id: str, value: Any, document: Document, path: Path, problems: Problems
) -> Target | None:
    try:
        options = spec.options.model_validate({} if value is None else value)
    except ValidationError as exc:
        problems.add_invalid(document, path, exc, spec.options)
        return None
    return Target(target_id, spec.kind, spec.lane, options, spec.tells_changes)
