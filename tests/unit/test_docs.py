"""What the documentation names is there: commands, links, tests, settings, files, rooms."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from click import Group

import router
from router import settings
from router.__main__ import main

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted(
    p
    for pattern in ("*.md", "docs/**/*.md", "deploy/**/*.md", "tests/payloads/*.md")
    for p in ROOT.glob(pattern)
)
CODE = re.compile(r"```.*?\n(.*?)```|`([^`\n]+)`", re.DOTALL)
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")

each_page = pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))


def code(page: Path) -> list[str]:
    """Return every line of code of a page: from fences, and from spans in the text."""
    found = CODE.findall(page.read_text())
    return [line.strip() for fence, span in found for line in (fence or span).splitlines()]


def anchor(heading: str) -> str:
    """Return the anchor that code hosts make of a heading."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def test_there_are_pages() -> None:
    """The other tests look at what they should: the pages that everybody reads are among them."""
    names = {str(p.relative_to(ROOT)) for p in PAGES}
    assert {"README.md", "CHANGELOG.md", "docs/tutorial.md", "docs/adr/0001-rooms.md"} <= names


@each_page
def test_make_targets_exist(page: Path) -> None:
    """Each ``make x`` on a page is a target."""
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    used = {m[1] for line in code(page) if (m := re.match(r"make ([a-z][a-z-]*)", line))}
    assert used <= targets


@each_page
def test_commands_exist(page: Path) -> None:
    """Each ``router x`` on a page is a command of ours, with options that it has."""
    for line in code(page):
        match = re.match(r"(?:\.venv/bin/)?router ([a-z-]+)(.*)", line)
        if match is None:
            continue
        command = main.commands.get(match[1])
        assert command is not None, f"there is no router {match[1]}"
        if isinstance(command, Group) and (below := re.match(r" ([a-z-]+)", match[2])) is not None:
            command = command.commands.get(below[1])
            assert command is not None, f"there is no router {match[1]} {below[1]}"
        options = {o for p in command.params for o in p.opts}
        assert set(re.findall(r"(?<!\S)--?[a-z][a-z.-]*", match[2])) <= options, line


@each_page
def test_links_resolve(page: Path) -> None:
    """Each link into the repository leads to a file, and to a heading where it names one."""
    text = re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)
    for target in LINK.findall(text):
        if "://" in target:
            continue
        path, _, fragment = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        assert file.exists(), target
        assert file.is_relative_to(ROOT), target
        if fragment:
            headings = re.findall(r"^#+ (.+)$", file.read_text(), re.MULTILINE)
            assert fragment in {anchor(h) for h in headings}, target


@each_page
def test_tests_exist(page: Path) -> None:
    """Each test that a page names as witness exists, so that no promise outlives its test."""
    for path, name in re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", page.read_text()):
        assert re.search(rf"^(async )?def {name}\(", (ROOT / path).read_text(), re.MULTILINE), name


@each_page
def test_settings_exist(page: Path) -> None:
    """Each ROUTER_ variable on a page is a setting."""
    known = set(settings.variables())
    used = set(re.findall(r"\bROUTER_[A-Z_]+[A-Z]\b", page.read_text()))
    sources = {v for v in used if v.startswith("ROUTER_SOURCE_")}
    assert used - sources - {"ROUTER_TOKEN"} <= known  # ROUTER_TOKEN: a shell variable of an example


@each_page
def test_files_exist(page: Path) -> None:
    """Each of our files that a page names by its path, from the root or from the package, exists."""
    for span in code(page):
        if re.fullmatch(r"(\w[\w-]*/)+[\w.-]+\.(py|lua|yaml|md)", span):
            top = span.partition("/")[0]
            bases = [base for base in (ROOT, ROOT / "router") if (base / top).is_dir()]
            assert not bases or any((base / span).exists() for base in bases), span


def test_every_page_can_be_reached() -> None:
    """From the README, link by link, one comes to every page of docs/; a folder leads to its pages."""
    reached: set[Path] = set()
    waiting = [ROOT / "README.md"]
    while waiting:
        page = waiting.pop()
        if page in reached:
            continue
        reached.add(page)
        for target in LINK.findall(page.read_text()):
            file = (page.parent / target.partition("#")[0]).resolve()
            if file.is_dir():
                waiting += sorted(file.glob("*.md"))
            elif file.suffix == ".md" and file.exists():
                waiting.append(file)
    assert {p for p in PAGES if p.is_relative_to(ROOT / "docs")} <= reached


def test_the_map_names_every_room() -> None:
    """The rooms that ``router``'s docstring lists are the folders and modules of the package."""
    named = set(re.findall(r"^- ``([\w./]+)``", router.__doc__ or "", re.MULTILINE))
    package = ROOT / "router"
    folders = {f"{p.parent.name}/" for p in package.glob("*/__init__.py")}
    modules = {p.name for p in package.glob("*.py")} - {"__init__.py"}
    assert named == folders | modules


def test_the_changelog_tells_of_this_version() -> None:
    """The version that runs has its heading in the changelog."""
    changelog = (ROOT / "CHANGELOG.md").read_text()
    assert re.search(rf"^## {re.escape(router.__version__)}\b", changelog, re.MULTILINE)


def test_decisions_have_their_parts() -> None:
    """Each decision says its context, options, outcome and price, under its own number."""
    for page in sorted((ROOT / "docs/adr").glob("*.md")):
        text = page.read_text()
        assert re.match(rf"# {int(page.name[:4])}\. ", text), page.name
        headings = re.findall(r"^## (\w+)$", text, re.MULTILINE)
        assert headings == ["Context", "Options", "Outcome", "Price"], page.name
