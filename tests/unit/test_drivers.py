"""The drivers of one process: what a rulebook may not ask of it, and what changes with the rules."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from router import settings
from router.app import load_rules
from router.drivers import Drivers, is_loopback, notifier_specs, sources_of
from router.kit import loader
from router.model.errors import ConfigError
from tests.fakes.samples import ManualClock
from tests.unit.rulebook.helpers_rulebook import LEAST, write

if TYPE_CHECKING:
    from pathlib import Path

    from router.rulebook.book import Rulebook

MAPPING = "{name: %s, starts_at: '{at}', labels: {alertname: '{name}'}}"
OFF = "0.0.0.0:8080"
PAGER = "receivers: [{name: page, pagerduty_configs: [{routing_key_env: PD_KEY}], log_configs: [{}]}]"
KEY = "R" + "0" * 31


class Room:
    """A folder of rules, and drivers made of them."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def book(self, text: str = "") -> Rulebook:
        return load_rules(write(self.root, least=LEAST, more=text))

    def drivers(self, text: str = "", **environ: str) -> Drivers:
        return Drivers(settings.load(environ), environ, ManualClock(), self.book(text))

    def problems(self, text: str = "", **environ: str) -> list[tuple[str, str, str]]:
        with pytest.raises(ConfigError) as caught:
            self.drivers(text, **environ)
        return [(p.file, p.path, f"{p.message} ({p.hint})") for p in caught.value.problems]


@pytest.fixture
def room(tmp_path: Path) -> Room:
    return Room(tmp_path)


def sources(*names: str) -> str:
    return f"sources: [{', '.join(MAPPING % n for n in names)}]"


def kinds(package: str) -> set[str]:
    return set(loader.kinds(package))


# --- what there is ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("127.0.0.1", True),
        ("127.8.9.1", True),
        ("::1", True),
        ("localhost", True),
        ("0.0.0.0", False),
        ("::", False),
        ("10.0.0.1", False),
        ("router.example.com", False),
    ],
)
def test_loopback(host: str, expected: bool) -> None:
    """Only what nobody but this machine can reach is loopback; of names only localhost is."""
    assert is_loopback(host) is expected


def test_every_file_is_a_driver(room: Room) -> None:
    """Each source, notifier and poller of the product is there, and each mapping of the rules."""
    made = room.drivers(sources("zabbix"))
    assert set(made.sources) == kinds("router.sources") | {"zabbix"}
    assert set(made.notifiers) == set(notifier_specs()) == kinds("router.notify")
    assert {p.kind for p in made.pollers} == {f"{kind}_api" for kind in kinds("router.poll")}
    assert set(sources_of(room.book(sources("zabbix")))) == set(made.sources)


# --- check ------------------------------------------------------------------------------------------


def test_a_mapping_with_the_name_of_a_source_is_refused(room: Room) -> None:
    """Each of them is told, since deliveries could belong to either."""
    found = room.problems(sources("gitlab", "argocd", "mine"))
    assert [(f, p) for f, p, _ in found] == [("rules", "sources: argocd"), ("rules", "sources: gitlab")]
    assert "give the mapping another" in found[0][2]


def test_what_nobody_sends_is_refused(room: Room) -> None:
    """A secret for a source that is not there, or a watch for one, is a mistake; all are told at once."""
    found = room.problems(
        f"{sources('gitlab')}\nsenders: [{{source: zabix}}]",
        ROUTER_SOURCE_ZABBIX_SECRETS="a-secret-of-some-length",
    )
    assert [(f, p) for f, p, _ in found] == [
        ("rules", "sources: gitlab"),
        ("environment", "ROUTER_SOURCE_ZABBIX_SECRETS"),
        ("rules", "senders: zabix"),
    ]
    assert "there are: alertmanager" in found[1][2]


def test_mappings_and_pollers_may_be_watched(room: Room) -> None:
    """A mapping has a secret and a watch like any source; a poller may be watched by its own name."""
    text = f"{sources('zabbix')}\nsenders: [{{source: zabbix}}, {{source: gitlab_api}}, {{source: gitlab}}]"
    made = room.drivers(text, ROUTER_SOURCE_ZABBIX_SECRETS="a-secret-of-some-length")
    assert made.secrets["zabbix"] == (b"a-secret-of-some-length",)
    assert made.secrets["gitlab"] == ()


def test_off_loopback_somebody_must_be_heard(room: Room) -> None:
    """Where everybody can reach it and no source has a secret, nothing would be taken: that is refused."""
    ((file, path, words),) = room.problems(ROUTER_LISTEN=OFF)
    assert (file, path) == ("environment", "ROUTER_SOURCE_<KIND>_SECRETS")
    assert "0.0.0.0:8080 is not loopback" in words
    assert "ROUTER_ALLOW_OPEN_SOURCES" in words
    room.drivers(ROUTER_LISTEN=OFF, ROUTER_ALLOW_OPEN_SOURCES="true")
    room.drivers(ROUTER_LISTEN=OFF, ROUTER_SOURCE_GITLAB_SECRETS="a-secret-of-some-length")


