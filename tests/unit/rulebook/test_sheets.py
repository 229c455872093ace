"""Sorting what stands in the files: lists are joined, other sections stand once, names are kept."""

from __future__ import annotations

from textwrap import dedent

import pytest

from router.rulebook import yaml_loader
from router.rulebook.problems import Problems
from router.rulebook.sheets import KEYS, LISTED, ONCE, Sheets, gather

#: One item of each list; its name is put in.
ITEMS = {
    "services": "{name: %s}",
    "receivers": "{name: %s}",
    "sources": "{name: %s, starts_at: '{at}', labels: {a: b}}",
    "senders": "{source: %s}",
    "people": "{name: %s, slack: U0ANA, pagerduty: ana@example.com}",
    "time_intervals": "{name: %s}",
    "inhibit_rules": "{name: %s, source_matchers: [a=b], target_matchers: [c=d]}",
    "maintenance_windows": "{name: %s, matchers: [a=b]}",
    "deploy_holds": "{name: %s}",
}
#: What each section that stands once may hold.
SECTIONS = {
    "route": "{receiver: d}",
    "labels": "{service: [a]}",
    "attribution": "{window: 1h}",
    "flapping": "{flips: 4}",
    "reconcile": "{after: 5m}",
    "environments": "{prod: [live]}",
    "severities": "{P1: critical}",
    "relabel_configs": "[{source_labels: [a], target_label: b}]",
}


def gathered(*texts: str) -> tuple[Sheets, Problems]:
    """Return what is found in files a, b, c, and the problems."""
    documents = []
    for name, text in zip("abc", texts, strict=False):
        document, broken = yaml_loader.read(dedent(text).encode(), name)
        assert document is not None
        assert not broken
        documents.append(document)
    problems = Problems()
    return gather(documents, problems), problems


def told(problems: Problems) -> list[tuple[str, str, str]]:
    return [(p.file, p.path, p.message) for p in problems.found]


def test_every_section_is_tried_here() -> None:
    """The tables of this file are complete."""
    assert set(ITEMS) == set(LISTED)
    assert set(SECTIONS) == set(ONCE)
    assert set(KEYS) == {*ITEMS, *SECTIONS}


@pytest.mark.parametrize("key", LISTED)
def test_lists_are_joined(key: str) -> None:
    """Items of all files are found in order, each with its place."""
    known_by = LISTED[key][0]
    sheets, problems = gathered(
        f"{key}: [{ITEMS[key] % 'one'}, {ITEMS[key] % 'two'}]", "", f"{key}: [{ITEMS[key] % 'three'}]"
    )
    assert told(problems) == []
    found = sheets.lists[key]
    assert [getattr(i.model, known_by) for i in found] == ["one", "two", "three"]
    assert [(i.document.file, i.path) for i in found] == [("a", (key, 0)), ("a", (key, 1)), ("c", (key, 0))]
    assert sheets.names[key] == {"one", "two", "three"}


@pytest.mark.parametrize("key", LISTED)
def test_names_are_unique_over_all_files(key: str) -> None:
    """The second item of a name is refused, wherever it stands."""
    item = ITEMS[key] % "one"
    _, problems = gathered(f"{key}: [{item}]", f"{key}: [{item}]")
    assert told(problems) == [("b", f"{key}[0].{LISTED[key][0]}", f"the name 'one' stands twice in {key}")]


def test_rules_without_a_name_may_be_many() -> None:
    """Inhibit rules need no name, as at Alertmanager."""
    rule = "{source_matchers: [a=b], target_matchers: [c=d]}"
    sheets, problems = gathered(f"inhibit_rules: [{rule}, {rule}]")
    assert told(problems) == []
    assert len(sheets.lists["inhibit_rules"]) == 2


@pytest.mark.parametrize("key", LISTED)
def test_the_name_of_a_broken_item_is_known(key: str) -> None:
    """Whoever names it is not told, too, that there is no such thing; the rest of the list is kept."""
    known_by = LISTED[key][0]
    wrong = "title" if key == "receivers" else "bogus"  # the other keys of a receiver are its drivers'
    sheets, problems = gathered(f"{key}: [{ITEMS[key] % 'two'}, {{{known_by}: one, {wrong}: 1}}, 7, {{}}]")
    assert {"one", "two"} <= sheets.names[key]
    assert {f"{key}[1].{wrong}", f"{key}[2]"} <= {p.path for p in problems.found}
    assert getattr(sheets.lists[key][0].model, known_by) == "two"


@pytest.mark.parametrize("key", LISTED)
@pytest.mark.parametrize("value", ["{one: {}}", "7", "one"])
def test_a_list_that_is_none(key: str, value: str) -> None:
    """What it would have named is not known then, so nobody is said to name what is not there."""
    sheets, problems = gathered(f"{key}: {value}")
    ((file, path, message),) = told(problems)
    assert (file, path, message) == ("a", key, "this must be a list")
    assert problems.found[0].hint == f"start each entry with - {LISTED[key][0]}:"
    assert problems.incomplete
    assert sheets.lists[key] == []


@pytest.mark.parametrize("key", LISTED)
def test_an_empty_list_is_none(key: str) -> None:
    """A key with nothing after it counts as not written."""
    sheets, problems = gathered(f"{key}:")
    assert told(problems) == []
    assert not problems.incomplete
    assert sheets.lists[key] == []


@pytest.mark.parametrize("key", ONCE)
def test_other_sections_stand_once(key: str) -> None:
    """The second one is refused and names the first; an empty one does not count."""
    text = f"{key}: {SECTIONS[key]}"
    sheets, problems = gathered(f"{key}:", text, text)
    assert told(problems) == [("c", key, f"{key} also stands in b")]
    document, model = sheets.section(key)
    assert document is not None
    assert document.file == "b"
    assert model


@pytest.mark.parametrize("key", ONCE)
def test_a_section_that_is_not_there(key: str) -> None:
    """It is neither found nor complained about."""
    sheets, problems = gathered("services: []")
    assert sheets.section(key) == (None, None)
    assert told(problems) == []


def test_a_broken_section_still_stands() -> None:
    """What is wrong in it is told; it is not looked for elsewhere."""
    sheets, problems = gathered("flapping: 7", "flapping: {flips: 3}")
    assert [p.path for p in problems.found] == ["flapping", "flapping"]
    assert sheets.section("flapping")[1] is None


@pytest.mark.parametrize(
    ("key", "hint"),
    [
        ("inhibit_rule", "did you mean 'inhibit_rules'?"),
        ("mute_time_intervals", "did you mean 'time_intervals'?"),
        ("x" * 500, "there are: "),
    ],
)
def test_an_unknown_section(key: str, hint: str) -> None:
    """A misspelt section is told with what may have been meant, and with a bounded text."""
    _, problems = gathered(f"{key}: []")
    (problem,) = problems.found
    assert problem.message == f"unknown key {key[:60]!r}"
    assert hint in problem.hint
