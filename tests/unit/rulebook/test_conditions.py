"""``when:`` blocks: conditions about an incident and the deploy that is suspected."""

from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from router.model.events import DeployPhase, Severity
from router.rulebook import durations, yaml_loader
from router.rulebook.conditions import STATES, Compared, Facts, OneOf, When, WhenModel, compiled
from router.rulebook.problems import Problems

ZERO = timedelta()
STEP = timedelta(microseconds=1)
MINUTE = timedelta(minutes=1)


def read(text):
    """Return what the block says, and the problems."""
    document, broken = yaml_loader.read(f"when:\n  {text}\n".encode(), "rules/a.yaml")
    assert not broken
    problems = Problems()
    return compiled(
        WhenModel.model_validate(document.data["when"]), document, ("when",), problems
    ), problems.found


def when(text):
    """Return the block, which must be right."""
    found, problems = read(text)
    assert not problems
    return found


SUSPECTED = Facts(suspect="cart", probability=0.81234, phase="switched", since_switch=30 * MINUTE)


# -- meaning


@pytest.mark.parametrize(
    ("text", "facts", "expected"),
    [
        ("service: cart", Facts(service="cart"), True),
        ("service: cart", Facts(service="Cart"), False),
        ("service: cart", Facts(), None),
        ("service: [a, cart]", Facts(service="cart"), True),
        ("team: payments", Facts(team="payments"), True),
        ("environment: prod", Facts(environment="staging"), False),
        ("tier: 1", Facts(tier=1), True),
        ("tier: 1", Facts(tier=0), False),
        ("tier: [0, 1]", Facts(tier=0), True),
        ("tier: [0, 1]", Facts(tier=2), False),
        ("tier: '<= 1'", Facts(tier=1), True),
        ("tier: '<=1'", Facts(tier=2), False),
        ("tier: '!= 1'", Facts(tier=2), True),
        ("tier: '!= 1'", Facts(), None),
        ("tier: '= 0'", Facts(tier=0), True),
        ("severity: [critical, error]", Facts(severity="error"), True),
        ("severity: critical", Facts(severity="error"), False),
        ("state: [triggered, held]", Facts(state="held"), True),
        ("state: triggered", Facts(), None),
        ("suspect: any", SUSPECTED, True),
        ("suspect: any", Facts(), False),
        ("suspect: any", Facts(suspect_known=False), None),
        ("suspect: none", Facts(), True),
        ("suspect: none", SUSPECTED, False),
        ("suspect: none", Facts(suspect_known=False), None),
        ("suspect: cart", SUSPECTED, True),
        ("suspect: [a, b]", SUSPECTED, False),
        ("suspect: cart", Facts(), False),
        ("suspect: [none, cart]", Facts(), True),
        ("suspect: [any, a]", SUSPECTED, True),
        ("probability: '>= 0.8'", SUSPECTED, True),
        ("probability: 0.8", SUSPECTED, True),
        ("probability: '> .9'", SUSPECTED, False),
        ("probability: '< 1'", Facts(probability=0.5), None),
        ("probability: '!= 1'", Facts(suspect="cart"), None),
        ("phase: switched", SUSPECTED, True),
        ("phase: [started, live]", SUSPECTED, False),
        ("phase: monitoring", SUSPECTED, True),
        ("phase: monitoring", Facts(suspect="cart", phase="live"), True),
        ("phase: monitoring", Facts(suspect="cart", phase="cleaned_up"), False),
        ("phase: [monitoring, failed]", Facts(suspect="cart", phase="failed"), True),
        ("phase: switched", Facts(phase="switched"), None),
        ("colour: green", Facts(colour="green"), True),
        ("colour: [green, blue]", Facts(), None),
        ("since_switch: '<= 30m'", SUSPECTED, True),
        ("since_switch: '<= 29m59s'", SUSPECTED, False),
        ("since_switch: '!= 1h'", Facts(since_switch=MINUTE), None),
        ("since_switch: '!= 1h'", SUSPECTED, True),
        ("age: '>= 10m'", Facts(age=10 * MINUTE), True),
        ("age: '> 10m'", Facts(age=10 * MINUTE), False),
        ("age: '< 0'", Facts(age=-MINUTE), True),
        ("age: '!= 10m'", Facts(), None),
        ("size: 3", Facts(size=4), True),
        ("size: 3", Facts(size=2), False),
        ("size: '== 3'", Facts(size=4), False),
        ("size: '>= 0'", Facts(size=0), True),
        ("size: '>= 0'", Facts(), None),
        ("flapping: true", Facts(flapping=True), True),
        ("flapping: true", Facts(), False),
        ("flapping: false", Facts(), True),
    ],
)
def test_meaning(text, facts, expected):
    """A condition holds, does not, or has nothing to compare; only the first counts as holding."""
    found = when(text)
    (finding,) = found.findings(facts)
    assert finding.holds is expected
    assert finding.condition == text.partition(":")[0]
    assert found.holds(facts) is (expected is True)


