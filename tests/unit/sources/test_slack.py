"""How Slack's requests are read and answered, and how they prove themselves."""

from __future__ import annotations

import hashlib
import hmac
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import parse_qsl, urlencode

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from router.model.deliveries import Reply
from router.model.errors import Rejected
from router.model.events import UNDATED, Act, ActKind, Heartbeat, Trouble
from router.ports import Speaking
from router.sources import slack

PAYLOADS = Path(__file__).parents[2] / "payloads" / "slack"
NOW = datetime(2026, 11, 20, 10, 30, tzinfo=UTC)
INCIDENT = "7f3a9c21b04d55e0.2"
FORM = {"content-type": "application/x-www-form-urlencoded"}
EMPTY = Reply(200, b"", "text/plain")


def load(name):
    """Return recorded headers, names in lower case, and body."""
    headers = json.loads((PAYLOADS / f"{name}.headers.json").read_text())
    form = PAYLOADS / f"{name}.form.txt"
    body = form if form.exists() else PAYLOADS / f"{name}.json"
    return {k.lower(): v for k, v in headers.items()}, body.read_bytes()


def opened(name):
    """Return the fields of a recorded form; of an interaction its payload, decoded."""
    fields = dict(parse_qsl(load(name)[1].decode(), keep_blank_values=True))
    return json.loads(fields["payload"]) if "payload" in fields else fields


def form(**fields):
    """Return a form's bytes."""
    return urlencode(fields).encode()


def click(doc):
    """Return an interaction's bytes."""
    return form(payload=json.dumps(doc))


def command(text, **more):
    """Return the bytes of a slash command."""
    return form(**{**opened("command-help"), "text": text, **more})


def parse(body, headers=None):
    """Return what a body tells."""
    return slack.build().parse(headers or {}, body)


def recorded(name):
    """Return the one thing that a recorded delivery tells."""
    (told,) = parse(load(name)[1], load(name)[0])
    return told


def said(body):
    """Return the text with which a command is answered."""
    reply = slack.build().reply({}, body)
    assert (reply.status, reply.content_type) == (200, "application/json")
    answer = json.loads(reply.body)
    assert answer["response_type"] == "ephemeral"
    return answer["text"]


def refused(body):
    """Return the code and text with which a body is refused."""
    with pytest.raises(Rejected) as caught:
        parse(body)
    assert caught.value.status == 400
    return caught.value.code, caught.value.detail


# -- buttons


def test_a_press_of_acknowledge_is_an_act():
    """The press says who, when, which incident and on which message."""
    assert recorded("button-acknowledge") == Act(
        source="slack",
        event_id=f"slack:1795170590.194939:U0DANA001:acknowledge:{INCIDENT}",
        kind=ActKind.ACKNOWLEDGED,
        incident=INCIDENT,
        by="dana",
        by_id="U0DANA001",
        at=datetime(2026, 11, 20, 10, 29, 50, 194_939, tzinfo=UTC),
        word="block_actions",
        ref="C0ALERTS:1795169645.000100",
    )


def test_a_press_of_resolve_works_in_an_app_of_a_whole_organisation():
    """There the team is null; the action's id may go on after a colon."""
    act = recorded("button-resolve-enterprise")
    assert (act.kind, act.incident, act.by_id) == (ActKind.RESOLVED, INCIDENT, "U0DANA001")


@pytest.mark.parametrize(
    ("action", "kind"),
    [
        ("acknowledge", ActKind.ACKNOWLEDGED),
        ("acknowledge:", ActKind.ACKNOWLEDGED),
        ("acknowledge:7f3a:x", ActKind.ACKNOWLEDGED),
        ("resolve:1", ActKind.RESOLVED),
        ("ack", ActKind.OTHER),
        ("acknowledged", ActKind.OTHER),
        ("Acknowledge", ActKind.OTHER),
        ("resolve-all", ActKind.OTHER),
        (":resolve", ActKind.OTHER),
        ("", ActKind.OTHER),
        (None, ActKind.OTHER),
    ],
)
def test_only_our_own_action_ids_ask_for_something(action, kind):
    """Acknowledge and resolve, alone or before a colon; all else is told and asks for nothing."""
    doc = opened("button-acknowledge")
    doc["actions"][0]["action_id"] = action
    (act,) = parse(click(doc))
    assert act.kind is kind
    assert act.incident == ("" if kind is ActKind.OTHER else INCIDENT)


