"""Settings: what the environment may say, how mistakes are told, and that secrets stay secret."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr, ValidationError

from router.settings import Settings, SettingsError, load, variables

REFERENCE = Path(__file__).parents[2] / "docs/reference/settings.md"
CANARY = "canary-7d1f-secret"


def problems(environ: dict[str, str]) -> dict[str, str]:
    """Return variable -> text of each problem that loading this environment has."""
    with pytest.raises(SettingsError) as caught:
        load(environ)
    assert str(caught.value).splitlines() == [str(p) for p in caught.value.problems]
    return {p.variable: str(p) for p in caught.value.problems}


def test_an_empty_environment_is_enough() -> None:
    """Without any variable the router serves loopback with an embedded server and strict durability."""
    settings = load({})
    assert (settings.host, settings.port) == ("127.0.0.1", 8080)
    assert settings.redis_url.get_secret_value() == ""
    assert settings.durability == "strict"
    assert settings.max_body == 8 * 1024 * 1024
    assert settings.source_secrets("alertmanager") == ()


def test_the_process_environment_is_not_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the given mapping counts, so that a test or a tool is never changed by its surroundings."""
    monkeypatch.setenv("ROUTER_PARTITIONS", "3")
    assert load({}).partitions == 16
    assert Settings().partitions == 16


def test_the_object_cannot_be_changed() -> None:
    """Settings are read once: assigning to one is an error."""
    with pytest.raises(ValidationError, match="frozen"):
        load({}).partitions = 2


def test_an_empty_variable_counts_as_unset() -> None:
    """Compose files and charts set variables to nothing; that means the default."""
    environ = dict.fromkeys(variables(), "")
    assert load(environ) == load({})


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        pytest.param("0.0.0.0:80", "0.0.0.0", 80, id="ipv4"),
        pytest.param("[::1]:8080", "::1", 8080, id="ipv6"),
        pytest.param("localhost:0", "localhost", 0, id="name-and-free-port"),
    ],
)
def test_listen_takes_host_and_port(text: str, host: str, port: int) -> None:
    """The listening address is a host and a port, IPv6 in brackets."""
    settings = load({"ROUTER_LISTEN": text})
    assert (settings.host, settings.port) == (host, port)


@pytest.mark.parametrize(
    "text", [":8080", "8080", "localhost", "::1:8080", "[::1]", "a:65536", "a b:1", "[x]:1", "a:²"]
)
def test_a_bad_listening_address_is_explained(text: str) -> None:
    """What is no host:port is refused under the variable's name, with the text that was given."""
    assert repr(text) in problems({"ROUTER_LISTEN": text})["ROUTER_LISTEN"]


@pytest.mark.parametrize(
    ("text", "size"),
    [("8MiB", 8 << 20), ("500 kB", 500_000), ("4096", 4096), ("1mib", 1 << 20), ("1024B", 1024)],
)
def test_sizes_have_units(text: str, size: int) -> None:
    """Sizes are bytes, or a number with a binary or decimal unit."""
    assert load({"ROUTER_MAX_BODY": text}).max_body == size


@pytest.mark.parametrize("text", ["8 apples", "-1", "1023", "257MiB", "1.5.0MiB", "nan"])
def test_sizes_that_make_no_sense_are_refused(text: str) -> None:
    """A size must be readable and within its bounds."""
    assert "ROUTER_MAX_BODY" in problems({"ROUTER_MAX_BODY": text})


@pytest.mark.parametrize(
    "url",
    [
        "redis://localhost",
        "redis://:p%40ss@redis:6379/2",
        "rediss://user:pw@redis.example.com:6380",
        "redis://[::1]:6379/0",
        "unix:///run/redis/redis.sock",
        "redis+sentinel://a:26379,b:26379,c/mymaster/0",
        "rediss+sentinel://:pw@[fd00::1]:26379,b/mymaster",
        "redis+cluster://a:6379,b:6379",
        "rediss+cluster://a/0",
        "redis://h/0?protocol=3",
    ],
)
def test_every_form_of_redis_url_is_taken(url: str) -> None:
    """Single server, socket, Sentinel and Cluster, with and without TLS."""
    assert load({"ROUTER_REDIS_URL": url}).redis_url.get_secret_value() == url