@pytest.mark.parametrize(
    ("text", "facts", "words"),
    [
        ("size: '>= 5'", Facts(size=3), "size is 3, wanted >= 5"),
        ("size: '= 5'", Facts(size=3), "size is 3, wanted == 5"),
        ("service: [a, b]", Facts(service="c"), "service is c, wanted a or b"),
        ("service: a", Facts(), "service is not known, wanted a"),
        ("tier: [0, 1]", Facts(tier=3), "tier is 3, wanted 0 or 1"),
        ("suspect: any", Facts(), "suspect is none, wanted any"),
        ("suspect: none", SUSPECTED, "suspect is cart, wanted none"),
        ("suspect: none", Facts(suspect_known=False), "suspect is not known yet, wanted none"),
        ("phase: monitoring", SUSPECTED, "phase is switched, wanted switched or live"),
        (
            "probability: '>= 0.8'",
            Facts(),
            "probability is not known, as no deploy is suspected, wanted >= 0.8",
        ),
        ("probability: '>= 0.8'", Facts(suspect="cart"), "probability is not known, wanted >= 0.8"),
        ("probability: '>= 0.8'", SUSPECTED, "probability is 0.812, wanted >= 0.8"),
        (
            "probability: '>= 0.8'",
            Facts(suspect="cart", probability=0.79999),
            "probability is 0.79999, wanted >= 0.8",
        ),
        ("age: '>= 10m'", Facts(age=timedelta(seconds=95.4321)), "age is 1m35s, wanted >= 10m"),
        ("age: '> 10m'", Facts(age=timedelta(minutes=10, milliseconds=7)), "age is 10m7ms, wanted > 10m"),
        ("since_switch: '<= 1h30m'", SUSPECTED, "since_switch is 30m, wanted <= 1h30m"),
        ("flapping: true", Facts(), "flapping is false, wanted true"),
    ],
)
def test_each_finding_explains_itself(text, facts, words):
    """What is there and what was wanted, in words that do not contradict the outcome."""
    (finding,) = when(text).findings(facts)
    assert finding.text == words


def test_a_finding_is_short():
    """Neither a long label nor a long list makes it unreadable; line feeds do not break it."""
    found = when("service: [" + ", ".join(f"service-{i}" for i in range(90)) + "]")
    (finding,) = found.findings(Facts(service="a\nb" * 2000))
    assert finding.text.startswith("service is a ba b")
    assert len(finding.text) < 300
    assert "\n" not in finding.text


def test_all_that_are_given_must_hold():
    """One that does not hold is enough; findings come in a fixed order, all of them."""
    found = when("{size: 3, service: cart, flapping: false}")
    assert found.holds(Facts(service="cart", size=3))
    assert not found.holds(Facts(service="cart", size=3, flapping=True))
    findings = found.findings(Facts(size=1))
    assert [(f.condition, f.holds) for f in findings] == [
        ("service", None),
        ("size", False),
        ("flapping", True),
    ]


@pytest.mark.parametrize("found", [When(), when("{}"), when("{service: , age: ~}")])
def test_nothing_given_always_holds(found):
    """An empty block, or keys with nothing after them, ask for nothing."""
    assert found == When()
    assert found.holds(Facts())
    assert found.findings(Facts()) == []
    assert found.next_change(Facts()) is None
    assert found.catalogue_only


def test_no_block_is_an_empty_block():
    """A rule without ``when:`` always holds."""
    document, _ = yaml_loader.read(b"{}", "rules/a.yaml")
    assert compiled(None, document, (), Problems()) == When()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{service: a, team: b, environment: c, tier: 1}", True),
        ("{service: a, size: 1}", False),
        ("suspect: none", False),
        ("age: '> 1m'", False),
    ],
)
def test_what_the_catalogue_knows(text, expected):
    """Service, team, environment and tier are known before there is an incident."""
    assert when(text).catalogue_only is expected


# -- reading


