"""Relabelling: Prometheus' ``relabel_config``, applied to an alert's labels."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from router.model.wire_alerts import MAX_LABEL_VALUE, MAX_LABELS
from router.model.wire_alerts import MAX_NAME as MAX_LABEL_NAME
from router.rulebook import yaml_loader
from router.rulebook.problems import Problems
from router.rulebook.relabel import RelabelModel, apply, compiled


def read(text):
    """Return the rules of a YAML list, and the problems."""
    document, broken = yaml_loader.read(f"relabel_configs:\n{text}".encode(), "rules/a.yaml")
    assert not broken
    models = [RelabelModel.model_validate(item) for item in document.data["relabel_configs"]]
    problems = Problems()
    return compiled(models, document, ("relabel_configs",), problems), problems.found


def rules(*items):
    """Return the rules of one-line YAML mappings, which must be right."""
    found, problems = read("".join(f"  - {item}\n" for item in items))
    assert not problems
    return found


def rewritten(item, **labels):
    """Return the labels after one rule."""
    return apply(rules(item), labels)


# -- replace


@pytest.mark.parametrize(
    ("item", "labels", "expected"),
    [
        pytest.param(
            "{source_labels: [a], regex: 'f(.*)', target_label: d, replacement: 'ch${1}-ch${1}'}",
            {"a": "foo"},
            {"a": "foo", "d": "choo-choo"},
            id="groups in the replacement",
        ),
        pytest.param(
            "{source_labels: [a, b], regex: 'f(.*);(.*)r', target_label: a, replacement: 'b${1}${2}m'}",
            {"a": "foo", "b": "bar"},
            {"a": "boobam", "b": "bar"},
            id="values are joined by a semicolon",
        ),
        pytest.param(
            "{source_labels: [a, b], separator: /, target_label: c}",
            {"a": "x", "b": "y"},
            {"a": "x", "b": "y", "c": "x/y"},
            id="another separator",
        ),
        pytest.param(
            "{source_labels: [a, b], separator: '', target_label: c}",
            {"a": "x", "b": "y"},
            {"a": "x", "b": "y", "c": "xy"},
            id="no separator",
        ),
        pytest.param(
            "{source_labels: [a], target_label: c}", {"a": "x"}, {"a": "x", "c": "x"}, id="all defaults copy"
        ),
        pytest.param(
            "{source_labels: [a, b], target_label: c}",
            {"b": "y"},
            {"b": "y", "c": ";y"},
            id="missing",
        ),
        pytest.param("{target_label: c, replacement: x}", {}, {"c": "x"}, id="a static label"),
        pytest.param(
            "{source_labels: [a], target_label: c, replacement: x}",
            {},
            {"c": "x"},
            id="(.*) takes nothing",
        ),
        pytest.param(
            "{source_labels: [a], regex: f, target_label: b, replacement: bar}",
            {"a": "boo"},
            {"a": "boo"},
            id="no match changes nothing",
        ),
        pytest.param(
            "{source_labels: [a], regex: o, target_label: b, replacement: bar}",
            {"a": "foo"},
            {"a": "foo"},
            id="anchored",
        ),
        pytest.param(
            "{source_labels: [a], regex: 'f|o', target_label: b, replacement: x}",
            {"a": "fo"},
            {"a": "fo"},
            id="alternatives are anchored",
        ),
        pytest.param(
            "{source_labels: [a], regex: '(f).*', target_label: $1, replacement: $2}",
            {"a": "foo", "f": "baz"},
            {"a": "foo"},
            id="an empty result removes the label",
        ),
        pytest.param(
            "{target_label: a, replacement: ''}", {"a": "x", "b": "y"}, {"b": "y"}, id="an empty text removes"
        ),
        pytest.param("{target_label: a, replacement: }", {"a": "x"}, {}, id="nothing is the empty text"),
        pytest.param(
            "{source_labels: [a], regex: , target_label: c, replacement: x}",
            {"a": "x"},
            {"a": "x"},
            id="regex nothing takes only nothing",
        ),
        pytest.param(
            "{source_labels: [a], regex: 'some-([^-]+)-([^,]+)', replacement: '${2}', target_label: '${1}'}",
            {"a": "some-name-value"},
            {"a": "some-name-value", "name": "value"},
            id="groups in the target",
        ),
        pytest.param(
            "{source_labels: [a], regex: 'some-(.+)', replacement: x, target_label: '${3}'}",
            {"a": "some-name"},
            {"a": "some-name"},
            id="a target without a name is passed over",
        ),
        pytest.param(
            "{source_labels: [a], regex: 'line1.*(?P<n>line2)', target_label: d, replacement: v_$n}",
            {"a": "line1\nline2"},
            {"a": "line1\nline2", "d": "v_line2"},
            id="a dot takes newlines, a group has a name",
        ),
        pytest.param(
            "{source_labels: [utf-8.label], regex: '(?i)Ü(.)', target_label: é.x, replacement: $1}",
            {"utf-8.label": "üß"},
            {"utf-8.label": "üß", "é.x": "ß"},
            id="utf-8 everywhere",
        ),
        pytest.param(
            "{source_labels: [a], regex: '(x)|(y)', target_label: b, replacement: '[$1$2]'}",
            {"a": "y"},
            {"a": "y", "b": "[y]"},
            id="a group that took nothing is empty",
        ),
        pytest.param(
            "{source_labels: [a], target_label: b, replacement: $0, action: Replace}",
            {"a": "y"},
            {"a": "y", "b": "y"},
            id="an action in any case",
        ),
    ],
)
def test_replace(item, labels, expected):
    """A rule of Prometheus gives Prometheus' result."""
    assert rewritten(item, **labels) == expected


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("$1", "one"),
        ("${1}x", "onex"),
        ("$1-$2", "one-two"),
        ("$1$2", "onetwo"),
        ("$10", ""),
        ("${10}", ""),
        ("$0", "one.two"),
        ("$$1", "$1"),
        ("$", "$"),
        ("x$", "x$"),
        ("$-", "$-"),
        ("${", "${"),
        ("${1", "${1"),
        ("${}", "${}"),
        ("${1-}", "${1-}"),
        ("$1²", "one²"),
        ("$second", "two"),
        ("${second}_", "two_"),
        ("$2\u00b7", "two·"),
    ],
)
def test_groups_are_filled_in_as_go_does(template, expected):
    """The longest name counts, malformed signs stand for themselves, groups that are not there are empty."""
    made = rules(
        rf"{{source_labels: [a], regex: '(.*)\.(?P<second>.*)', target_label: b, replacement: '{template}'}}"
    )
    assert apply(made, {"a": "one.two"}).get("b", "") == expected


