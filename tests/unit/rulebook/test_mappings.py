"""Mappings: texts with placeholders, and how a sender's JSON becomes alerts by them."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.model.errors import ConfigError
from router.model.keys import digest, fingerprint
from router.model.wire_alerts import Unusable
from router.rulebook import mappings
from router.rulebook.schema import MappingModel
from tests.unit.rulebook.helpers_rulebook import LEAST, book

TIME = "2026-11-20T10:05:00Z"
AT = datetime(2026, 11, 20, 10, 5, tzinfo=UTC)


def mapping(**more):
    """Return a compiled mapping with the least that it needs, and more."""
    written = {"name": "probe", "starts_at": "{at}", "labels": {"alertname": "{name}"}, **more}
    return mappings.compiled(MappingModel.model_validate(written))


def label(text, doc):
    """Return what the text, or the texts, make of the document."""
    made = mapping(labels={"x": text, "always": "here"}).fill({"at": TIME}, doc)
    return made.labels.get("x", "")


# -- texts


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain", "plain"),
        ("{a}", "one"),
        ("{a} of {b.c}", "one of 2"),
        ("{{a}} is {a}", "{a} is one"),
        ("{{{a}}}", "{one}"),
        ("{missing} of {a}", ""),
        ("{b}", ""),
        ("{empty}", ""),
        ("{blank}x", ""),
        ("{null}", ""),
        ("{b.c.d}", ""),
        ("{yes}/{no}/{pi}", "true/false/1.5"),
        ("{list.1.n}", "2"),
        ("{list.2}", ""),
        ("{list.n}", ""),
        ("{list.99999999}", ""),
        ("{@timestamp} {x-y} {labels.example.com/name}", "t dash slash"),
        (["{missing}", "{a}", "{b.c}"], "one"),
        (["{missing}", "otherwise"], "otherwise"),
        ("  {a}\t", "one"),
    ],
)
def test_a_text_is_literal_with_placeholders(text, expected):
    """A placeholder finds text, numbers and booleans; one that finds nothing empties the whole text."""
    doc = {
        "a": " one ",
        "b": {"c": 2},
        "empty": "",
        "blank": " ",
        "null": None,
        "yes": True,
        "no": False,
        "pi": 1.5,
        "list": [{"n": 1}, {"n": 2}],
        "@timestamp": "t",
        "x-y": "dash",
        "labels": {"example.com/name": "slash"},
    }
    assert label(text, doc) == expected


@pytest.mark.parametrize(
    ("doc", "expected"),
    [
        ({"a.b.c": 1, "a": {"b": {"c": 2}}}, "1"),
        ({"a.b": {"c": 3}}, "3"),
        ({"a": {"b.c": 4}}, "4"),
        ({"a.b": {"d": 5}, "a": {"b": {"c": 6}}}, "6"),
        ({"a.b.c": None, "a": {"b": {"c": 7}}}, "7"),
        ({"a": [{"b": 8}]}, ""),
    ],
)
def test_a_key_with_dots_is_tried_whole(doc, expected):
    """Elasticsearch flattens objects to keys with dots, wholly or in part; each way down is tried."""
    assert label("{a.b.c}", doc) == expected


def test_a_path_is_looked_up_in_the_alert_then_in_the_body():
    """What all alerts of a delivery have in common may stand beside their list."""
    made = mapping(labels={"own": "{own}", "shared": "{shared}", "both": "{both}"})
    body = {"shared": "s", "both": "body", "alerts": []}
    assert made.fill({"own": "o", "both": "alert", "at": TIME}, body).labels == {
        "own": "o",
        "shared": "s",
        "both": "alert",
    }


# -- the alert


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (TIME, AT),
        ("2026-11-20 10:05:00 UTC", AT),
        ("2026-11-20T11:05:00+01:00", AT),
        (1795169100, AT),
        ("1795169100", AT),
        (1795169100000, AT),
        (1795169100.25, AT.replace(microsecond=250_000)),
        ("1795169100123", AT.replace(microsecond=123_000)),
        ("0001-01-01T00:00:00Z", None),
        ("9999999999999", None),
        (99999999999, None),
        ("12", None),
        ("soon", None),
        (True, None),
        (-1795169100, None),
        ([TIME], None),
    ],
)
def test_times_are_read_as_senders_write_them(value, expected):
    """RFC 3339, with a space and UTC, or seconds or milliseconds since 1970; else it is no time."""
    made = mapping()
    if expected is not None:
        assert made.fill({"name": "x", "at": value}, {}).starts_at == expected
    else:
        with pytest.raises(Unusable, match=r"no time .*; starts_at tried \{at\}"):
            made.fill({"name": "x", "at": value}, {})


def test_the_first_text_that_is_a_time_counts():
    """A field that is there and holds no time does not hide the next one."""
    made = mapping(starts_at=["{never}", "{name}", "{at}"])
    assert made.fill({"name": "x", "at": TIME}, {}).starts_at == AT
    with pytest.raises(Unusable, match=r"starts_at tried \{never\}, \{name\}, \{at\}"):
        made.fill({"name": "x"}, {})


@pytest.mark.parametrize(
    ("word", "firing"),
    [
        ("ok", False),
        ("Recovered", False),
        (" OK ", False),
        ("alerting", True),
        ("", True),
        (None, True),
        (0, True),
    ],
)
def test_an_unknown_status_fires(word, firing):
    """Only the words for resolved end an alert; case does not matter, and a missing word pages."""
    made = mapping(status={"from": ["{state}"], "resolved": ["ok", "RECOVERED"]})
    alert = made.fill({"name": "x", "at": TIME, "state": word}, {})
    assert (alert.firing, alert.ends_at is None) == (firing, firing)


def test_without_a_status_everything_fires():
    """A sender that knows no end has no word for it."""
    assert mapping().fill({"name": "x", "at": TIME, "status": "resolved"}, {}).firing


@pytest.mark.parametrize(
    ("doc", "starts", "ends"),
    [
        ({"at": TIME, "end": "2026-11-20T10:30:00Z"}, AT, AT.replace(minute=30)),
        ({"at": TIME}, AT, AT),
        ({"end": TIME}, AT, AT),
        ({"at": TIME, "end": "2026-11-20T09:00:00Z"}, AT, AT),
    ],
)
def test_the_end_of_a_resolved_alert(doc, starts, ends):
    """Of start and end one is enough, and an alert never ends before it began."""
    made = mapping(status={"from": "{state}", "resolved": ["ok"]}, ends_at="{end}")
    alert = made.fill({"name": "x", "state": "ok", **doc}, {})
    assert (alert.starts_at, alert.ends_at) == (starts, ends)


def test_labels_identify_the_alert_unless_there_is_an_id():
    """The key begins with the mapping's name, so that one sender never resolves another's alert."""
    doc = {"name": "x", "at": TIME, "rule": "r", "instance": 7}
    assert mapping().fill(doc, {}).key == "probe:" + fingerprint({"alertname": "x"})
    by_id = mapping(id="{rule}/{instance}")
    assert by_id.fill(doc, {}).key == by_id.fill({**doc, "name": "y"}, {}).key == "probe:" + digest(["r/7"])
    assert by_id.fill({"name": "x", "at": TIME}, {}).key == "probe:" + fingerprint({"alertname": "x"})


def test_an_alert_has_at_least_one_label():
    """Labels that stay empty are left out; where none is left there is nothing to route by."""
    with pytest.raises(Unusable, match=r"all labels are empty; labels tried \{name\}"):
        mapping().fill({"at": TIME}, {})


def test_texts_are_bounded_and_clean():
    """Values are cut at the limits of all alerts; a link that would have to be cut is left out."""
    made = mapping(annotations={"a": "{long}"}, generator_url="{long}", id="{long}")
    doc = {"name": "n\x1b[31m" + "x" * 9000, "at": TIME, "long": "https://" + "y" * 20_000}
    alert = made.fill(doc, {})
    assert len(alert.labels["alertname"]) <= 4096
    assert "\x1b" not in alert.labels["alertname"]
    assert len(alert.annotations["a"]) == 16 * 1024
    assert alert.generator_url == ""


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=10),
    lambda v: (
        st.lists(v, max_size=3) | st.dictionaries(st.sampled_from(["a", "b", "a.b", "0", "at", "name"]), v)
    ),
    max_leaves=12,
)


@given(item=_JSON, doc=_JSON)
def test_any_json_gives_an_alert_or_a_reason(item, doc):
    """Whatever the JSON, nothing but the reason escapes."""
    made = mapping(
        labels={"x": ["{a.b.0}", "{name}", "{b}"]},
        starts_at=["{at}", "{a.b}"],
        status={"from": "{a}", "resolved": ["ok"]},
        id="{a.b.a.b}",
        generator_url="{b}",
    )
    try:
        said = str(made.fill(item, doc).labels)
    except Unusable as exc:
        said = str(exc)
    assert 2 < len(said) < 250


@pytest.mark.parametrize(
    ("path", "doc", "expected"),
    [
        ("", {"a": 1}, [{"a": 1}]),
        ("", [1, 2], [1, 2]),
        ("", "text", None),
        ("data.alerts", {"data": {"alerts": [1]}}, [1]),
        ("data.alerts", {"data.alerts": {"a": 1}}, [{"a": 1}]),
        ("data.alerts", {"data": {}}, None),
        ("data.alerts", {"data": {"alerts": []}}, []),
    ],
)
def test_where_the_alerts_are(path, doc, expected):
    """The whole body or what stands at a path: a list of alerts, or one."""
    assert mapping(alerts=path).items(doc) == expected


# -- in the rules


def problems(tmp_path, text):
    """Return what is wrong with the section."""
    with pytest.raises(ConfigError) as caught:
        book(tmp_path, least=LEAST, sources=text)
    return [(p.file, p.line, p.path, p.message, p.hint) for p in caught.value.problems]


def test_mappings_are_in_the_rulebook(tmp_path):
    """They may be spread over files; a single text and a list are the same; nothing else is needed."""
    least = "sources: [{name: NAME, starts_at: '{t}', labels: {a: b}}]"
    rules = book(tmp_path, least=LEAST, one=least.replace("NAME", "one"), two=least.replace("NAME", "two_2"))
    assert list(rules.mappings) == ["one", "two_2"]
    assert rules.mappings["one"].name == "one"
    assert rules.mappings["one"] != rules.mappings["two_2"]
    assert book(tmp_path, least=LEAST, one="sources:", two="").mappings == {}


@pytest.mark.parametrize(
    ("entry", "path", "words"),
    [
        ("{name: Upper, starts_at: x, labels: {a: b}}", "sources[0].name", "a-z"),
        ("{name: am, starts_at: x, labels: {a: b}}", "sources[0].name", "taken"),
        ("{starts_at: x, labels: {a: b}}", "sources[0].name", "missing"),
        ("{name: x, labels: {a: b}}", "sources[0].starts_at", "missing"),
        ("{name: x, starts_at: x}", "sources[0].labels", "missing"),
        ("{name: x, starts_at: x, labels: {}}", "sources[0].labels", "at least 1"),
        ("{name: x, starts_at: [], labels: {a: b}}", "sources[0].starts_at", "at least 1"),
        ("{name: x, starts_at: x, labels: {a: {b}}}", "sources[0].labels.a", "quotes"),
        ("{name: x, starts_at: x, labels: {a: 1}}", "sources[0].labels.a[0]", "quotes"),
        ("{name: x, starts_at: x, labels: {a: '{b'}}", "sources[0].labels.a[0]", "brace stands alone"),
        ("{name: x, starts_at: x, labels: {a: 'b}'}}", "sources[0].labels.a[0]", "brace stands alone"),
        ("{name: x, starts_at: x, labels: {a: '{}'}}", "sources[0].labels.a[0]", "not a path"),
        ("{name: x, starts_at: x, labels: {a: '{b..c}'}}", "sources[0].labels.a[0]", "not a path"),
        ("{name: x, starts_at: x, labels: {a: [b, '{c d}']}}", "sources[0].labels.a[1]", "not a path"),
        ("{name: x, starts_at: x, labels: {a: ' '}}", "sources[0].labels.a[0]", "1 to 2000"),
        ("{name: x, starts_at: x, labels: {'': b}}", "sources[0].labels", "name"),
        ("{name: x, starts_at: x, labels: {a: b}, alerts: '{c}'}", "sources[0].alerts", "without braces"),
        (
            "{name: x, starts_at: x, labels: {a: b}, status: {from: x}}",
            "sources[0].status.resolved",
            "missing",
        ),
        ("{name: x, starts_at: x, labels: {a: b}, startsat: x}", "sources[0].startsat", "starts_at"),
    ],
)
def test_a_wrong_mapping_is_refused_with_its_place(tmp_path, entry, path, words):
    """Every mistake says where it is and what to write."""
    found = problems(tmp_path, f"sources:\n  - {entry}\n")
    assert any(
        (file, line) == ("rules/sources.yaml", 2) and where.startswith(path) and words in message + hint
        for file, line, where, message, hint in found
    ), found


def test_a_name_stands_once(tmp_path):
    """Two mappings of one name would be one address with two meanings."""
    entry = "  - {name: x, starts_at: '{t}', labels: {a: b}}\n"
    ((file, line, path, message, _),) = problems(tmp_path, "sources:\n" + entry * 2)
    assert (file, line, path) == ("rules/sources.yaml", 3, "sources[1].name")
    assert "twice in sources" in message


def test_placeholders_and_keys_are_bounded():
    """A text of very many placeholders or a very deep path is a mistake."""
    with pytest.raises(ValueError, match="at most 20"):
        mappings.template("{a}" * 21)
    with pytest.raises(ValueError, match="not a path"):
        mappings.path(".".join("a" * 21))
