"""Templates: what may be written, that nothing escapes, and that work and output end."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jinja2.exceptions import SecurityError

from router.rulebook import template_filters, templates
from router.rulebook.templates import TemplateError, compiled

LABELS = {"alertname": "HighLatency", "severity": "critical", "team": "pay", "class": "gold"}
CONTEXT: dict[str, Any] = {
    "incident": {"service": "checkout", "count": 3, "ratio": 0.5, "open": True, "owner": None},
    "alerts": [{"labels": LABELS, "status": "firing"}, {"labels": {"team": "web"}, "status": "resolved"}],
    "labels": LABELS,
    "annotations": {"summary": 'p99 is <slow> & "late"', "empty": ""},
    "group": {},
    "links": ["a", "b"],
    "receiver": "pay-pager",
}
#: As many alerts, each with as many labels, as a busy incident has.
BUSY = CONTEXT | {
    "alerts": [{"labels": {f"label{i}": f"value {i}" for i in range(20)}} for _ in range(30)],
    "annotations": {"long": "ab " * 20_000, "spaces": "a " * 30_000, "sharp": "\u0390" * 40_000},
}


def shown(source: str, context: dict[str, Any] = CONTEXT, limit: int = templates.MAX_BODY) -> str:
    return compiled(source).render(context, limit)


def refused(source: str) -> TemplateError:
    with pytest.raises(TemplateError) as caught:
        compiled(source)
    assert caught.value.hint
    return caught.value


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("plain text", "plain text"),
        ("", ""),
        ("{{ receiver }}", "pay-pager"),
        ("{{ incident.service }} {{ incident.count }}", "checkout 3"),
        (
            "{{ labels['team'] }} {{ labels.class }} {{ alerts[1].status }} {{ alerts.0.status }}",
            "pay gold resolved firing",
        ),
        ("{{ annotations.summary }}", 'p99 is <slow> & "late"'),
        ("{{ labels.gone }}{{ labels.gone.more[0].still }}{{ alerts[9].x }}{{ receiver.x }}", ""),
        ("{{ incident.owner }}{{ group.x }}", ""),
        ("{{ incident.open }} {{ incident.ratio }}", "True 0.5"),
        ("{{ labels.team ~ '-' ~ incident.count }}", "pay-3"),
        ("{{ incident.count + 1 }} {{ incident.count - 1 }} {{ -incident.count }} {{ +2 }}", "4 2 -3 2"),
        ("{{ 'yes' if labels.team else 'no' }}{{ 'x' if labels.gone }}", "yes"),
        ("{% if labels.a %}a{% elif labels.team %}b{% else %}c{% endif %}", "b"),
        ("{% if not labels.a and (labels.b or true) %}x{% endif %}", "x"),
        ("{% for link in links %}{{ link }}{{ ', ' if not loop.last }}{% endfor %}", "a, b"),
        ("{% for x in group %}x{% else %}none{% endfor %}", "none"),
        (
            "{% for a in alerts if a.status == 'firing' %}{{ loop.length }}{{ a.labels.team }}{% endfor %}",
            "1pay",
        ),
        ("{% for k, v in alerts[1].labels|dictsort %}{{ k }}={{ v }}{% endfor %}", "team=web"),
        ("{% for k in group %}{{ k }}{% endfor %}", ""),
        (
            "{% for a in alerts %}{% for l in links %}{{ l }}{{ loop.index0 }}{% endfor %}{% endfor %}",
            "a0b1a0b1",
        ),
        (
            "{% for a in alerts %}{{loop.index}}{%for l in links if loop.last%}{{l}}{%endfor%}{%endfor%}",
            "12ab",
        ),
        ("{% for x in links %}{{ x }}{% endfor %}{% for x in links %}{{ x }}{% endfor %}", "abab"),
        ("{% raw %}{{ x }}{% endraw %}{# {{ nobody }} #}{% print 1, 2 %}", "{{ x }}12"),
        ("{{ 'a\\n\\t\\\\\\'\\\"' }}", "a\n\t\\'\""),
        ("{{ (labels.team)|upper }}{{ labels.team is defined }}", "PAYTrue"),
        ("{% if labels.team in ('pay', 'web') %}x{% endif %}", "x"),
    ],
)
def test_renders(source, expected):
    """The subset means what it means in Jinja2, and what is missing is empty."""
    assert shown(source) == expected


def test_lines_that_hold_only_a_tag_leave_no_line():
    """A body can be laid out with its loops on lines of their own."""
    body = "Alerts:\n  {% for a in alerts %}\n- {{ a.status }}\n  {% endfor %}\nEnd\n"
    assert shown(body) == "Alerts:\n- firing\n- resolved\nEnd"


def test_no_name_is_needed():
    """A context without any of the names renders as empty."""
    assert shown("{{ labels.x }}{% for a in alerts %}x{% endfor %}{{ receiver }}", {}) == ""


def test_names_outside_the_list_are_not_given():
    """What else is in the context cannot be reached."""
    assert "unknown name 'secret'" in str(refused("{{ secret }}"))


def test_equal_by_source():
    """Two templates with the same source are one in sets, and show their source."""
    one, two, other = compiled("a {{ receiver }}"), compiled("a {{ receiver }}"), compiled("b")
    assert one == two
    assert one != other
    assert len({one, two, other}) == 2
    assert one.source == "a {{ receiver }}"


# --- The first wall ---


@pytest.mark.parametrize(
    "source",
    [
        "{{ ''.__class__ }}",
        "{{ incident.__init__ }}",
        "{{ incident['__init__'] }}",
        "{{ incident.__init__.__globals__ }}",
        "{{ labels._private }}",
        "{{ labels['_' ~ '_class__'] }}",
        "{{ labels[receiver] }}",
        "{{ ''|attr('__class__') }}",
        "{{ alerts|map(attribute='__class__')|list }}",
        "{{ alerts|selectattr('x') }}",
        "{{ alerts|groupby('x') }}",
        "{{ '{0.__class__}'.format(labels) }}",
        "{{ '{0.__class__}'|format(labels) }}",
        "{{ '%s' % labels }}",
        "{{ labels.keys() }}",
        "{{ labels.items() }}",
        "{{ 'x'() }}",
        "{{ labels|upper() () }}",
        "{{ cycler('a') }}",
        "{{ cycler }}",
        "{{ lipsum }}",
        "{{ lipsum.__globals__ }}",
        "{{ self }}",
        "{{ self._TemplateReference__context }}",
        "{{ namespace(x=1) }}",
        "{{ joiner(',') }}",
        "{{ url_for }}",
        "{{ dict(a=1) }}",
        "{{ config }}",
        "{{ request.application }}",
        "{{ get_flashed_messages }}",
        "{{ context }}",
        "{{ environment }}",
        "{{ caller }}",
        "{{ super }}",
        "{{ loop }}",
        "{{ loop.index }}",
        "{% for a in alerts %}{{ loop }}{% endfor %}",
        "{% for a in alerts %}{{ loop|length }}{% endfor %}",
        "{% for a in alerts %}{{ loop.__init__ }}{% endfor %}",
        "{% for a in alerts %}{{ loop._iterator }}{% endfor %}",
        "{% for a in alerts %}{{ loop['_iterator'] }}{% endfor %}",
        "{% for a in alerts %}{{ loop.cycle('a') }}{% endfor %}",
        "{% for a in alerts %}{{ loop.nextitem }}{% endfor %}",
        "{% for a in alerts %}{{ loop.changed(a) }}{% endfor %}",
        "{{ \uff3f\uff3fimport\uff3f\uff3f }}",
        "{% for \uff3f in alerts %}{% endfor %}",
        "{{ labels|each(1) }}",
        "{{ labels|compare('eq', 1) }}",
        "{{ labels is callable }}",
        "{{ labels is sameas labels }}",
        "{{ 'upper' is filter }}",
    ],
)
def test_nothing_escapes(source):
    """No known way out of a sandbox passes the check at load."""
    assert str(refused(source)).startswith("line 1: ")


@pytest.mark.parametrize(
    ("source", "says", "hint"),
    [
        ("a\nb {{ labels.keys() }}", "line 2: nothing can be called", "filter"),
        ("{{ range(10) }}", "nothing can be called", "filter"),
        ("{% macro f() %}{% endmacro %}", "nothing can be called", "filter"),
        ("{% call x() %}{% endcall %}", "nothing can be called", "filter"),
        ("{% set x = 1 %}", "names cannot be set", "where it is needed"),
        ("{% set x %}1{% endset %}", "names cannot be set", "where it is needed"),
        ("{% with x = 1 %}{% endwith %}", "names cannot be set", "where it is needed"),
        ("{% include 'x' %}", "stands alone", "write the text"),
        ("{% import 'x' as x %}", "stands alone", "write the text"),
        ("{% from 'x' import y %}", "stands alone", "write the text"),
        ("{% extends 'x' %}", "stands alone", "write the text"),
        ("{% block x %}{% endblock %}", "stands alone", "write the text"),
        ("{{ 2 * 3 }}", "only + and -", "annotations"),
        ("{{ 2 ** 3 }}", "only + and -", "annotations"),
        ("{{ 2 / 3 }}", "only + and -", "annotations"),
        ("{{ 2 // 3 }}", "only + and -", "annotations"),
        ("{{ 2 % 3 }}", "only + and -", "annotations"),
        ("{{ 'a' + labels.b }}", "for numbers", "~"),
        ("{{ labels.b - 'a' }}", "for numbers", "~"),
        ("{% filter upper %}x{% endfilter %}", "no filter block", "|upper"),
        ("\n{% autoescape true %}x{% endautoescape %}", "autoescape", "remove it"),
        ("{{ {'a': 1} }}", "keys with values", "if and elif"),
        ("{{ links[0:1] }}", "fixed text or number", "first"),
        ("{{ links[true] }}", "fixed text or number", "labels"),
        ("{{ links[1.5] }}", "fixed text or number", "labels"),
        ("{{ links[-1] }}", "fixed text or number", "last"),
        ("{{ labels.__class__ }}", "begins with an underscore", "names of values"),
        ("{{ lables.x }}", "unknown name 'lables'", "labels"),
        ("{{ labels|shout }}", "unknown filter 'shout'", "upper"),
        ("{{ labels is odd }}", "unknown test 'odd'", "defined"),
        ("{{ labels|center(10000000) }}", "unknown filter 'center'", "there are"),
        ("{{ labels|indent(10000000) }}", "unknown filter 'indent'", "there are"),
        ("{{ labels|a.b }}", "unknown filter 'a.b'", "there are"),
        ("{{ receiver|upper(1) }}", "wrong arguments for filter 'upper'", "nothing"),
        ("{{ receiver|replace('a') }}", "wrong arguments for filter 'replace'", "old, new"),
        (
            "{{ receiver|truncate(size=1) }}",
            "wrong arguments for filter 'truncate'",
            "length, killwords, end",
        ),
        ("{{ receiver|truncate(meter=1) }}", "wrong arguments", "length"),
        ("{{ receiver|truncate(length=1, length=2) }}", "wrong arguments", "length"),
        ("{{ receiver|join(*links) }}", "wrong arguments", "d"),
        ("{{ receiver|default(**labels) }}", "wrong arguments", "boolean"),
        ("{{ receiver is eq }}", "wrong arguments for test 'eq'", "other"),
        ("{{ 1 < 2 < 3 }}", "cannot be chained", "and"),
        ("{% for a in alerts recursive %}{% endfor %}", "nest at most 2", "flatter"),
        (
            "{% for a in alerts %}{% for b in alerts %}{% for c in alerts %}" + "{% endfor %}" * 3,
            "nest at most 2",
            "flatter",
        ),
        ("{% for k, v in labels %}{% endfor %}", "two names need pairs", "dictsort"),
        ("{% for a, b, c in labels|dictsort %}{% endfor %}", "two names need pairs", "dictsort"),
        ("{% for k, v in labels|sort %}{% endfor %}", "two names need pairs", "dictsort"),
        ("{% for k, k in labels|dictsort %}{% endfor %}", "a name of its own", "for alert in alerts"),
        ("{% for (a, b), c in labels|dictsort %}{% endfor %}", "a name of its own", "for alert in alerts"),
        ("{% for labels in alerts %}{% endfor %}", "a name of its own", "for alert in alerts"),
        ("{% for loop in alerts %}{% endfor %}", "a name of its own", "for alert in alerts"),
        ("{% for _a in alerts %}{% endfor %}", "a name of its own", "for alert in alerts"),
        ("{% for a in alerts %}{% else %}{{ a }}{% endfor %}", "unknown name 'a'", "labels"),
        ("{% for a in alerts %}{% endfor %}{{ a }}", "unknown name 'a'", "labels"),
        ("{% for a in alerts if loop.last %}{% endfor %}", "unknown name 'loop'", "labels"),
        ("{{ 99999999999999999999 }}", "number is too large", "at most"),
        ("{{ 1e999 }}", "number is too large", "at most"),
        ("{{ 0x" + "f" * 8000 + " }}", "number is too large", "at most"),
        ("{{ " + "9" * 5000 + " }}", "cannot be read (ValueError)", "numbers"),
        ("\ud800", "cannot be read (UnicodeEncodeError)", "plain text"),
        ("{{ '\\ud800' }}", "unknown escape", "the escapes are"),
        ("{{ '\\d' }}", "unknown escape", "the escapes are"),
        ("{{ labels. }}", "line 1: expected name or number", "Jinja2"),
        ("\n\n{% if x %}", "line 3: ", "Jinja2"),
        ("{% do x %}", "unknown tag 'do'", "Jinja2"),
        ("{# never ends", "end of comment", "Jinja2"),
        ("x" * 8193, "longer than 8192", "write less"),
        ("{{ 1 }}" * 600, "more than 500 parts", "write less"),
        ("{{ labels" + ".a" * 60 + " }}", "nested more than 40 deep", "flatter"),
        ("{{ receiver" + "|upper" * 60 + " }}", "nested more than 40 deep", "flatter"),
        ("{% if receiver %}" * 60 + "{% endif %}" * 60, "nested more than 40 deep", "flatter"),
        ("{{ " + "(" * 4000 + "1" + ")" * 4000 + " }}", "nested too deeply", "brackets"),
        ("{{ " + "-" * 8000 + "1 }}", "nested too deeply", "brackets"),
    ],
)
def test_refuses(source, says, hint):
    """What is not in the subset is refused at load, with what to write instead."""
    error = refused(source)
    assert says in str(error)
    assert hint in error.hint
    assert len(str(error)) < 300


def test_the_deepest_that_passes_renders():
    """What the check lets through at its limits, Python compiles and runs."""
    assert shown("{{ receiver" + "|upper" * 36 + " }}") == "PAY-PAGER"
    assert shown("{% if receiver %}" * 18 + "x" + "{% endif %}" * 18) == "x"
    assert shown("{{ 1" + " + 1" * 36 + " }}") == "37"
    assert shown("{{ " + "not " * 36 + "receiver }}") == "True"
    elifs = "".join(f"{{% elif receiver == '{i}' %}}{i}" for i in range(70))
    assert shown("{% if false %}" + elifs + "{% else %}x{% endif %}") == "x"


# --- The second wall, without the first ---


@pytest.mark.parametrize(
    "source",
    [
        "{{ ''.__class__ }}",
        "{{ incident.__init__ }}",
        "{{ incident['__init__'] }}",
        "{{ incident.keys }}",
        "{{ ''['format'] }}",
        "{{ alerts.append }}",
        "{{ alerts['append'] }}",
        "{{ self.__init__ }}",
        "{{ cycler }}{{ lipsum }}{{ range }}{{ namespace }}{{ joiner }}{{ dict }}",
        "{% for a in [1] %}{{ loop.__init__ }}{{ loop._iterator }}{{ loop['cycle'] }}{% endfor %}",
    ],
)
def test_the_sandbox_sees_no_attribute(source):
    """Even unchecked, attributes of Python's objects do not exist."""
    assert templates._ENVIRONMENT.from_string(source).render(CONTEXT) == ""