@pytest.mark.parametrize(
    "value", [None, "", 7, "click_me_123", "7f3a9c21b04d55e0", INCIDENT + "x", "x" * 2000]
)
def test_a_button_with_another_value_asks_for_nothing(value):
    """A value that is none of our incident ids comes from somebody else's button."""
    doc = opened("button-acknowledge")
    doc["actions"][0]["value"] = value
    (act,) = parse(click(doc))
    assert (act.kind, act.incident, act.text) == (ActKind.OTHER, "", "acknowledge")


def test_an_incident_may_be_chosen_from_a_menu():
    """A menu tells its value as the selected option."""
    doc = opened("button-acknowledge")
    del doc["actions"][0]["value"]
    doc["actions"][0]["selected_option"] = {"text": {"type": "plain_text", "text": "It"}, "value": INCIDENT}
    assert parse(click(doc))[0].incident == INCIDENT


def test_each_action_of_a_click_is_told_and_they_are_bounded():
    """Several actions are several acts; where there are too many, the rest is told as trouble."""
    doc = opened("button-acknowledge")
    doc["actions"] = [{**doc["actions"][0], "action_id": f"acknowledge:{i}"} for i in range(30)]
    told = parse(click(doc))
    assert len({t.event_id for t in told[:-1]}) == slack.MAX_ACTIONS
    assert isinstance(told[-1], Trouble)


def test_a_second_click_is_a_second_act_and_the_same_body_the_same():
    """The id holds the click's own time, so only a repeated delivery counts once."""
    doc = opened("button-acknowledge")
    first = parse(click(doc))[0].event_id
    assert first == parse(click({**doc, "trigger_id": "9.9.other"}))[0].event_id
    doc["actions"][0]["action_ts"] = "1795170591.000001"
    assert first != parse(click(doc))[0].event_id
    del doc["actions"][0]["action_ts"]
    without = parse(click(doc))[0]
    assert (without.at, without.incident) == (UNDATED, INCIDENT)
    assert without.event_id == parse(click(doc))[0].event_id


@pytest.mark.parametrize("user", [None, {}, {"id": ""}, {"name": "dana"}, "U0DANA001"])
def test_nobody_can_acknowledge(user):
    """Without the id of a person the press is trouble, and whatever else was done is a heartbeat."""
    doc = {**opened("button-acknowledge"), "user": user}
    assert isinstance(parse(click(doc))[0], Trouble)
    link = {**opened("button-link"), "user": user}
    assert parse(click(link)) == [Heartbeat(source="slack", kind="slack:nobody")]
    shortcut = {**opened("shortcut"), "user": user}
    assert parse(click(shortcut)) == [Heartbeat(source="slack", kind="slack:nobody")]


def test_a_person_without_a_name_is_known_by_the_id():
    """A name may be missing or stand under either key."""
    doc = opened("button-acknowledge")
    for user, by in (
        ({"id": "U1"}, "U1"),
        ({"id": "U1", "name": "d"}, "d"),
        ({"id": "U1", "username": "u"}, "u"),
    ):
        assert parse(click({**doc, "user": user}))[0].by == by


@pytest.mark.parametrize(
    ("changes", "ref"),
    [
        ({"channel": None}, "C0ALERTS:1795169645.000100"),
        ({"message": None}, "C0ALERTS:1795169645.000100"),
        ({"channel": None, "container": None}, ""),
        ({"message": None, "container": None}, ""),
        ({"channel": None, "container": None, "message": None, "view": {"id": "V1"}}, "V1"),
    ],
)
def test_a_click_names_its_message_as_far_as_it_can(changes, ref):
    """Channel and message stand in two places, and in a window in none."""
    (act,) = parse(click({**opened("button-acknowledge"), **changes}))
    assert (act.ref, act.incident) == (ref, INCIDENT)


def test_somebody_of_another_workspace_asks_for_nothing():
    """In a channel shared with another company its people see our buttons: their click is told only."""
    act = recorded("button-of-another-workspace")
    assert (act.kind, act.incident, act.text) == (ActKind.OTHER, "", "acknowledge")
    assert (act.by, act.by_id) == ("robin", "W0ELSE001")