def test_rules_see_what_earlier_rules_made():
    """Rules apply in order, and the labels that were given stay as they are."""
    made = rules(
        "{source_labels: [a], target_label: b}",
        "{source_labels: [b], regex: x, target_label: c, replacement: y}",
        "{regex: a|b, action: labeldrop}",
    )
    labels = {"a": "x"}
    assert apply(made, labels) == {"c": "y"}
    assert labels == {"a": "x"}
    assert apply((), labels) == labels


# -- the other actions


@pytest.mark.parametrize(
    ("text", "lower", "upper"),
    [
        ("bAr1", "bar1", "BAR1"),
        ("ÄÖß", "äöß", "ÄÖß"),
        ("İ", "i", "İ"),
        ("ΟΔΟΣ", "οδοσ", "ΟΔΟΣ"),
        ("ᾳ", "ᾳ", "ᾼ"),
        ("ŉ", "ŉ", "ŉ"),
    ],
)
def test_case(text, lower, upper):
    """Each character for itself, so that a value keeps its length, as in Go."""
    assert rewritten("{source_labels: [a], target_label: b, action: lowercase}", a=text)["b"] == lower
    assert rewritten("{source_labels: [a], target_label: b, action: uppercase}", a=text)["b"] == upper


def test_the_case_of_nothing_removes_the_target():
    """Without the source label the target goes, as with replace."""
    assert rewritten("{source_labels: [a], target_label: b, action: lowercase}", b="x") == {}


@pytest.mark.parametrize(
    ("item", "taken", "dropped"),
    [
        ("{source_labels: [a], regex: 'f.*', action: keep}", "foo", "boo"),
        ("{source_labels: [a], regex: 'f.*', action: drop}", "boo", "foo"),
        ("{source_labels: [a], regex: 'f|o', action: drop}", "foo", "o"),
        ("{source_labels: [a], regex: '', action: keep}", "", "x"),
        ("{source_labels: [a], target_label: b, action: keepequal}", "same", "other"),
        ("{source_labels: [a], target_label: b, action: dropequal}", "other", "same"),
    ],
)
def test_keep_and_drop(item, taken, dropped):
    """An alert is dropped by the first rule that says so; otherwise its labels stay."""
    made = rules(item, "{target_label: c, replacement: x}")
    assert apply(made, {"a": taken, "b": "same"}) == {"a": taken, "b": "same", "c": "x"}
    assert apply(made, {"a": dropped, "b": "same"}) is None