def test_off_loopback_somebody_must_be_told(room: Room) -> None:
    """A target without its credentials would only be logged: it is refused unless that was asked for."""
    open_ = {"ROUTER_LISTEN": OFF, "ROUTER_ALLOW_OPEN_SOURCES": "true"}
    ((file, path, words),) = room.problems(PAGER, **open_)
    assert (file, path) == ("rules", "page/pagerduty/0")
    assert "PD_KEY" in words
    assert "would only be logged" in words
    assert room.drivers(PAGER, **open_, PD_KEY=KEY).log_only == {}
    assert set(room.drivers(PAGER, **open_, ROUTER_ALLOW_LOG_ONLY="true").log_only) == {"page/pagerduty/0"}


def test_an_address_without_its_token_is_refused(room: Room) -> None:
    """Polling needs both; with neither nothing is polled."""
    ((file, path, words),) = room.problems(ROUTER_GITLAB_API_URL="https://gitlab.example.com")
    assert (file, path) == ("environment", "ROUTER_GITLAB_API_TOKEN")
    assert "set both, or neither" in words
    assert room.drivers().polled == set()


def test_check_changes_nothing(room: Room) -> None:
    """A rulebook that is refused leaves the drivers as they were."""
    made = room.drivers(sources("zabbix"))
    before = (dict(made.sources), dict(made.secrets), dict(made.manners), dict(made.log_only))
    with pytest.raises(ConfigError):
        made.check(room.book(sources("gitlab")))
    made.check(room.book(f"{PAGER}\n{sources('other')}"))
    assert (made.sources, made.secrets, made.manners, made.log_only) == before


# --- follow -----------------------------------------------------------------------------------------


def test_mappings_come_and_go_in_place(room: Room) -> None:
    """Who holds the tables sees a new mapping at once, and no more of one that is gone; the rest stays."""
    made = room.drivers(sources("zabbix"))
    tables: tuple[dict[str, Any], ...] = (made.sources, made.secrets, made.manners)
    gitlab, first = made.sources["gitlab"], made.sources["zabbix"]
    made.follow(room.book(sources("other")))
    assert tables == (made.sources, made.secrets, made.manners)
    for table, now in zip(tables, (made.sources, made.secrets, made.manners), strict=True):
        assert table is now
        assert "other" in table
        assert "zabbix" not in table
    assert made.sources["gitlab"] is gitlab
    made.follow(room.book(sources("zabbix")))
    assert made.sources["zabbix"] is not first
    assert set(made.sources) == kinds("router.sources") | {"zabbix"}


def test_off_loopback_a_new_mapping_is_closed(room: Room) -> None:
    """What has no secret takes nothing where everybody can reach it; on loopback it takes whatever comes."""
    secret = {"ROUTER_SOURCE_GITLAB_SECRETS": "a-secret-of-some-length"}
    closed = room.drivers(ROUTER_LISTEN=OFF, **secret)
    closed.follow(room.book(sources("zabbix")))
    assert closed.secrets["zabbix"] is None
    assert closed.secrets["gitlab"] == (b"a-secret-of-some-length",)
    assert "zabbix" in closed.closed_sources
    assert closed.open_sources == []
    opened = room.drivers(**secret)
    opened.follow(room.book(sources("zabbix")))
    assert opened.secrets["zabbix"] == ()
    assert "zabbix" in opened.open_sources
    assert "gitlab" not in opened.open_sources
    assert opened.closed_sources == []


def test_who_tells_a_target(room: Room) -> None:
    """Its own notifier does, the log where credentials are missing; that follows the rules."""
    made = room.drivers()
    assert made.log_only == {}
    book = room.book(PAGER)
    page, log = book.receivers["page"].targets
    made.follow(book)
    assert made.notifier(page) is made.notifiers["log"]
    assert made.notifier(log) is made.notifiers["log"]
    keyed = room.drivers(PAGER, PD_KEY=KEY)
    assert keyed.notifier(page) is keyed.notifiers["pagerduty"]


def test_projects_that_are_polled_follow_the_rules(room: Room) -> None:
    """Projects are asked for by name; a pattern names none, and that is told where GitLab is polled."""
    text = "services: [{name: a, gitlab_projects: [shop/a, 'shop/a-{environment}']}]"
    polled = {"ROUTER_GITLAB_API_URL": "https://gitlab.example.com", "ROUTER_GITLAB_API_TOKEN": "t" * 20}
    made = room.drivers(**polled)
    assert made.polled == {"gitlab_api"}
    assert made.unpolled == []
    made.follow(room.book(text))
    assert made.unpolled == ["shop/a-{environment}"]
    assert room.drivers(text).unpolled == []


async def test_they_give_back_what_they_hold(room: Room) -> None:
    """Closing closes every notifier and poller."""
    await room.drivers().close()
