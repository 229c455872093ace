"""The environment as one frozen, typed object.

Read once at start by ``app`` through :func:`load`, which is given the
environment as a mapping and looks at nothing else. All problems are told at
once, each under the variable that a person has to change. Secrets print as
stars, may hold in a file (the ``_FILE`` twin of their variable), and are never
quoted in an error. docs/reference/settings.md is the same table for people.
"""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from router.kit import values

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pydantic.fields import FieldInfo
    from pydantic_core import ErrorDetails

PREFIX: Final = "ROUTER_"
FILE: Final = "_FILE"
#: By feel: many times what a list of tokens needs, and far from filling memory if a wrong file is named.
MAX_SECRET_FILE: Final = 64 * 1024

_SOURCE = re.compile(r"ROUTER_SOURCE_([A-Z][A-Z0-9_]*)_SECRETS(_FILE)?")
#: Kubernetes sets these for any Service called router or router-..., see "Discovering services" in its docs.
_SERVICE_LINK = re.compile(
    r"ROUTER_(.+_)?(SERVICE_HOST|SERVICE_PORT(_.+)?|PORT_\d+_(TCP|UDP|SCTP)(_[A-Z]+)?)"
)


@dataclass(frozen=True, slots=True)
class SettingsProblem:
    """One thing wrong: the variable to change, what is wrong with it, what to do."""

    variable: str
    message: str
    hint: str = ""

    def __str__(self) -> str:
        """Return ``VARIABLE: message (hint)``."""
        hint = f" ({self.hint})" if self.hint else ""
        return f"{self.variable}: {self.message}{hint}"


class SettingsError(Exception):
    """Settings that cannot be used; holds every problem, not only the first."""

    def __init__(self, problems: Sequence[SettingsProblem]) -> None:
        super().__init__("\n".join(str(p) for p in problems))
        self.problems = tuple(problems)


def _setting(default: Any, kind: str, meaning: str, *, secret: bool = False, **limits: Any) -> Any:
    """Declare a setting; ``kind`` and ``meaning`` are columns of the table in docs/reference/settings.md."""
    return Field(default, description=meaning, json_schema_extra={"kind": kind, "secret": secret}, **limits)


Listen = Annotated[str, AfterValidator(lambda text: values.host_port(text) and text)]
RedisUrl = Annotated[SecretStr, AfterValidator(values.redis_url)]
Secrets = Annotated[tuple[SecretStr, ...], BeforeValidator(values.split)]
Email = Annotated[str, AfterValidator(values.email)]
Size = Annotated[int, BeforeValidator(values.size)]
Url = Annotated[str, AfterValidator(values.http_url)]
# slack_sdk joins by urljoin, which drops the last segment of a base without its slash.
SlashedUrl = Annotated[Url, AfterValidator(lambda url: url and f"{url}/")]
_NONE: Final = SecretStr("")