@pytest.mark.parametrize("source", ["{{ self() }}", "{% macro f() %}x{% endmacro %}{{ f() }}"])
def test_the_sandbox_calls_nothing(source):
    """Even unchecked, a call fails."""
    with pytest.raises(SecurityError):
        templates._ENVIRONMENT.from_string(source).render(CONTEXT)


@pytest.mark.parametrize("operator", ["*", "/", "//", "%", "**"])
def test_the_sandbox_computes_no_powers(operator):
    """Even unchecked, operators that grow fail."""
    with pytest.raises(TemplateError):
        templates._ENVIRONMENT.from_string(f"{{{{ 9 {operator} 9 }}}}").render(CONTEXT)


# --- Bounds at run ---


@pytest.mark.parametrize(
    ("limit", "expected"),
    [(20, "0123456789"), (10, "0123456789"), (9, "01234567…"), (1, "…"), (0, ""), (-5, "")],
)
def test_output_is_cut(limit, expected):
    """What is longer than the limit ends with an ellipsis, within the limit."""
    assert shown("01234{{ '56789' }}", limit=limit) == expected


def test_nothing_is_generated_past_the_limit():
    """A template that fails behind the limit does not fail, for it is not run that far."""
    assert shown("{{ annotations.long }}{{ 1 + labels.x }}", BUSY, 10) == "ab ab ab …"