@pytest.mark.parametrize(
    ("team", "theirs", "followed"),
    [
        ({"id": "T0SHOP001"}, "T0SHOP001", True),
        ({"id": "T0SHOP001"}, "T0ELSE001", False),
        ({"id": "T0ELSE001"}, "T0SHOP001", False),
        (None, "T0SHOP001", True),
        ({}, "T0SHOP001", True),
        ({"id": "T0SHOP001"}, None, True),
        ({"id": "T0SHOP001"}, "", True),
        ("T0ELSE001", "T0SHOP001", True),
    ],
)
def test_two_workspaces_differ_only_where_both_are_told(team, theirs, followed):
    """An app of a whole organisation has no team in its clicks, and old ones no team of the person."""
    doc = opened("button-acknowledge")
    doc["team"], doc["user"]["team_id"] = team, theirs
    (act,) = parse(click(doc))
    assert act.kind is (ActKind.ACKNOWLEDGED if followed else ActKind.OTHER)
    assert act.incident == (INCIDENT if followed else "")


# -- other interactions


@pytest.mark.parametrize(
    ("name", "word", "text"),
    [
        ("button-link", "block_actions", "open-incident"),
        ("shortcut", "shortcut", "checkout-status"),
        ("message-shortcut", "message_action", "add-note"),
        ("view-submission", "view_submission", "checkout-note"),
    ],
)
def test_what_else_people_do_is_told_and_asks_for_nothing(name, word, text):
    """Links, shortcuts and windows are acts of another kind, named by the app's own id of them."""
    act = recorded(name)
    assert (act.kind, act.word, act.text, act.incident) == (ActKind.OTHER, word, text, "")
    assert (act.by, act.by_id) == ("dana", "U0DANA001")


@pytest.mark.parametrize("name", ["view-closed", "block-suggestion"])
def test_what_nobody_did_is_a_heartbeat(name):
    """A closed window and a list that wants to be filled are counted only."""
    assert recorded(name) == Heartbeat(source="slack", kind=f"slack:{name.replace('-', '_')}")


def test_an_interaction_of_a_new_kind_is_another_act():
    """Slack adds kinds; a word that is none of its own form is told as other."""
    doc = opened("shortcut")
    assert parse(click({**doc, "type": "some_new_kind"}))[0].word == "some_new_kind"
    assert parse(click({**doc, "type": "Räume\x1b[2J"}))[0].word == "other"


@pytest.mark.parametrize("stamp", [None, "", "soon", "-1", "٣", "9" * 12, "99999999999.1", 7.5, "1.1234567"])
def test_a_time_that_is_none_leaves_the_act_undated(stamp):
    """Without a usable time an act is told all the same."""
    doc = opened("shortcut")
    assert parse(click({**doc, "action_ts": stamp}))[0].at == UNDATED


# -- commands


def test_a_command_is_an_act():
    """A command says who, where, when Slack sent it, and what was typed; its id is no secret."""
    act = recorded("command-acknowledge")
    assert act.event_id.startswith("slack:")
    assert act == Act(
        source="slack",
        event_id=act.event_id,
        kind=ActKind.ACKNOWLEDGED,
        incident=INCIDENT,
        by="dana",
        by_id="U0DANA001",
        at=NOW - timedelta(seconds=2),
        word="/incident",
        text="",
        ref="C0ALERTS",
    )


def test_a_command_may_hold_a_link_to_the_incident():
    """A link as Slack writes it names the incident at its end."""
    act = recorded("command-resolve-link")
    assert (act.kind, act.incident) == (ActKind.RESOLVED, INCIDENT)


@pytest.mark.parametrize("verb", ["ack", "acknowledge", "ACK", "Acknowledge", "resolve"])
@pytest.mark.parametrize(
    "named",
    [
        "{}",
        "  {}  ",
        "`{}`",
        '"{}"',
        "“{}”",
        "\u2018{}\u2019",
        "«{}»",
        "*{}*",
        "{}.",
        "&lt;https://router.example.com/incidents/{}&gt;",
        "<https://router.example.com/incidents/{}>",
        "<https://router.example.com/incidents/{}|the incident of prod>",
        "`<https://router.example.com/incidents/{}/>`",
        "https://router.example.com/incidents/{}?from=slack",
        "https://router.example.com/incidents/{}/#alerts",
        "https://router.example.com/?x=1&amp;y=2#/incidents/{}",
    ],
)
def test_an_incident_can_be_named_in_many_ways(verb, named):
    """Quotes of any keyboard, entities and links are undone."""
    (act,) = parse(command(f"{verb} {named.format(INCIDENT)}"))
    assert act.incident == INCIDENT
    assert act.kind is (ActKind.RESOLVED if verb == "resolve" else ActKind.ACKNOWLEDGED)