class Settings(BaseSettings):
    """What the environment says. Made by :func:`load`; tests may also call it with keywords."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, frozen=True, extra="forbid", hide_input_in_errors=True, allow_inf_nan=False
    )

    listen: Listen = _setting("127.0.0.1:8080", "host:port", "Where to serve HTTP; `[::1]:8080` for IPv6.")
    external_url: Url = _setting(
        "", "URL", "How people reach this router; links begin with it. Empty: no links."
    )
    rules: Path = _setting(Path("rules"), "folder", "The rulebook: every `*.yaml` in it.")
    data_dir: Path = _setting(Path("data"), "folder", "State of the embedded server; made if missing.")
    redis_url: RedisUrl = _setting(
        _NONE, "URL, secret", "External Redis or Valkey. Empty: embedded.", secret=True
    )
    redis_server: str = _setting("", "file", "The server binary to embed. Empty: the one that came along.")
    partitions: int = _setting(
        16, "number, 1 to 1024", "How many parts work is split into; fixed at first start.", ge=1, le=1024
    )
    durability: Literal["strict", "relaxed"] = _setting(
        "strict", "`strict` or `relaxed`", "Whether a store that can lose confirmed events is refused."
    )
    instance: str = _setting(
        "", "name", "This process among its replicas. Empty: derived.", pattern=r"^[A-Za-z0-9._:-]{0,128}$"
    )
    lease_seconds: float = _setting(
        10.0, "seconds, 1 to 300", "How long a silent replica keeps its partitions.", ge=1, le=300
    )
    max_body: Size = _setting(
        8 << 20, "size, 1KiB to 256MiB", "The largest request body that is taken.", ge=1 << 10, le=256 << 20
    )
    allow_open_sources: bool = _setting(
        False, "`true` or `false`", "Take webhooks of sources that have no secret. For trials on loopback."
    )
    allow_log_only: bool = _setting(
        False, "`true` or `false`", "Start although receivers lack credentials, and log instead."
    )
    api_tokens: Secrets = _setting(
        (), "secrets", "Bearer tokens of the HTTP API, for all of it.", secret=True
    )
    api_act_tokens: Secrets = _setting(
        (), "secrets", "The same, to read and to act (acknowledge, silence, replay, reload).", secret=True
    )
    api_read_tokens: Secrets = _setting(
        (), "secrets", "The same, to read. All three empty: open on loopback, else closed.", secret=True
    )
    pagerduty_events_url: Url = _setting("https://events.pagerduty.com", "URL", "PagerDuty's Events API.")
    pagerduty_api_url: Url = _setting("https://api.pagerduty.com", "URL", "PagerDuty's REST API.")
    pagerduty_api_token: SecretStr = _setting(
        _NONE,
        "secret",
        "Read-only API key, to ask PagerDuty whether it still sends webhooks. Empty: not asked.",
        secret=True,
    )
    pagerduty_write_token: SecretStr = _setting(
        _NONE,
        "secret",
        "API key that may change incidents, so that acts in Slack go in the person's name. Empty: by event.",
        secret=True,
    )
    pagerduty_from: Email = _setting(
        "", "e-mail", "PagerDuty user who notes on whose behalf the router acted. Empty: no notes."
    )
    alertmanager_api_url: Url = _setting(
        "", "URL", "Alertmanager's API, asked for alerts that ended untold. Empty: not asked."
    )
    alertmanager_api_token: SecretStr = _setting(
        _NONE, "secret", "Bearer token of that API. Empty: none is sent.", secret=True
    )
    alertmanager_api_external_url: str = _setting(
        "", "URLs", "Its `--web.external-url`, all of a pair's. Empty: the address above."
    )
    gitlab_api_url: Url = _setting(
        "", "URL", "GitLab's address, to poll for deployments that its webhooks lost. Empty: not polled."
    )
    gitlab_api_token: SecretStr = _setting(
        _NONE,
        "secret",
        "GitLab access token with the scope `read_api`; role Reporter, to see webhooks Maintainer.",
        secret=True,
    )
    gitlab_api_ca: str = _setting(
        "", "file", "Certificates by which GitLab's API is known. Empty: the system's."
    )
    argocd_api_url: Url = _setting(
        "", "URL", "Argo CD's API, to poll for syncs that its notifications lost. Empty: not polled."
    )
    argocd_api_token: SecretStr = _setting(
        _NONE, "secret", "Token of an Argo CD account that may get applications.", secret=True
    )
    argocd_api_ca: str = _setting(
        "", "file", "Certificates by which Argo CD's API is known. Empty: the system's."
    )
    poll_seconds: float = _setting(
        60.0, "seconds, 5 to 3600", "How long between two polls of an API.", ge=5, le=3600
    )
    slack_api_url: SlashedUrl = _setting("https://slack.com/api/", "URL", "Slack's Web API.")
    slack_bot_token: SecretStr = _setting(
        _NONE, "secret", "The Slack app's bot token, `xoxb-...`.", secret=True
    )
    slack_app_token: SecretStr = _setting(
        _NONE, "secret", "App-level token, `xapp-...`: clicks and commands by Socket Mode.", secret=True
    )
    log_format: Literal["auto", "console", "json"] = _setting(
        "auto", "`auto`, `console` or `json`", "`auto`: `console` on a terminal, else `json`."
    )
    log_level: Literal["debug", "info", "warning", "error"] = _setting(
        "info", "`debug`, `info`, `warning` or `error`", "The least level that is logged."
    )
    drain_seconds: float = _setting(
        20.0, "seconds, 0 to 600", "How long a stop waits for what is under way.", ge=0, le=600
    )
    delivery_timeout_seconds: float = _setting(
        10.0, "seconds, 0.1 to 120", "How long one delivery attempt may take.", ge=0.1, le=120
    )
    retention_days: float = _setting(
        7.0, "days, 0.01 to 366", "How long resolved incidents stay.", ge=0.01, le=366
    )
    #: By kind of source, from ``ROUTER_SOURCE_<KIND>_SECRETS``: a new source needs no new field.
    webhook_secrets: dict[str, Secrets] = Field(default_factory=dict)

    @classmethod
    def settings_customise_sources(cls, *_: Any, **sources: Any) -> tuple[PydanticBaseSettingsSource, ...]:
        """Leave only keywords: what :func:`load` was not given cannot change the result."""
        return (sources["init_settings"],)

    @property
    def host(self) -> str:
        """The host part of ``listen``, an IPv6 address without its brackets."""
        return values.host_port(self.listen)[0]

    @property
    def port(self) -> int:
        """The port part of ``listen``."""
        return values.host_port(self.listen)[1]

    def polling(self) -> dict[str, str]:
        """Return what pollers may read, secrets in clear: the APIs' settings and our own address."""
        names = [n for n in type(self).model_fields if "_api_" in n or n == "external_url"]
        found = {n: getattr(self, n) for n in names}
        return {n: v.get_secret_value() if isinstance(v, SecretStr) else str(v) for n, v in found.items()}

    def source_secrets(self, kind: str) -> tuple[bytes, ...]:
        """Return the secrets of this kind of source as bytes, in the order they were given; () if none."""
        return tuple(s.get_secret_value().encode() for s in self.webhook_secrets.get(kind.lower(), ()))