ALERTS = "{% for a in alerts %}"
PAIRS = ALERTS + "{% for b in alerts %}"
END = "{% endfor %}"


@pytest.mark.parametrize(
    "source",
    [
        PAIRS + "{{ '' }}" * 60 + END + END,
        ALERTS + "{% for k, v in a.labels|dictsort %}" + "{{ v|upper|lower|first|last }}" * 20 + END + END,
        ALERTS + "{{ annotations.spaces|title|first }}" + END,
        PAIRS + "{{ annotations.spaces|truncate(5000)|urlencode|first }}" + END + END,
        PAIRS + "{{ annotations.long|replace('ab ab ab ab ab c', '')|first }}" + END + END,
        PAIRS + "{% if 'ab ab ab ab ab c' in annotations.long %}x{% endif %}" + END + END,
        PAIRS + "{{ annotations.long == annotations.long|trim }}" + END + END,
        PAIRS + "{{ a.labels|sort|first|length }}{{ a.labels|unique|length }}" + END + END,
        PAIRS + "{{ a.labels|join(', ')|length }}" + END + END,
        PAIRS + "{% if annotations.long in links %}x{% endif %}" + END + END,
        PAIRS + "{% if annotations.long|truncate(60000) %}x{% endif %}" * 10 + END + END,
        PAIRS + "{% if annotations.long|truncate(9000) ~ 'a' %}x{% endif %}" + END + END,
    ],
)
def test_work_ends(source):
    """Work without output is counted and stops at the budget."""
    with pytest.raises(TemplateError, match="too much work"):
        shown(source, BUSY)


