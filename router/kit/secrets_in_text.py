"""Finds secrets in text: by the names before them, by their looks, and in URLs. For :mod:`router.kit.scrub`.

For strings that people wrote, and for what should be JSON and is not: broken, cut off, or of
another format. Every expression here is linear in the text: each starts only at a mark (a quote, a
separator, ``://``) and does not go back over what it has taken.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final, NamedTuple

SCRUBBED: Final = "[scrubbed]"

#: Names are compared by their end, without case, separators, plural and number, so ``X-Api-Key`` and
#: ``dbPassword2`` go. ``trigger_id``, ``response_url`` and ``webhook_url`` let whoever has them act in Slack.
#: Slack's ``authorizations`` and ``response_urls`` stay: lists of objects, whose secrets have names.
_SECRET: Final = re.compile(
    r"(?:(?:token|secret|password|passwd|passphrase|pwd|credential|cookie|signature|jwt|webhookurl"
    r"|(?:api|access|secret|private|signing|encryption|shared|routing|integration|service)key"
    r"|connectionstring|dsn)s?|authorization|triggerid|responseurl)\Z|\Asig\Z"
)
#: And by their words, wherever in the name: ``DB_PASSWORD_PROD``, ``secretValue``. No secrets are ``key``,
#: ``incident_key``, ``groupKey``, ``public_key``, ``tokenizer`` and ``author``.
_WORDS: Final = frozenset(
    ("password", "passwords", "passwd", "passphrase", "pwd", "secret", "secrets", "token", "credential",
     "credentials", "apikey", "apikeys", "bearer", "auth", "authorization", "kubeconfig")
)  # fmt: skip
_OF_KEY: Final = frozenset(
    ("api", "access", "secret", "private", "signing", "ssh", "encryption", "shared", "routing", "integration",
     "service", "hmac", "master")
)  # fmt: skip
_WORD: Final = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")
_SEPARATORS: Final = re.compile(r"[^a-z0-9]+")
_ESCAPED: Final = re.compile(r"\\+u([0-9a-fA-F]{4})")
#: Of a long name only the end matters; and a short name is worth remembering.
_MOST_NAME: Final = 200
_SHORT: Final = 64

#: A name and what parts it from its value. Quoted, also with the backslashes of JSON inside a string, ...
_QUOTED: Final = r"""(?<!\\)(?P<run>\\*+)(?P<quote>["'])(?P<name>[^"'\r\n]*+)(?P=quote)\s*+(?:=>|[:=])\s*+"""
#: ... or bare, as in forms, YAML and headers.
_BARE: Final = r"(?<![\w.\[\]-])(?P<bare>[\w.\[\]-]++)[ \t]*+(?P<by>[:=])[ \t]*+"
_ANY_NAME: Final = re.compile(f"{_QUOTED}|{_BARE}")

_OPENING: Final = re.compile(r"""(?P<run>\\*+)(?P<quote>["'])|(?P<bracket>[\[{])""")
_QUOTE: Final = re.compile(r"""(?<!\\)(?P<run>\\*+)(?P<quote>["'])""")
_QUOTE_OR_BRACKET: Final = re.compile(_QUOTE.pattern + r"|(?P<bracket>[\[\]{}])")
#: What follows the end of a JSON string; a quote before anything else was part of it.
_FOLLOWS: Final = re.compile(r"\s*+(?:[,}\]:\\]|\Z)")
_SHORT_STRING: Final = re.compile(r"""\\*+["']([^"'\\\r\n]{1,200})""")
_TO_SPACE: Final = re.compile(r"""[^\s,;&)}\]"'<>]*""")
_TO_COMMA: Final = re.compile(r'[^\r\n,;&}\])"]*')
_TO_LINE_END: Final = re.compile(r'[^\r\n"]*')
#: In a sentence: one word, with the scheme of an Authorization header before it, or a header's parts.
_TO_WORD_END: Final = re.compile(r"""(?i)(?:(?:bearer|basic|token|digest)[ \t]+)?[^\s,;&)}\]"'<>]*""")
_TO_QUOTE: Final = re.compile(r"""[^\r\n"']*""")
#: A name of several words, such as a header's; "token: expired" is a sentence.
_SEVERAL: Final = re.compile(r"[A-Za-z0-9][_-][A-Za-z]|[a-z][A-Z]").search

#: ``://user:password@``. A port is no password; nor is the tag of an image with a digest.
_USER: Final = r""":(?:\\*+/){2}[^\s/:@"'<>\[\]\\]{0,200}:(?!\d{1,5}(?:[/?#\s"'\\,)]|\Z))"""
_PASSWORD: Final = re.compile(rf"""({_USER})(?:(?!://)[^\s"'<>]){{1,300}}@(?!sha256:)""")
_CUT_PASSWORD: Final = re.compile(rf"""({_USER})[^\s"'<>]{{1,300}}\Z""")
#: Where a password may stand that was cut off.
_TAIL: Final = 600
#: A token in the user's place; people's names are shorter.
_TOKEN_USER: Final = re.compile(r"(:(?:\\*+/){2})[\w.~%-]{20,300}@")
#: URLs whose path is all it takes to post: incoming webhooks of Slack, Discord and Teams.
_HOOK: Final = re.compile(
    r"(?i)(hooks\.slack(?:-gov)?\.com|discord(?:app)?\.com(?:\\*+/)api(?:\\*+/)webhooks|webhook\.office\.com)"
    r"""(:\d{1,5})?(\\*+/|%2f)[^\s"'<>|)]*"""
)
_QUERY: Final = re.compile(r"""((?:(?<=[?&;])|\A)\s?([\w.\[\]%-]++)=)[^&;\s"'<>#]+""")
#: Tokens that tell what they are: GitLab's, Slack's, GitHub's, JSON web tokens, access keys of AWS. An escape
#: of JSON or of a URL may stand right before one.
_TOKEN: Final = re.compile(
    r"(?:(?<![A-Za-z0-9_-])|(?<=\\[nrt])|(?<=%[0-9A-Fa-f]{2}))"
    r"(?:gl(?:pat|dt|rt|rtr|ptt|cbt|soat|ft|imt|agent|oas)-[\w.-]{8,}+|xox[a-z]-[\w-]{8,}+"
    r"|xapp-[\w-]{8,}+|gh[opsur]_\w{8,}+|github_pat_\w{8,}+|A[KS]IA[0-9A-Z]{16}(?![A-Za-z0-9])"
    r"|eyJ[\w-]{8,}+\.(?:eyJ[\w-]*+|[\w-]++\.[\w-]++)(?:\.[\w-]*+)*+)"
)
_HEADER: Final = re.compile(
    r"""(?i)(authorization\\*+["']?\s{0,8}[:=]\s{0,8}\\*+["']?(?:bearer|basic|token)\s{1,8})[^\s"',;\\]+"""
)


# -- names


def _unescaped(name: str) -> str:
    if "\\u" in name:
        name = _ESCAPED.sub(lambda m: chr(int(m[1], 16)), name)
    return name[-_MOST_NAME:]


def _plain(name: str) -> str:
    return _SEPARATORS.sub("", _unescaped(name).lower()).rstrip("0123456789")


def _ends_secret(name: str) -> bool:
    return _SECRET.search(_plain(name)) is not None


def _names_secret(name: str) -> bool:
    if _ends_secret(name):
        return True
    before = ""
    for found in _WORD.findall(_unescaped(name)):
        word = found.lower()
        if word in _WORDS or (before in _OF_KEY and word in {"key", "keys"}):
            return True
        before = word
    return False


_remembered: Final = lru_cache(2048)(_names_secret)


def is_secret(name: str) -> bool:
    """True for a name whose value is a secret."""
    return _remembered(name) if len(name) <= _SHORT else _names_secret(name)


def is_variables(name: str) -> bool:
    """True for a name whose value is users' variables, as of a GitLab pipeline."""
    return name[-1:] in "sS" and _plain(name).endswith("variables")


def is_name(name: str) -> bool:
    """True for ``name`` and ``key``, whose value is a name."""
    return len(name) <= _SHORT and _plain(name) in {"name", "key"}


def is_value(name: str) -> bool:
    """True for what may hold the value that belongs to a ``name``: ``value``, ``values``, ``stringValue``."""
    return _plain(name).endswith(("value", "values"))


# -- strings


def links(text: str) -> str:
    """Return the text without the secrets in its URLs, query strings and headers, and without tokens."""
    text = _TOKEN.sub(SCRUBBED, text)
    if "=" in text:
        text = _QUERY.sub(lambda m: m[1] + SCRUBBED if is_secret(m[2]) else m[0], text)
    if ":" not in text and "." not in text:
        return text
    if "@" in text:
        text = _PASSWORD.sub(rf"\1{SCRUBBED}@", text)
        text = _TOKEN_USER.sub(rf"\1{SCRUBBED}@", text)
    text = _HOOK.sub(rf"\1\2\3{SCRUBBED}", text)
    return _HEADER.sub(rf"\1{SCRUBBED}", text)


def quoted(text: str) -> str:
    """Return a string without the secrets that it quotes or sets, and what :func:`links` finds.

    ``got {"token": "..."}``, ``export TOKEN=...``, ``X-Some-Token: ...``
    """
    if "=" in text or ":" in text:
        text = _replaced(text, _Search(text, whole=False).run())
    return links(text)


def broken(text: str) -> str:
    """Return what should be JSON or a form, and is not, without its secrets."""
    text = links(_replaced(text, _Search(text, whole=True).run()))
    return text[:-_TAIL] + _CUT_PASSWORD.sub(rf"\1{SCRUBBED}", text[-_TAIL:])


class _Span(NamedTuple):
    start: int
    end: int
    quote: str = ""


def _replaced(text: str, spans: list[_Span]) -> str:
    if not spans:
        return text
    out, at = [], 0
    for span in sorted(spans):
        if span.start >= at:
            out += [text[at : span.start], span.quote, SCRUBBED, span.quote]
        at = max(at, span.end)
    return "".join([*out, text[at:]])


class _Search:
    """One walk through a text, from name to name.

    ``whole``: the text is a body, so bare names count too, and the end of a string is
    told by what follows it; else it is a sentence that may quote something.
    """

    def __init__(self, text: str, *, whole: bool) -> None:
        self._text, self._whole = text, whole
        self._spans: list[_Span] = []
        #: Where a name that calls its value a secret ended, and where a value began whose name may follow.
        self._named = self._valued = -1

    def run(self) -> list[_Span]:
        """Return what is to go."""
        at = 0
        while (match := _ANY_NAME.search(self._text, at)) is not None:
            at = max(self._step(match), match.end())
        return self._spans

    def _step(self, match: re.Match[str]) -> int:
        """Look at one name; return where to go on."""
        bare = match["bare"] is not None
        name = (match["bare"] if bare else match["name"]).rstrip("\\")  # those of the quote after it
        if bare and not self._whole:
            return self._hide(match, name) if self._sets(match, name) else match.end()
        if is_secret(name) or is_variables(name) or name == "data_base64":
            return self._hide(match, name)
        if is_name(name):
            self._pair(match)
        elif is_value(name):
            if self._named >= 0 and "}" not in self._text[self._named : match.start()]:
                self._named = -1
                return self._hide(match, name)
            self._named, self._valued = -1, match.end()
        return match.end()

    def _sets(self, match: re.Match[str], name: str) -> bool:
        """True where a sentence sets a secret: ``TOKEN=x``, ``--password=x``, ``X-Some-Token: x``."""
        after = self._text[match.end() : match.end() + 1]
        if match["by"] == ":":
            return _SEVERAL(name) is not None and _ends_secret(name)
        tight = match.end("bare") + 1 == match.end()
        return tight and after not in {"", "=", "~", " ", "\n"} and is_secret(name)

    def _pair(self, match: re.Match[str]) -> None:
        """Of ``"name": "PASSWORD", "value": "..."``, in either order, the value goes."""
        self._named = -1
        told = _SHORT_STRING.match(self._text, match.end())
        if told is not None and is_secret(told[1]):
            self._named = match.end()
            if self._valued >= 0:
                value = self._value(self._valued, match.start())
                if not set("{}").intersection(self._text[value.end : match.start()]):
                    self._spans.append(value)
        self._valued = -1

    def _hide(self, match: re.Match[str], name: str) -> int:
        by = match["by"] if match["bare"] is not None else ""
        long = _plain(name).endswith(("authorization", "cookie", "cookies"))
        if self._whole:
            rest = _TO_LINE_END if long else _TO_SPACE if by == "=" else _TO_COMMA
        else:
            rest = _TO_QUOTE if long and by == ":" else _TO_WORD_END if by else _TO_COMMA
        span = self._value(match.end(), len(self._text), rest, strict=self._whole and not by)
        if span.quote:
            span = span._replace(quote="" if by else match["run"] + match["quote"])
        self._spans.append(span)
        return span.end

    def _value(
        self, at: int, limit: int, rest: re.Pattern[str] = _TO_COMMA, *, strict: bool = False
    ) -> _Span:
        """Return where the value that begins at ``at`` stands; one that does not end, ends at the limit.

        ``rest``: how far it goes where it is neither quoted nor bracketed. Its ``quote`` is what the
        replacement needs to be a string.
        """
        opening = _OPENING.match(self._text, at, limit)
        if opening is None:
            found = rest.match(self._text, at, limit)
            return _Span(at, found.end() if found else at, '"')
        if opening["bracket"]:
            return _Span(at, self._balanced(at, limit), '"')
        return _Span(opening.end(), self._close(opening, limit, strict=strict))

    def _close(self, opening: re.Match[str], limit: int, *, strict: bool) -> int:
        depth = len(opening["run"])
        for match in _QUOTE.finditer(self._text, opening.end(), limit):
            if match["quote"] != opening["quote"] or not _closes(depth, match):
                continue
            if len(match["run"]) < depth:  # the string around it ends here
                return match.start()
            if not strict or _FOLLOWS.match(self._text, match.end()):
                return match.end() - 1 - depth
        return limit

    def _balanced(self, at: int, limit: int) -> int:
        depth, mark, inside = 0, "", -1
        for match in _QUOTE_OR_BRACKET.finditer(self._text, at, limit):
            if match["bracket"] is None:
                mark = mark or match["quote"]
                if match["quote"] != mark:
                    continue
                if inside < 0:
                    inside = len(match["run"])
                elif _closes(inside, match):
                    inside = -1
            elif inside < 0:
                depth += 1 if match["bracket"] in "[{" else -1
                if depth == 0:
                    return match.end()
        return limit


def _closes(depth: int, match: re.Match[str]) -> bool:
    r"""True where this quote ends a string that began after ``depth`` backslashes.

    JSON inside a string doubles each backslash and adds one: its quotes stand after 1, 3, 7 ... of them.
    """
    run = len(match["run"])
    return run < depth or run % (2 * depth + 2) == depth