def test_the_whole_block():
    """Everything that may be written arrives typed, in order."""
    text = """
        {service: payment-service, team: payments, environment: [prod, staging], tier: "<= 1",
        severity: [critical, error, critical], state: acknowledged, suspect: [none, cart],
        probability: ">=0.8", phase: [monitoring, live], colour: green, since_switch: "<= 1h30m",
        age: " >=  10m ", size: 3, flapping: true}
    """
    assert when(text.strip()).conditions == (
        OneOf("service", ("payment-service",)),
        OneOf("team", ("payments",)),
        OneOf("environment", ("prod", "staging")),
        Compared("tier", "<=", 1),
        OneOf("severity", ("critical", "error")),
        OneOf("state", ("acknowledged",)),
        OneOf("suspect", ("", "cart")),
        Compared("probability", ">=", 0.8),
        OneOf("phase", ("switched", "live")),
        OneOf("colour", ("green",)),
        Compared("since_switch", "<=", timedelta(minutes=90)),
        Compared("age", ">=", timedelta(minutes=10)),
        Compared("size", ">=", 3),
        OneOf("flapping", (True,)),
    )


@pytest.mark.parametrize(
    ("name", "words"), [("severity", Severity), ("state", STATES), ("phase", [*DeployPhase, "monitoring"])]
)
def test_every_word_of_ours_is_taken(name, words):
    """All severities, states and phases may be asked for."""
    assert when(f"{name}: [{', '.join(words)}]").conditions


@pytest.mark.parametrize(
    ("text", "path", "words"),
    [
        ("severity: fatal", "severity", "there are: critical, error, info"),
        ("severity: [critical, crit]", "severity[1]", "no severity is named 'crit'"),
        ("state: resolved", "state", "there are: acknowledged, held"),
        ("state: aknowledged", "state", "did you mean 'acknowledged'"),
        ("phase: switch", "phase", "did you mean 'switched'"),
        ("phase: [live, gone]", "phase[1]", "monitoring"),
        ("tier: 10", "tier", "at most 9"),
        ("tier: -1", "tier", "tiers are 0 to 9"),
        ("tier: 1.0", "tier", "whole number"),
        ("tier: []", "tier", "not a list of tiers"),
        ("tier: [1, '2']", "tier", "not a list of tiers"),
        ("tier: [1, true]", "tier", "not a list of tiers"),
        ("tier: true", "tier", "whole number"),
        ("tier: {a: 1}", "tier", "whole number"),
        ("tier: '=< 1'", "tier", 'for example "<= 1"'),
        ("tier: '<= 1 2'", "tier", "whole number"),
        ("tier: ''", "tier", "whole number"),
        ("size: [1, 2]", "size", "5, which means the same"),
        ("size: 2.5", "size", "whole number"),
        ("size: '>= many'", "size", ">= many"),
        ("size: 1000001", "size", "at most 1000000"),
        ("size: 99999999999", "size", "whole number"),
        ("probability: 80%", "probability", "from 0 to 1"),
        ("probability: 1.01", "probability", "at most 1"),
        ("probability: '>= -1'", "probability", "a number"),
        ("since_switch: 30m", "since_switch", '"<= 30m" for within'),
        ("age: 10m", "age", '">= 10m" for at least'),
        ("age: 10", "age", "30m"),
        ("age: '>= 10 minutes'", "age", "units are"),
        ("age: '>= 1m1h'", "age", "duration"),
        ("age: '>= 300y'", "age", "duration"),
        ("age: ['>= 1m']", "age", "duration"),
    ],
)
def test_what_cannot_be_read_is_refused_with_its_place(text, path, words):
    """Every mistake says where it is and what there is, and is left out."""
    _, (problem,) = read(text)
    assert (problem.file, problem.line, problem.path) == ("rules/a.yaml", 2, f"when.{path}")
    assert words in f"{problem.message}; {problem.hint}"


def test_all_mistakes_of_a_block_are_told():
    """One run shows everything, and what is right is kept."""
    found, problems = read("{severity: [fatal, dire], size: x, service: cart, age: x}")
    assert [p.path for p in problems] == ["when.severity[0]", "when.severity[1]", "when.age", "when.size"]
    assert OneOf("service", ("cart",)) in found.conditions


@pytest.mark.parametrize(
    "block",
    [
        {"service": []},
        {"service": [1]},
        {"service": ""},
        {"team": {"a": "b"}},
        {"flapping": "true"},
        {"services": "a"},
        {"suspect": ["x"] * 101},
    ],
)
def test_the_shape_is_checked(block):
    """Wrong types, unknown keys and endless lists do not get as far as a condition."""
    with pytest.raises(ValidationError):
        WhenModel.model_validate(block)


@given(
    st.dictionaries(
        st.sampled_from(["tier", "probability", "size", "age"]), st.integers() | st.floats() | st.text()
    )
)
def test_any_value_is_a_condition_or_a_problem(block):
    """Whatever is written as a number or time, reading it does not fail."""
    document, _ = yaml_loader.read(b"{}", "rules/a.yaml")
    problems = Problems()
    found = compiled(WhenModel.model_validate(block), document, ("when",), problems)
    assert len(found.conditions) + len(problems.found) == len(block)