@pytest.mark.parametrize(
    "source",
    [
        "{{ '" + "x" * 500 + "'" + "|replace('x', 'xxxxxxxxxxxxxxxxxxxxxxxx')" * 30 + " }}",
        "{{ 'x'|replace('', annotations.long)|length }}",
        "{{ (annotations.long ~ annotations.long)|length }}",
        "{{ [annotations.long, annotations.long]|join|length }}",
        "{{ [1, 2, 3]|join(annotations.long)|length }}",
        "{{ annotations.sharp|upper|length }}",
        "{{ annotations.sharp|urlencode|length }}",
    ],
)
def test_texts_do_not_grow(source):
    """A text in the middle of an expression stays below 64 KiB, whatever the output's limit."""
    with pytest.raises(TemplateError, match="more than 65536 characters") as caught:
        shown(source, BUSY)
    assert "truncate" in caught.value.hint


def test_doubling_does_not_grow():
    """A text joined with itself again and again has too many parts long before it is long."""
    text = "receiver"
    for _ in range(9):
        text = f"({text} ~ {text})"
    error = refused("{{ " + text + " }}")
    assert "more than 500 parts" in str(error)


def test_long_output_in_loops_is_cut():
    """A long text in nested loops is written up to the limit and no further."""
    made = shown(PAIRS + "x" * 4000 + END + END, BUSY)
    assert len(made) == templates.MAX_BODY
    assert made.endswith("x…")