@pytest.mark.parametrize(
    "url",
    [
        f"http://:{CANARY}@h",
        f"redis://:{CANARY}@",
        f"redis://:{CANARY}@a,b",
        f"redis://:{CANARY}@h:99999",
        f"redis://:{CANARY}@h/zero",
        f"redis://:{CANARY}@[{CANARY}]:1",
        f"unix://:{CANARY}@",
        f"redis+sentinel://:{CANARY}@a:26379",
        f"redis+sentinel://:{CANARY}@a:26379/0",
        f"redis+cluster://:{CANARY}@a,b/1",
        CANARY,
    ],
)
def test_a_bad_redis_url_is_explained_without_its_password(url: str) -> None:
    """The problem says what is wrong with the URL and quotes none of it."""
    text = problems({"ROUTER_REDIS_URL": url})["ROUTER_REDIS_URL"]
    assert CANARY not in text


def test_urls_are_checked_and_trimmed() -> None:
    """Base URLs lose a trailing slash, but for Slack's, which needs one."""
    settings = load(
        {
            "ROUTER_EXTERNAL_URL": "https://router.example.com/",
            "ROUTER_SLACK_API_URL": "http://127.0.0.1:9/api",
        }
    )
    assert settings.external_url == "https://router.example.com"
    assert settings.slack_api_url == "http://127.0.0.1:9/api/"


@pytest.mark.parametrize(
    "url", ["router", "ftp://h", f"https://u:{CANARY}@h", "https://h/?q=1", "http://[", "http://h:x"]
)
def test_what_is_no_base_url_is_refused(url: str) -> None:
    """A base URL is http(s) with a host, without user and query; a password in it is not repeated."""
    assert CANARY not in problems({"ROUTER_EXTERNAL_URL": url})["ROUTER_EXTERNAL_URL"]


def test_all_problems_are_told_at_once() -> None:
    """One start tells everything that must be changed, each under its variable."""
    found = problems(
        {
            "ROUTER_PARTITIONS": "0",
            "ROUTER_DURABILITY": "eventual",
            "ROUTER_ALLOW_LOG_ONLY": "maybe",
            "ROUTER_LEASE_SECONDS": "nan",
            "ROUTER_INSTANCE": "a b",
            "ROUTER_API_TOKENS_FILE": "/does/not/exist",
            "ROUTER_LISTN": "x",
        }
    )
    assert len(found) == 7


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("ROUTER_LISTN", "ROUTER_LISTEN"),
        ("ROUTER_PARTITION", "ROUTER_PARTITIONS"),
        ("ROUTER_SLACK_TOKEN", "ROUTER_SLACK_BOT_TOKEN"),
        ("ROUTER_GITLAB_SECRETS", "ROUTER_SOURCE_GITLAB_SECRETS"),
        ("ROUTER_SOURCE_GITLAB_SECRET", "ROUTER_SOURCE_GITLAB_SECRETS"),
        ("ROUTER_LISTEN_FILE", "ROUTER_LISTEN"),
    ],
)
def test_an_unknown_setting_is_a_problem_with_a_hint(name: str, meant: str) -> None:
    """A misspelt variable must not be ignored in silence; the nearest real one is named."""
    assert f"did you mean {meant}?" in problems({name: "x"})[name]


def test_what_kubernetes_sets_for_a_service_called_router_is_ignored() -> None:
    """Service links share our prefix; nobody wrote them, so they are no mistake."""
    environ = {
        "ROUTER_SERVICE_HOST": "10.0.0.1",
        "ROUTER_SERVICE_PORT": "8080",
        "ROUTER_SERVICE_PORT_HTTP": "8080",
        "ROUTER_PORT": "tcp://10.0.0.1:8080",
        "ROUTER_PORT_8080_TCP": "tcp://10.0.0.1:8080",
        "ROUTER_PORT_8080_TCP_ADDR": "10.0.0.1",
        "ROUTER_REDIS_SERVICE_HOST": "10.0.0.2",
        "PAGERDUTY_PAYMENTS_ROUTING_KEY": "belongs to the rules",
    }
    assert load(environ) == load({})
    assert "ROUTER_PORT" in problems({"ROUTER_PORT": "8080"})


def test_several_secrets_are_split_and_kept_in_order() -> None:
    """Commas and new lines separate secrets, so that an old and a new one are valid together."""
    settings = load({"ROUTER_API_TOKENS": " one, two\nthree,,", "ROUTER_SOURCE_GITLAB_SECRETS": "new,öld"})
    assert [t.get_secret_value() for t in settings.api_tokens] == ["one", "two", "three"]
    assert settings.source_secrets("gitlab") == (b"new", "öld".encode())
    assert settings.source_secrets("alertmanager") == ()


def test_any_kind_of_source_may_have_secrets() -> None:
    """A new source needs no new setting: its kind is part of the variable's name."""
    settings = load({"ROUTER_SOURCE_MY_TOOL_SECRETS": "s"})
    assert settings.source_secrets("my_tool") == (b"s",)
    assert set(settings.webhook_secrets) == {"my_tool"}