# -- time


@pytest.mark.parametrize(
    ("text", "facts", "expected"),
    [
        ("age: '>= 10m'", Facts(age=4 * MINUTE), 6 * MINUTE),
        ("age: '>= 10m'", Facts(age=10 * MINUTE), None),
        ("age: '> 10m'", Facts(age=10 * MINUTE), STEP),
        ("age: '<= 10m'", Facts(age=4 * MINUTE), 6 * MINUTE + STEP),
        ("age: '< 10m'", Facts(age=4 * MINUTE), 6 * MINUTE),
        ("age: '== 10m'", Facts(age=10 * MINUTE), STEP),
        ("age: '!= 10m'", Facts(age=11 * MINUTE), None),
        ("age: '>= 10m'", Facts(), None),
        ("since_switch: '< 1h'", SUSPECTED, 30 * MINUTE),
        ("since_switch: '< 1h'", Facts(since_switch=MINUTE), None),
        ("{age: '>= 10m', since_switch: '< 1h'}", Facts(age=4 * MINUTE), 6 * MINUTE),
        ("{size: 5, service: a}", Facts(size=1), None),
        ("{size: 5, age: '>= 10m'}", Facts(size=1, age=ZERO), 10 * MINUTE),
    ],
)
def test_when_to_ask_again(text, facts, expected):
    """The time until a condition about time comes out differently, whatever the others say meanwhile."""
    assert when(text).next_change(facts) == expected


_TICKS = st.integers(-3, 12).map(lambda n: n * STEP)
_TIMED = st.builds(
    Compared,
    st.sampled_from(["age", "since_switch"]),
    st.sampled_from(["<", "<=", ">", ">=", "==", "!="]),
    st.integers(0, 10).map(lambda n: n * STEP),
)
_OTHER = st.sampled_from(
    [
        OneOf("suspect", ("",)),
        OneOf("suspect", ("any",)),
        OneOf("flapping", (False,)),
        Compared("size", ">=", 2),
        OneOf("service", ("a", "b")),
        OneOf("phase", ("live",)),
        Compared("probability", "!=", 0.5),
    ]
)
_FACTS = st.builds(
    Facts,
    service=st.sampled_from(["", "a", "c"]),
    suspect=st.sampled_from(["", "cart"]),
    phase=st.sampled_from(["", "live"]),
    probability=st.none() | st.floats(0, 1),
    size=st.none() | st.integers(0, 3),
    age=st.none() | _TICKS,
    since_switch=st.none() | _TICKS,
    flapping=st.booleans(),
    suspect_known=st.booleans(),
)
_WHENS = st.lists(_TIMED | _OTHER, max_size=4).map(lambda found: When(tuple(found)))


def later(facts, ticks):
    """Return the facts after only time has passed."""
    age, since = (None if each is None else each + ticks * STEP for each in (facts.age, facts.since_switch))
    return replace(facts, age=age, since_switch=since)


@given(_WHENS, _FACTS)
def test_nothing_changes_before_the_next_change(found, facts):
    """Tick by tick: until then every outcome stays, then one of a condition about time is another."""
    change = found.next_change(facts)
    assert change is None or change > ZERO
    until = 20 if change is None else change // STEP
    before = [finding.holds for finding in found.findings(facts)]
    for ticks in range(until):
        assert [finding.holds for finding in found.findings(later(facts, ticks))] == before
        assert found.holds(later(facts, ticks)) is found.holds(facts)
    if change is not None:
        assert [finding.holds for finding in found.findings(later(facts, until))] != before


@given(_WHENS, _FACTS)
def test_the_outcome_is_what_the_findings_say(found, facts):
    """The same facts have the same findings; the block holds where every one of them is true."""
    findings = found.findings(facts)
    assert findings == found.findings(facts)
    assert found.holds(facts) is all(finding.holds is True for finding in findings)
    assert all(finding.text.startswith(f"{finding.condition} is ") for finding in findings)


@given(st.sampled_from(["<", "<=", ">", ">=", "=", "==", "!="]), st.integers(0, 10**9))
def test_written_comparisons_read_back(op, milliseconds):
    """What a finding says was wanted is read as the same condition."""
    duration = durations.render(timedelta(milliseconds=milliseconds))
    (condition,) = when(f"age: '{op} {duration}'").conditions
    (again,) = when(f"age: '{condition.wanted}'").conditions
    assert again == condition