def test_a_busy_body_stays_within_the_budget():
    """All labels of thirty alerts can be written out."""
    body = (
        ALERTS
        + "{{ loop.index }}\n{% for k, v in a.labels|dictsort if k != 'x' %}{{ k }}={{ v }}\n"
        + END
        + END
    )
    assert shown(body, BUSY, 100_000).count("label19=value 19") == 30


# --- Errors at run ---


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("\n\n{{ 1 + labels.team }}", "line 3: a number is needed, not text"),
        (
            "{{ 1 }}\n{% for a in alerts %}\n{{ -a }}{% endfor %}",
            "line 3: a number is needed, not keys with values",
        ),
        ("\n{% for a in alerts if a < 1 %}{% endfor %}", "line 2: lists and keys cannot be compared"),
        ("{{ labels.gone - 1 }}", "line 1: a number is needed, not nothing"),
        ("{{ labels }}", "line 1: keys with values cannot be printed"),
        ("{{ links }}", "line 1: a list cannot be printed"),
        ("{{ alerts|sort }}", "line 1: the values do not fit (TypeError)"),
        ("{{ group.odd }}", "line 1: a set cannot be printed"),
        ("{{ group.infinite|round|int + group.huge }}", "line 1: the values do not fit (ValueError)"),
    ],
)
def test_values_that_do_not_fit(source, says):
    """A type that does not fit is an error of ours with its line, never Python's."""
    odd = {"odd": {1}, "infinite": float("inf"), "huge": 10**5000}
    with pytest.raises(TemplateError) as caught:
        shown(source, CONTEXT | {"group": odd})
    assert says in str(caught.value)
    assert caught.value.hint