def test_an_id_in_capitals_or_with_zeros_is_the_same_incident():
    """People may type it by hand."""
    assert parse(command("ack 7F3A9C21B04D55E0.02"))[0].incident == INCIDENT


@pytest.mark.parametrize(
    "text",
    [
        "",
        "help",
        "ack",
        "ack ",
        f"{INCIDENT}",
        f"ack{INCIDENT}",
        f"silence {INCIDENT}",
        f"ack {INCIDENT} and {INCIDENT}",
        f"ack x{INCIDENT}",
        f"ack {INCIDENT}x",
        "resolve all",
        "ack <https://[router|x>",
        "ack &#27;[2J",
        "ack " + "<" * 2000,
    ],
)
def test_a_command_that_asks_for_nothing_known_is_another_act(text):
    """It is told with its text, cleaned and bounded."""
    (act,) = parse(command(text))
    assert (act.kind, act.incident) == (ActKind.OTHER, "")
    assert len(act.text) <= 1000
    assert "\x1b" not in act.text


@pytest.mark.parametrize(
    ("text", "kind", "more"),
    [
        ("ack {} on it", ActKind.ACKNOWLEDGED, {"text": "on it"}),
        ("unack {}", ActKind.UNACKNOWLEDGED, {"text": ""}),
        ("RESOLVE {} rolled &amp; back", ActKind.RESOLVED, {"text": "rolled & back"}),
        ("snooze {} 2h", ActKind.SNOOZED, {"until": timedelta(hours=2), "text": ""}),
        ("snooze <https://r.example.com/{}|a b> 1h30m after lunch", ActKind.SNOOZED,
         {"until": timedelta(minutes=90), "text": "after lunch"}),
        ("assign {} <@U0123|bo>", ActKind.REASSIGNED, {"to": "bo", "text": ""}),
        ("assign {} <@U0123>", ActKind.REASSIGNED, {"to": "U0123"}),
        ("assign {} @team pay", ActKind.REASSIGNED, {"to": "team pay"}),
        ("note {} the disk is full", ActKind.ANNOTATED, {"text": "the disk is full"}),
        ("confirm {}", ActKind.CONFIRMED, {"to": "", "text": ""}),
        ("refute {} pay/prod/1.42.0/1 it was the database", ActKind.REFUTED,
         {"to": "pay/prod/1.42.0/1", "text": "it was the database"}),
    ],
)  # fmt: skip
def test_each_act_has_its_words(text, kind, more):
    """What stands behind the incident is the note, the person or the time; a time counts from Slack's own."""
    (act,) = parse(command(text.format(INCIDENT)), {"x-slack-request-timestamp": str(int(NOW.timestamp()))})
    assert (act.kind, act.incident) == (kind, INCIDENT)
    for name, value in more.items():
        assert getattr(act, name) == (NOW + value if name == "until" else value)


@pytest.mark.parametrize(
    ("text", "said_"),
    [
        ("snooze {}", "how long"),
        ("snooze {} soon", "how long"),
        ("snooze {} 8d", "7 days"),
        ("snooze {} 0s", "how long"),
        ("assign {}", "whose"),
        ("assign {} @", "whose"),
        ("note {}", "noted"),
    ],
)
def test_what_an_act_lacks_is_said(text, said_):
    """The person is told, and nothing is done."""
    body = command(text.format(INCIDENT))
    assert parse(body)[0].kind is ActKind.OTHER
    assert said_ in said(body)


@pytest.mark.parametrize(
    "text",
    ["list", "list payment", "show {}", "why {}", "deploys", "silence {}", "silence {} 2h load test"],
)
def test_a_question_is_answered_later(text):
    """It is told as another act, and the answer comes by the talker."""
    body = command(text.format(INCIDENT))
    assert parse(body)[0].kind is ActKind.OTHER
    assert slack.build().reply({}, body).body == b""


def silence_window(matchers):
    doc = opened("view-submission")
    doc["view"]["callback_id"] = "silence"
    doc["view"]["state"]["values"] = {"matchers": {"matchers": {"value": matchers}}}
    return click(doc)