@pytest.mark.parametrize(
    ("item", "expected"),
    [
        ("{regex: '(b.*)', action: labelkeep}", {"b1": "x", "b2": "y"}),
        ("{regex: '(b.*)', action: labeldrop}", {"a": "z"}),
        (
            "{regex: 'b(.*)', replacement: 'n_${1}', action: labelmap}",
            {"a": "z", "b1": "x", "b2": "y", "n_1": "x", "n_2": "y"},
        ),
        ("{regex: '(b.*)', action: labelmap}", {"a": "z", "b1": "x", "b2": "y"}),
        ("{regex: 'b(.*)', replacement: a, action: labelmap}", {"a": "y", "b1": "x", "b2": "y"}),
        ("{regex: 'b(x?).', replacement: $1, action: labelmap}", {"a": "z", "b1": "x", "b2": "y"}),
        ("{replacement: 'n_$1', action: labelmap}", None),
    ],
    ids=["keep", "drop", "map", "map to itself", "of two the last", "no name is passed over", "all"],
)
def test_actions_on_names(item, expected):
    """labelkeep, labeldrop and labelmap look at the labels' names, whatever order they come in."""
    labels = {"b2": "y", "a": "z", "b1": "x"}
    expected = expected or labels | {f"n_{name}": value for name, value in labels.items()}
    made = rules(item)
    assert apply(made, labels) == expected
    assert apply(made, labels) == expected


# -- what is refused


@pytest.mark.parametrize(
    ("item", "key", "words"),
    [
        ("{source_labels: [a], replacement: x}", "target_label", "replace needs target_label"),
        ("{source_labels: [a], target_label: ''}", "target_label", "replace needs target_label"),
        ("{source_labels: [a], action: lowercase}", "target_label", "lowercase needs target_label"),
        ("{target_label: a, action: uppercase}", "source_labels", "uppercase needs source_labels"),
        ("{source_labels: [a], target_label: $1, action: uppercase}", "target_label", "only replace"),
        ("{source_labels: [a], action: drop}", "regex", "drop needs regex"),
        ("{source_labels: [], regex: x, action: keep}", "source_labels", "keep needs source_labels"),
        ("{action: labeldrop}", "regex", "labeldrop needs regex"),
        ("{source_labels: [a], action: dropequal}", "target_label", "dropequal needs target_label"),
        (
            "{source_labels: [a], target_label: b, regex: x, action: keepequal}",
            "regex",
            "does not read regex",
        ),
        ("{regex: x, source_labels: [a], action: labelkeep}", "source_labels", "labelkeep reads regex"),
        ("{source_labels: [a], regex: x, target_label: b, action: keep}", "target_label", "does not read"),
        ("{source_labels: [a], target_label: b, modulus: 3}", "modulus", "does not read modulus"),
        ("{source_labels: [a], target_label: b, modulus: 3, action: hashmod}", "action", "not supported"),
        ("{source_labels: [a], action: remove}", "action", "there are: drop, dropequal"),
        ("{source_labels: [a], action: labeldorp}", "action", "'labeldrop'"),
        ("{source_labels: [a], target_label: b, regex: '('}", "regex", "RE2"),
        ("{source_labels: [a], target_label: b, regex: 'a)(b'}", "regex", "RE2"),
        ("{source_labels: [a], target_label: b, regex: '(?!x).*'}", "regex", "look-around"),
        ("{regex: x, replacement: '', action: labelmap}", "replacement", "empty"),
        ("{source_labels: [a], target_label: b, replacement: $1x}", "replacement", "write ${1}x"),
        ("{source_labels: [a], target_label: b, replacement: $01}", "replacement", "have numbers"),
        ("{source_labels: [a], target_label: b, replacement: $9999999999}", "replacement", "have numbers"),
        ("{source_labels: [a], target_label: $x}", "target_label", "no group named 'x'"),
        (
            "{source_labels: [a], regex: '(?P<zone>.)', target_label: b, replacement: $zones}",
            "replacement",
            "'zone'",
        ),
    ],
)
def test_what_makes_no_sense_is_refused_with_its_place(item, key, words):
    """Every mistake says where it is and what to write; the rules around it are still read."""
    found, (problem,) = read(f"  - {{target_label: x, replacement: y}}\n  - {item}\n")
    assert len(found) == 1
    assert (problem.file, problem.line) == ("rules/a.yaml", 3)
    assert problem.path == f"relabel_configs[1].{key}"
    assert words in f"{problem.message}; {problem.hint}"


def test_all_mistakes_of_an_item_are_told():
    """One run shows everything."""
    found, problems = read("  - {action: keep, target_label: b, regex: '('}\n")
    assert found == ()
    assert [p.path.rpartition(".")[2] for p in problems] == ["target_label", "source_labels", "regex"]


@pytest.mark.parametrize(
    "item",
    [
        "{regex: x, action: labeldrop, separator: ;, replacement: $1, source_labels: []}",
        "{source_labels: [a], target_label: b, regex: (.*), replacement: $1, action: keepequal}",
    ],
)
def test_defaults_may_be_written_out(item):
    """What other tools write out in full is not refused."""
    assert rules(item)