# --- Whatever is written ---


WORDS = st.sampled_from(
    [
        *templates.NAMES,
        *sorted(template_filters.FILTERS),
        *sorted(template_filters.TESTS),
        *(
            "loop",
            "a",
            "b",
            "_",
            "__class__",
            "'x'",
            '"y"',
            "''",
            "1.5",
            "not in",
            "**",
            "//",
            "==",
            "!=",
            "<=",
            ">=",
        ),
        *".,|~+-*/%()[]{}:=<>017",
        *(
            "if",
            "else",
            "elif",
            "endif",
            "for",
            "in",
            "endfor",
            "and",
            "or",
            "not",
            "is",
            "recursive",
            "set",
            "call",
        ),
        *("{{", "}}", "{%", "%}", "{#", "#}", "{%-", "-%}", "\n", "text", "\u00e9", "\\", "'", "1e9", "0x1"),
        *(
            "{{ labels.team",
            "{% for a in alerts %}",
            "{% for k, v in labels|dictsort %}",
            "{% endfor %}",
            "{% endif %}",
        ),
        *(
            "{% if labels.team %}",
            "{{ alerts[0].labels.team }}",
            "|truncate(3)",
            "|default('x')",
            "|join(', ')",
        ),
    ]
)
ATOMS = st.sampled_from(
    [
        *(
            "labels.team",
            "labels.gone",
            "labels",
            "incident.count",
            "incident.owner",
            "incident.open",
            "alerts",
        ),
        *(
            "alerts[0]",
            "links",
            "annotations.summary",
            "group",
            "'x'",
            "''",
            "0",
            "1.5",
            "true",
            "none",
            "[1, 'a']",
        ),
    ]
)


def grown(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    binary = st.sampled_from(["~", "+", "-", "==", "!=", "<", "<=", ">", ">=", "in", "not in", "and", "or"])
    applied = st.sampled_from(
        [
            *(name for name in sorted(template_filters.FILTERS) if name != "replace"),
            *(
                "replace('a', 'bb')",
                "truncate(2)",
                "round(2)",
                "join(links)",
                "default(alerts)",
                "sort(reverse=true)",
            ),
        ]
    )
    asked = st.sampled_from(
        ["defined", "none", "string", "number", "mapping", "in links", "eq 1", "lt 2", "ge 'a'"]
    )
    return st.one_of(
        st.builds("({} {} {})".format, inner, binary, inner),
        st.builds("({})|{}".format, inner, applied),
        st.builds("({}) is {}".format, inner, asked),
        st.builds("(not {})".format, inner),
        st.builds("(-{})".format, inner),
        st.builds("({} if {} else {})".format, inner, inner, inner),
        st.builds("({} if {})".format, inner, inner),
        st.builds("({}).key".format, inner),
        st.builds("({})[0]".format, inner),
    )


EXPRESSIONS = st.recursive(ATOMS, grown, max_leaves=8)
SOURCES = st.recursive(
    st.one_of(st.builds("{{{{ {} }}}}".format, EXPRESSIONS), st.just("text")),
    lambda inner: st.one_of(
        st.builds("{}{}".format, inner, inner),
        st.builds("{{% if {} %}}{}{{% else %}}{}{{% endif %}}".format, EXPRESSIONS, inner, inner),
        st.builds("{{% for a in {} %}}{}{{{{ loop.index }}}}{{% endfor %}}".format, EXPRESSIONS, inner),
        st.builds("{{% for k, v in ({})|dictsort if v %}}{}{{% endfor %}}".format, EXPRESSIONS, inner),
    ),
    max_leaves=5,
)


def survives(source: str) -> str:
    """Return the error, or nothing."""
    try:
        made, error = shown(source, limit=50), ""
    except TemplateError as exc:
        made, error = "", str(exc)
    assert len(error) < 300
    assert len(made) <= 50
    return error


@given(st.one_of(st.text(), st.text(st.characters()), st.text("{}%#-_()[]|.'\"\\ \nax0")))
def test_any_text(source):
    """Whatever the text, it is a template or a TemplateError."""
    survives(source)


@given(st.lists(WORDS, max_size=20).map(" ".join))
def test_any_words(source):
    """Whatever the order of the language's words, it is a template or a TemplateError."""
    survives(source)


@given(SOURCES)
def test_any_template(source):
    """Whatever well-formed template, it is read, and renders within its limit or is a TemplateError."""
    assert "cannot be read" not in survives(source)
