"""To which of the steps build, test, security, quality and package a CI job belongs, and how it went.

Told by its name and its stage: teams name both as they like.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

FAILED_ALLOWED: Final = "failed (allowed)"
#: Worst first. A failure that the pipeline allows is not one, but it is not a success either.
_VERDICTS: Final = ("failed", "canceled", FAILED_ALLOWED, "success", "skipped", "manual")

#: Between the letters and digits of a name: ``unitTests`` is two words.
_CAMEL: Final = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")


def _words(*patterns: str) -> Callable[[str], re.Match[str] | None]:
    """Return a search for one of these whole words; a blank stands for any separator, or none."""
    either = "|".join(patterns).replace(" ", r"[-_ .:/]?")
    return re.compile(rf"(?<![a-z])(?:{either})(?![a-z])").search


#: Tools and jobs whose name says it all: GitLab's own scanners run in the stage ``test``.
_TOOLS: Final = (
    (
        "security",
        _words(
            "sast", "dast", "iast", "secrets? (?:detection|scan(?:s|ning)?)", "gitleaks", "trufflehog",
            "dependency (?:scan(?:s|ning)?|check|audit)", "gemnasium", "(?:container|image) scan(?:s|ning)?",
            "trivy", "grype", "snyk", "semgrep", "bandit", "gosec", "brakeman", "kics", "checkov", "tfsec",
            "govulncheck", "(?:npm|yarn|pnpm|pip|bundler?|cargo|composer) audit",
            "licen[cs]e scan(?:s|ning)?", "(?:api |coverage )?fuzz(?:ing)?",
        ),
    ),
    (
        "quality",
        _words(
            "code quality", "quality gate", "sonar(?:qube|cloud)?", "[a-z]*lint(?:s|ers?|ing)?", "flake8",
            "ruff", "rubocop", "checkstyle", "spotbugs", "pmd", "phpstan", "phpcs", "mypy", "pyright",
            "type check(?:s|ing)?", "prettier", "isort", "code climate", "check format(?:ting)?",
            "format(?:ting)? check",
        ),
    ),
    (
        "package",
        _words(
            "docker (?:build|push|publish|image|release)s?", "kaniko", "buildah", "buildx", "buildpacks?",
            "(?:build|push|publish) docker", "(?:push|publish) (?:container|oci|image)s?",
            "helm (?:package|push|publish|chart)",
        ),
    ),
)  # fmt: skip
#: What a stage says, and a name where the stage says nothing.
_GENERAL: Final = (
    ("security", _words("security", "secure", "scan(?:s|ning|ners?)?", "vulnerabilit(?:y|ies)", "audit")),
    ("quality", _words("quality", "static analysis", "analysis", "analy[sz]e", "code style", "style")),
    (
        "test",
        _words(
            "tests?", "testing", "units?", "integration", "e2e", "end to end", "acceptance", "functional",
            "regression", "coverage", "rspec", "pytest", "jest", "vitest", "mocha", "karma", "junit",
            "phpunit", "cypress", "playwright",
        ),
    ),
    (
        "package",
        _words(
            "packag(?:e|es|ing)", "publish(?:ing)?", "releases?", "push", "docker", "images?", "containers?",
            "containeri[sz]e", "artifacts?",
        ),
    ),
    ("build", _words("builds?", "building", "compil(?:e|es|ing|ation)", "assemble", "bundle")),
)  # fmt: skip
#: Deploying is told by environments, not by a step.
_DEPLOYS: Final = _words(
    "deploy(?:s|ing|ments?)?", "roll (?:back|out)", "promote", "switch", "clean up", "destroy", "tear down",
    "review", "smoke",
)  # fmt: skip


def step(name: str, stage: str) -> str:
    """Return the step that a job belongs to: build, test, security, quality or package; "" for none.

    The name of a scanner or a tool counts first, then the stage, then the name.
    """
    name, stage = (_CAMEL.sub("-", text).lower() for text in (name, stage))
    found = _first(_TOOLS, name) or _first(_TOOLS, stage)
    if not found and not _DEPLOYS(stage):
        found = _first(_GENERAL, stage)
        if not found and not _DEPLOYS(name):
            found = _first(_GENERAL, name)
    return found


def _first(table: Iterable[tuple[str, Callable[[str], re.Match[str] | None]]], text: str) -> str:
    return next((word for word, search in table if search(text)), "")


def verdict(status: str, *, allow_failure: bool) -> str:
    """Return how a job ended, in GitLab's word; "" where it has not."""
    if status == "failed" and allow_failure:
        return FAILED_ALLOWED
    return status if status in _VERDICTS else ""


def worse(one: str, other: str) -> str:
    """Return the worse of two verdicts; "" is none."""
    return min((v for v in (one, other) if v), key=_VERDICTS.index, default="")