@pytest.mark.parametrize("matchers", ["a", 'a=~"("', 'a!="b"', "", "x" * 5000])
def test_a_window_says_what_is_wrong_in_it(matchers):
    """It stays open, with the trouble below the field; nothing is silenced."""
    answer = json.loads(slack.build().reply({}, silence_window(matchers)).body)
    assert answer["response_action"] == "errors"
    assert 0 < len(answer["errors"]["matchers"]) <= 150


def test_a_window_that_is_right_closes():
    """An empty answer closes it."""
    assert slack.build().reply({}, silence_window('service="pay", env=~"a|b"')).body == b""


def test_entities_are_undone_in_what_is_kept():
    """The text reads as it was typed."""
    assert recorded("command-other").text == "who deployed payment-service & why?"


def test_a_command_is_known_by_its_trigger():
    """Another trigger is another command; without one the body tells them apart."""
    first, again, other = (parse(command("x", trigger_id=t))[0] for t in ("1.2.a", "1.2.a", "1.2.b"))
    assert first.event_id == again.event_id != other.event_id
    one, two = (parse(command("x", trigger_id="", response_url=u))[0] for u in ("a", "b"))
    assert one.event_id != two.event_id


def test_a_command_without_its_time_is_undated():
    """The time is the header's, since the form has none."""
    assert parse(load("command-acknowledge")[1])[0].at == UNDATED


# -- events, and what is none of it


@pytest.mark.parametrize(
    ("name", "word"),
    [("url-verification", "url_verification"), ("event", "event"), ("app-rate-limited", "app_rate_limited")],
)
def test_events_are_heartbeats(name, word):
    """Nothing that is subscribed to is acted on."""
    assert recorded(name) == Heartbeat(source="slack", kind=f"slack:{word}")


def test_an_unknown_event_is_a_heartbeat():
    """Words that are not known are counted as one."""
    assert parse(b'{"type":"brand_new"}') == [Heartbeat(source="slack", kind="slack:other")]


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", "bad_body"),
        (b"a=b", "bad_body"),
        (b"ssl_check=2", "bad_body"),
        (b"command=&text=ack", "bad_body"),
        (b"command=%2Fincident&text=ack", "bad_body"),
        (b"a=b&" * 1000 + b"command=%2Fincident", "bad_body"),
        (b"{}", "bad_body"),
        (b'{"type":null}', "bad_body"),
        (b"payload=%7B%7D", "bad_body"),
        (b"payload=", "bad_json"),
        (b"payload=%5B%5D", "bad_json"),
        (b"[]", "bad_json"),
        (b"{", "bad_json"),
        (b"[" * 100_000, "bad_json"),
    ],
)
def test_what_is_no_request_of_slacks_is_refused(body, code):
    """It is refused by what is wrong with it."""
    assert refused(body)[0] == code


def test_what_would_let_others_act_is_never_kept():
    """Token, response_url and trigger_id are in no event and in no answer."""
    marks = {
        "token": "MARK-token",
        "response_url": "https://hooks.slack.com/MARK-url",
        "trigger_id": "1.2.MARK-trigger",
    }
    bodies = [form(**{**opened(n), **marks}) for n in ("command-acknowledge", "command-other")]
    bodies += [
        click({**opened(n), **marks})
        for n in (
            "button-acknowledge",
            "button-link",
            "shortcut",
            "message-shortcut",
            "view-submission",
            "view-closed",
        )
    ]
    bodies += [json.dumps({"type": "url_verification", "challenge": "x", **marks}).encode()]
    for body in bodies:
        reply = slack.build().reply({}, body)
        assert b"MARK" not in msgspec.json.encode(parse(body)) + (reply.body if reply else b"")
    assert "MARK" not in refused(form(**marks))[1]


def test_which_headers_are_kept():
    """Time and retries are kept, the signature is not."""
    headers, _ = load("event")
    kept = slack.build().manners.kept({**headers, "authorization": "x", "x-added": "x"})
    assert set(kept) == {
        "content-type",
        "user-agent",
        "x-slack-request-timestamp",
        "x-slack-retry-num",
        "x-slack-retry-reason",
    }


# -- answers