@pytest.mark.parametrize(
    "item",
    [
        {"source_labels": "a"},
        {"source_labels": [""]},
        {"source_labels": ["a"] * 21},
        {"target_label": "x" * 101},
        {"replacement": "x" * 1001},
        {"regex": 1},
        {"sourcelabels": ["a"]},
        "a",
    ],
)
def test_the_shape_is_checked(item):
    """Wrong types, unknown keys and endless texts do not get as far as a rule."""
    with pytest.raises(ValidationError):
        RelabelModel.model_validate(item)


def test_rules_compare_by_what_was_written():
    """The same text makes the same rule, so that a rule file read again is seen to be unchanged."""
    item = "{source_labels: [a], regex: 'f(.*)', target_label: d}"
    assert rules(item) == rules(item)
    assert rules(item) != rules("{source_labels: [a], regex: 'g(.*)', target_label: d}")


# -- bounds


def test_a_value_is_cut():
    """A value that a rule makes has at most MAX_LABEL_VALUE characters; a cut shows as an ellipsis."""
    text = "x" * MAX_LABEL_VALUE
    made = rules("{source_labels: [a], target_label: b, replacement: '$1'}")
    assert apply(made, {"a": text})["b"] == text
    made = rules("{source_labels: [a, a], target_label: b, replacement: '-$1$1$1'}")
    assert apply(made, {"a": text})["b"] == "-" + "x" * (MAX_LABEL_VALUE - 2) + "…"


def test_labels_are_not_added_without_end():
    """At MAX_LABELS no label is added; those that are there still change and go."""
    labels = {f"l{i}": "x" for i in range(MAX_LABELS)}
    assert rewritten("{target_label: more, replacement: y}", **labels) == labels
    assert rewritten("{target_label: l1, replacement: y}", **labels) == labels | {"l1": "y"}
    assert len(rewritten("{replacement: 'n_$1', action: labelmap}", **labels)) == MAX_LABELS


def test_a_name_that_is_too_long_is_passed_over():
    """A label's name from a value has at most as many characters as a name from a sender."""
    item = "{source_labels: [a], target_label: $1, replacement: x}"
    name = "n" * MAX_LABEL_NAME
    assert rewritten(item, a=name) == {"a": name, name: "x"}
    assert rewritten(item, a=name + "n") == {"a": name + "n"}


def test_half_of_a_surrogate_pair_is_no_obstacle():
    """Such a value matches as if a question mark stood there."""
    made = rules("{source_labels: [a], regex: '(.)', target_label: b}")
    assert apply(made, {"a": "\ud800"}) == {"a": "\ud800", "b": "?"}


_EVERY_ACTION = rules(
    "{source_labels: [a, b], regex: '(?:(.+)|x);(.*)', target_label: c, replacement: '${2}$1'}",
    "{source_labels: [a], regex: '(.+)', target_label: '$1'}",
    "{source_labels: [b], target_label: b, action: lowercase}",
    "{source_labels: [a], target_label: a, action: uppercase}",
    "{regex: '(.).*', replacement: 'n_$1', action: labelmap}",
    "{regex: '[^ab]', action: labeldrop}",
    "{regex: '.{0,5}', action: labelkeep}",
    "{source_labels: [b], regex: 'drop', action: drop}",
    "{source_labels: [a], regex: '[^y]*', action: keep}",
    "{source_labels: [a], target_label: c, action: dropequal}",
)
_NAMES = st.sampled_from("abc") | st.text(max_size=3)


@given(st.dictionaries(_NAMES, st.text(st.characters(), max_size=12), max_size=8))
def test_any_labels_have_an_answer(labels):
    """Whatever the labels, there is an answer within bounds, the same each time."""
    found = apply(_EVERY_ACTION, labels)
    assert found == apply(_EVERY_ACTION, labels)
    if found is not None:
        assert all(len(value) <= MAX_LABEL_VALUE for value in found.values())


@given(
    st.text(alphabet="ab$1{}(|)*.?P<n>_ü", max_size=12),
    st.text(alphabet="$1{}nab_ü", max_size=12),
    st.dictionaries(_NAMES, st.text(max_size=6), max_size=4),
)
def test_any_rule_is_refused_or_works(regex, text, labels):
    """Whatever stands in a rule, it is a problem or a rule that answers."""
    document, _ = yaml_loader.read(b"{}", "rules/a.yaml")
    problems = Problems()
    for action in ("replace", "labelmap"):
        keys = {"action": action, "regex": regex, "replacement": text}
        if action == "replace":
            keys |= {"source_labels": ["a", "b"], "target_label": text}
        model = RelabelModel.model_validate(keys)
        made = compiled([model], document, ("relabel_configs",), problems)
        assert made or problems.found
        assert apply(made, labels) is not None