class Environment(PydanticBaseSettingsSource):
    """A given mapping as source of settings: names by prefix, ``_FILE`` twins, and what nobody reads.

    Empty variables count as unset, as compose files and Helm charts set them.
    """

    def __init__(self, settings_cls: type[BaseSettings], environ: Mapping[str, str]) -> None:
        super().__init__(settings_cls)
        self.environ = environ
        self.problems: list[SettingsProblem] = []
        self.names: dict[str, str] = {}  # field -> the variable it came from, for later problems

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        """Return (value, variable, False); the value is None where the variable is unset."""
        return (*self._text(f"{PREFIX}{field_name.upper()}", secret=_is_secret(field)), False)

    def __call__(self) -> dict[str, Any]:
        """Return the fields that the mapping sets; what is wrong is added to ``problems``."""
        values: dict[str, Any] = {}
        for name, field in self.settings_cls.model_fields.items():
            if name == "webhook_secrets":
                continue
            value, self.names[name], _ = self.get_field_value(field, name)
            if value is not None:
                values[name] = value
        values["webhook_secrets"] = self._webhook_secrets()
        self._report_unknown()
        return values

    def _text(self, variable: str, *, secret: bool) -> tuple[str | None, str]:
        """Return a variable's text and the name it was found under: its own or its ``_FILE`` twin's."""
        direct = self.environ.get(variable, "")
        twin = f"{variable}{FILE}"
        path = self.environ.get(twin, "") if secret else ""
        if direct and path:
            self._problem(variable, f"is set, and so is {twin}", "unset one of the two")
            return None, variable
        if path:
            return self._read(twin, path), twin
        return (direct.strip() or None), variable

    def _read(self, variable: str, path: str) -> str | None:
        # The path is not quoted: whoever confuses the twins puts the secret itself here.
        try:
            with Path(path).open("rb") as file:
                raw = file.read(MAX_SECRET_FILE + 1)
            text = raw.decode().strip()
        except OSError as exc:
            self._problem(variable, f"cannot read the file it names: {exc.strerror}", "name a readable file")
        except ValueError:  # not UTF-8, or a path with a NUL
            self._problem(variable, "the file it names is not UTF-8 text", "it should hold the secret alone")
        else:
            if len(raw) > MAX_SECRET_FILE:
                self._problem(variable, f"the file it names is larger than {MAX_SECRET_FILE} bytes")
            elif text:
                return text
            else:
                self._problem(variable, "the file it names is empty", "it should hold the secret alone")
        return None

    def _webhook_secrets(self) -> dict[str, str]:
        kinds = {m[1] for name in self.environ if (m := _SOURCE.fullmatch(name))}
        found: dict[str, str] = {}
        for kind in sorted(kinds):
            text, variable = self._text(f"{PREFIX}SOURCE_{kind}_SECRETS", secret=True)
            if text is not None and not values.split(text):
                self._problem(variable, "holds no secret, only separators")
            elif text is not None:
                found[kind.lower()] = text
        return found

    def _report_unknown(self) -> None:
        known = variables()
        # So that ROUTER_GITLAB_SECRET finds its way; any other kind works as well.
        near = [*known, *(f"{PREFIX}SOURCE_{k}_SECRETS" for k in ("ALERTMANAGER", "ARGOCD", "GITLAB"))]
        for name in sorted(n for n in self.environ if n.startswith(PREFIX)):
            if name in known or _SOURCE.fullmatch(name) or _is_service_link(name, self.environ[name]):
                continue
            close = difflib.get_close_matches(name, near, n=1, cutoff=0.7)
            hint = f"did you mean {close[0]}?" if close else "docs/reference/settings.md lists them"
            self._problem(name[:100], "no such setting", hint)

    def _problem(self, variable: str, message: str, hint: str = "") -> None:
        self.problems.append(SettingsProblem(variable, message, hint))