def test_the_challenge_is_answered_as_it_came():
    """Slack takes a URL for events only where it gets its challenge back."""
    headers, body = load("url-verification")
    challenge = json.loads(body)["challenge"].encode()
    assert slack.build().reply(headers, body) == Reply(200, challenge, "text/plain")


@pytest.mark.parametrize("challenge", [None, "", 7, [], "x" * 1001, "a\nb", "<b>ü</b>", "\x00"])
def test_only_a_plain_challenge_is_answered(challenge):
    """What is no short printable ASCII is not sent back."""
    body = json.dumps({"type": "url_verification", "challenge": challenge}).encode()
    assert slack.build().reply({}, body) is None


def test_a_command_is_told_what_is_being_done():
    """The person sees what was understood."""
    assert said(load("command-acknowledge")[1]).startswith(f"Acknowledging `{INCIDENT}`")
    assert said(load("command-resolve-link")[1]).startswith(f"Resolving `{INCIDENT}`")


def test_the_answer_promises_no_check_of_rights():
    """Everybody who can use the command may do this, so it says only what can keep it from being done."""
    assert said(load("command-acknowledge")[1]).endswith("if it is open.")


@pytest.mark.parametrize("text", ["", "help", "HELP"])
def test_help_says_what_works(text):
    """With no words or with help the person sees the commands, under the name that the app gave them."""
    answer = said(command(text, command="/page"))
    for verb in ("list", "show", "why", "ack", "resolve", "snooze", "assign", "note", "silence", "deploys"):
        assert f"`/page {verb} " in answer
    assert "`/page ack &lt;incident&gt; [note]`" in answer
    assert "I do not know" not in answer


def test_a_rollback_is_refused_in_words():
    """It is not there yet, and says so instead of being taken for a mistake."""
    assert "not in this release" in said(command(f"rollback {INCIDENT}"))


def test_what_was_typed_is_quoted_and_does_nothing():
    """Markup in it pings nobody, makes no link and does not leave its quotes."""
    answer = said(command("<!channel> &lt;!here&gt; `x` <https://evil.example|good> & " + "y" * 500))
    first = answer.partition("\n")[0]
    assert first.startswith("I do not know what to do with `&lt;!channel&gt; &lt;!here&gt; 'x' ")
    assert first.count("`") == 2
    assert "<" not in answer
    assert len(first) < 300


@pytest.mark.parametrize(
    "name",
    [
        "button-acknowledge",
        "button-link",
        "shortcut",
        "message-shortcut",
        "view-submission",
        "view-closed",
        "event",
        "app-rate-limited",
    ],
)
def test_clicks_and_events_are_answered_with_nothing(name):
    """Slack shows an error for anything else, and takes a body as an order."""
    assert slack.build().reply(*load(name)) == EMPTY


def test_a_list_that_wants_filling_gets_no_options():
    """Slack wants an answer of its own form there."""
    assert slack.build().reply(*load("block-suggestion")) == Reply(200, b'{"options":[]}')


@given(
    body=st.binary(max_size=80)
    | st.dictionaries(
        st.sampled_from(["command", "payload", "text", "ssl_check", "user_id"]), st.text(max_size=30)
    ).map(lambda fields: urlencode(fields, errors="replace").encode())
)
@example(b'{"type":"url_verification","challenge":{"a":1}}')
@example(b"payload=%7B%22type%22%3A1e999%7D")
@example(b"command=x&text=%ED%A0%80&user_id=%00")
def test_answering_raises_nothing(body):
    """Whatever the bytes, greeting and answering give an answer or none."""
    source = slack.build()
    for headers in ({}, FORM):
        assert source.greet(headers, body) in (None, EMPTY)
        reply = source.reply(headers, body)
        assert reply is None or reply.status == 200


# -- the unsigned check of the certificate


def test_it_speaks():
    """The web server asks it for greetings and answers."""
    assert isinstance(slack.build(), Speaking)