def test_secrets_that_are_only_separators_are_refused() -> None:
    """A source with a variable but without a secret would be open by mistake."""
    assert "ROUTER_SOURCE_GITLAB_SECRETS" in problems({"ROUTER_SOURCE_GITLAB_SECRETS": ", ,"})


@pytest.mark.parametrize(
    "name", [v for v in variables() if v.endswith("_FILE")] + ["ROUTER_SOURCE_GITLAB_SECRETS_FILE"]
)
def test_every_secret_may_come_from_a_file(tmp_path: Path, name: str) -> None:
    """A secret's _FILE twin names a file that holds it; setting both is an error."""
    file = tmp_path / "secret"
    file.write_text("redis://:pw@h\n")
    direct = name.removesuffix("_FILE")
    assert load({name: str(file)}) == load({direct: "redis://:pw@h"})
    assert name in problems({name: str(file), direct: "redis://h"})[direct]


@pytest.mark.parametrize(
    "content", [None, b"", b" \n", b"\xff\xfe" + CANARY.encode(), CANARY.encode() * 5000]
)
def test_a_secret_file_that_cannot_be_used_is_named_by_its_variable(
    tmp_path: Path, content: bytes | None
) -> None:
    """Missing, empty, binary or huge: the problem names the variable and quotes neither content nor path."""
    file = tmp_path / CANARY
    if content is not None:
        file.write_bytes(content)
    text = problems({"ROUTER_SLACK_BOT_TOKEN_FILE": str(file)})["ROUTER_SLACK_BOT_TOKEN_FILE"]
    assert CANARY not in text


def test_a_wrong_value_in_a_file_is_told_under_the_file_variable(tmp_path: Path) -> None:
    """A person is sent to the variable that is set, not to its twin."""
    file = tmp_path / "url"
    file.write_text(f"mysql://:{CANARY}@h")
    text = problems({"ROUTER_REDIS_URL_FILE": str(file)})["ROUTER_REDIS_URL_FILE"]
    assert CANARY not in text


def test_secrets_do_not_print() -> None:
    """Neither repr nor str nor an error of any field shows a secret."""
    secret = {name: CANARY for name in variables() if f"{name}_FILE" in variables()}
    secret |= {
        "ROUTER_REDIS_URL": f"redis://:{CANARY}@h",
        "ROUTER_SOURCE_GITLAB_SECRETS": f"{CANARY},{CANARY}2",
    }
    settings = load(secret)
    assert CANARY not in repr(settings) + str(settings) + repr(settings.webhook_secrets)
    with pytest.raises(SettingsError) as caught:
        load({**secret, "ROUTER_PARTITIONS": "x", "ROUTER_REDIS_URL": CANARY})
    assert CANARY not in str(caught.value)
    assert caught.value.__cause__ is None


@given(
    st.dictionaries(
        st.sampled_from(variables()), st.text(st.characters(exclude_characters="\0"), max_size=40)
    )
)
def test_no_value_makes_anything_but_settings_or_their_error(environ: dict[str, str]) -> None:
    """Whatever stands in the variables, loading gives settings or problems, never another exception."""
    try:
        settings = load(environ)
    except SettingsError as error:
        told = [str(p) for p in error.problems]
    else:
        told = []
        assert settings.port >= 0
    assert all(len(text) < 400 for text in told)


def reference_rows() -> list[str]:
    """Return the rows that the reference's table must have, in order."""
    rows = []
    for name, field in Settings.model_fields.items():
        extra = field.json_schema_extra
        if not isinstance(extra, dict):
            continue  # webhook_secrets: a row of its own, below the table
        variable = f"`ROUTER_{name.upper()}`" + (" †" if extra["secret"] else "")
        rows.append(f"| {variable} | {extra['kind']} | {shown(name, field.default)} | {field.description} |")
    return rows


def shown(name: str, default: object) -> str:
    """Return a default as a person would write it into the environment."""
    if isinstance(default, SecretStr) or default in ("", ()):
        return "empty"
    if name == "max_body":
        return "`8MiB`"
    return f"`{str(default).lower() if isinstance(default, bool) else default}`".replace(".0`", "`")


def test_the_reference_lists_exactly_these_settings() -> None:
    """docs/reference/settings.md has a row for each setting, with its type, default and meaning."""
    rows = re.findall(r"^\| `ROUTER_(?!SOURCE).*$", REFERENCE.read_text(), re.MULTILINE)
    assert rows == reference_rows()