def _is_secret(field: FieldInfo) -> bool:
    extra = field.json_schema_extra
    return isinstance(extra, dict) and bool(extra.get("secret"))


def _is_service_link(name: str, value: str) -> bool:
    """True for what Kubernetes sets by itself in a namespace with a Service named router or router-..."""
    return bool(_SERVICE_LINK.fullmatch(name)) or (
        name.endswith("_PORT") and value.startswith(("tcp://", "udp://", "sctp://"))
    )


def variables() -> list[str]:
    """Return the names of all variables but those of sources: ``ROUTER_...`` and the secrets' twins."""
    names = []
    for name, field in Settings.model_fields.items():
        if name != "webhook_secrets":
            names.append(f"{PREFIX}{name.upper()}")
            if _is_secret(field):
                names.append(f"{PREFIX}{name.upper()}{FILE}")
    return names


def _explain(error: ErrorDetails, names: Mapping[str, str]) -> SettingsProblem:
    field = str(error["loc"][0])
    message = error["msg"].removeprefix("Value error, ").removeprefix("Input ")
    text = str(error["input"])
    # An "@" may be user:password@host in the wrong place.
    if "@" not in text and not _is_secret(Settings.model_fields[field]) and field != "webhook_secrets":
        message = f"{message}; it is {text[:60]!r}"
    return SettingsProblem(names.get(field, f"{PREFIX}{field.upper()}"), message)


def load(environ: Mapping[str, str]) -> Settings:
    """Return the settings that this environment makes.

    Raises:
        SettingsError: with every problem found: wrong values, unreadable files, unknown ``ROUTER_`` names.
    """
    source = Environment(Settings, environ)
    values = source()
    try:
        settings = Settings(**values)
    except ValidationError as exc:
        # "from None": pydantic's error holds the inputs, and some of them are secrets.
        wrong = [_explain(error, source.names) for error in exc.errors(include_url=False)]
        raise SettingsError([*wrong, *source.problems]) from None
    if source.problems:
        raise SettingsError(source.problems)
    return settings