@pytest.mark.parametrize(
    "body",
    [
        b"ssl_check=1",
        b"ssl_check=1&token=fake-verification-value",
        b"token=x&ssl_check=1&command=%2Fincident&text=ack+7f3a9c21b04d55e0.2&user_id=U1",
        b"ssl_check=1&payload=%7B%22type%22%3A%22block_actions%22%7D",
    ],
)
def test_the_certificate_check_is_answered_and_nothing_is_done(body):
    """It comes unsigned; whatever else stands in it is not read, signed or not."""
    source = slack.build()
    assert source.greet(FORM, body) == EMPTY
    assert source.greet({"content-type": "Application/X-WWW-Form-Urlencoded; charset=utf-8"}, body) == EMPTY
    assert source.parse(FORM, body) == [Heartbeat(source="slack", kind="slack:ssl_check")]
    assert source.reply(FORM, body) == EMPTY


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        (FORM, b"ssl_check=0"),
        (FORM, b"ssl_check=11"),
        (FORM, b"ssl_check=%201"),
        (FORM, b"ssl_check="),
        (FORM, b"ssl_check"),
        (FORM, b"ssl_check=1&ssl_check=0"),
        (FORM, b"ssl_check=0&ssl_check=1"),
        (FORM, b"SSL_CHECK=1"),
        (FORM, b"command=%2Fincident&text=ssl_check%3D1"),
        (FORM, b"ssl_check=1&x=" + b"y" * 3000),
        (FORM, b"ssl_check=1" + b"&a=b" * 100),
        ({}, b"ssl_check=1"),
        ({"content-type": "application/json"}, b"ssl_check=1"),
        ({"content-type": "text/plain"}, b"ssl_check=1"),
        ({**FORM, "x-slack-signature": "v0=00"}, b"ssl_check=1"),
        ({"content-type": "application/json"}, b'{"ssl_check":"1"}'),
    ],
)
def test_nothing_else_is_greeted(headers, body):
    """Only a form whose one ssl_check is exactly 1, and which does not claim to be signed."""
    assert slack.build().greet(headers, body) is None


def test_no_recorded_delivery_is_greeted():
    """All that matters goes through the check of its signature."""
    for path in PAYLOADS.glob("*.headers.json"):
        headers, body = load(path.name.removesuffix(".headers.json"))
        unsigned = {k: v for k, v in headers.items() if k != "x-slack-signature"}
        assert slack.build().greet(unsigned, body) is None, path.name


# -- authenticity

KEY = b"fake-signing-secret"
BODY = b"command=%2Fincident&text=&user_id=U0DANA001"


def signed(body=BODY, *, key=KEY, moment=NOW, prefix="v0="):
    """Return the headers that sign the body."""
    stamp = str(int(moment.timestamp()))
    mac = hmac.new(key, f"v0:{stamp}:".encode() + body, hashlib.sha256).hexdigest()
    return {"x-slack-request-timestamp": stamp, "x-slack-signature": prefix + mac}


def verify(headers, secrets, body=BODY, now=NOW):
    """Return the matching index, or the status of the refusal."""
    try:
        return slack.build().verify(headers, body, secrets, now)
    except Rejected as refusal:
        return refusal.status


def test_the_published_example_is_accepted():
    """Secret, time, body and signature of Slack's page "Verifying requests from Slack" fit together here."""
    # In parts, since it looks like what somebody lost.
    secret = b"8f742231b10e8888" + b"abcd99yyyzzz85a5"
    hook = "%2F".join(
        [
            "https%3A%2F",
            "hooks.slack.com",
            "commands",
            "T1DC2JH3J",
            "397700885554",
            "96rGlfmibIGl" + "gcZRskXaIFfN",
        ]
    )
    body = (
        "token=xyzz0Wbap" + f"A4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow&channel_id=G8PSS9T3V"
        "&channel_name=foobar&user_id=U2CERLKJA&user_name=roadrunner&command=%2Fwebhook-collect&text="
        f"&response_url={hook}&trigger_id=398738663015.47445629121." + "803a0bc887a14d10" + "d2c447fce8b6703c"
    ).encode()
    headers = {
        "x-slack-request-timestamp": "1531420618",
        "x-slack-signature": "v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503",
    }
    then = datetime.fromtimestamp(1531420618, UTC)
    assert verify(headers, [b"other", secret], body, then) == 1
    assert verify(headers, [secret], body + b"&", then) == 401
    assert verify(headers, [secret], body, then + timedelta(seconds=301)) == 401
    (act,) = parse(body, headers)
    assert (act.word, act.by, act.at) == ("/webhook-collect", "roadrunner", then)


def test_the_vector_of_slacks_own_library_is_accepted(shared):
    """The example in the tests of slackapi/python-slack-sdk, with other secrets, fits too."""
    folder = shared / "corpus" / "slack"
    body = (folder / "slash-command__signature-test-vector.form.txt").read_bytes()
    headers = json.loads((folder / "slash-command__signature-test-vector.headers.json").read_text())
    then = datetime.fromtimestamp(1531420618, UTC)
    assert verify({k.lower(): v for k, v in headers.items()}, [b"FAKE_SIGNING_SECRET"], body, then) == 0


@pytest.mark.parametrize("seconds", [-301, -300, 0, 300, 301])
def test_a_signature_is_good_for_five_minutes(seconds):
    """An older request may be a replay; one from the future comes by a wrong clock."""
    answer = verify(signed(moment=NOW + timedelta(seconds=seconds)), [KEY])
    assert answer == (0 if abs(seconds) <= 300 else 401)


def test_a_signature_tells_which_secret_made_it():
    """While secrets are exchanged both count."""
    assert verify(signed(), [b"next", KEY]) == 1
    assert verify(signed(key=b"next"), [b"next", KEY]) == 0
    assert verify(signed(key=b""), [b"", KEY]) == 401


def test_a_signature_covers_time_and_bytes():
    """Changing either, or the version of the scheme, makes it void."""
    good = signed()
    assert verify(good, [KEY], BODY + b" ") == 401
    assert verify({**good, "x-slack-request-timestamp": str(int(NOW.timestamp()) + 1)}, [KEY]) == 401
    assert verify(signed(prefix="v1="), [KEY]) == 401
    assert verify(signed(prefix=""), [KEY]) == 401
    assert verify({"x-slack-signature": good["x-slack-signature"]}, [KEY]) == 401
    assert verify({"x-slack-request-timestamp": good["x-slack-request-timestamp"]}, [KEY]) == 401


@pytest.mark.parametrize("stamp", ["", "soon", "٣", "-1", "1e9", "9" * 13, " 1795170600", "1795170600.0"])
def test_a_timestamp_that_is_none_is_refused(stamp):
    """The time must be a whole number of seconds, as Slack sends it."""
    assert verify({**signed(), "x-slack-request-timestamp": stamp}, [KEY]) == 401


@pytest.mark.parametrize("junk", ["", "v0=", "v0=ü", "\udcff", "v0=" + "0" * 64, "v0:" + "0" * 64])
def test_a_signature_that_is_none_is_refused(junk):
    """Junk does not get in, and raises nothing else."""
    assert verify({**signed(), "x-slack-signature": junk}, [KEY]) == 401


def test_bytes_that_are_no_text_can_be_signed():
    """The signature is over the bytes, whatever they are."""
    assert verify(signed(b"\xff\xfe"), [KEY], b"\xff\xfe") == 0


# -- real bodies


def test_real_bodies_are_told(shared):
    """Each request in the tests of Slack's libraries is told; only an empty template of a command is not."""
    found = {}
    for path in sorted((shared / "corpus" / "slack").iterdir()):
        if path.name.endswith(".headers.json"):
            continue
        body = path.read_bytes()
        if path.name.startswith("command"):
            body = form(**json.loads(body))
        elif path.suffix == ".json" and not path.name.startswith(("event", "url")):
            body = form(payload=body.decode())
        try:
            (told,) = parse(body)
        except Rejected as refusal:
            found[path.name] = refusal.code
        else:
            found[path.name] = told.kind
    assert {n for n, word in found.items() if word == "bad_body"} == {
        "command__java-slack-sdk__SlashCommandPayload.json"
    }
    assert set(found.values()) <= {
        "bad_body",
        ActKind.OTHER,
        "slack:event",
        "slack:url_verification",
        "slack:ssl_check",
        "slack:block_suggestion",
        "slack:view_closed",
        "slack:nobody",
    }


@pytest.mark.parametrize(("action", "kind"), [("confirm", ActKind.CONFIRMED), ("refute", ActKind.REFUTED)])
def test_a_word_on_a_suspicion_names_its_deploy(action, kind):
    """Which deploy is meant stands in the button: another may be likelier by the time of the press."""
    doc = opened("button-acknowledge")
    doc["actions"][0] |= {"action_id": action, "value": f"{INCIDENT} payment-service/prod/1.42.0/1"}
    (act,) = parse(click(doc))
    assert (act.kind, act.incident, act.to) == (kind, INCIDENT, "payment-service/prod/1.42.0/1")
