"""The exceptions that cross rooms.

Expected results are values (:mod:`router.model.outcomes`). These are the
caller's faults and the store's outages::

    RouterError
    ├── Rejected            a request we refuse, with its HTTP status
    ├── ConfigError         settings or rules that cannot be used
    ├── PollFailed          what we ask by ourselves did not answer as it should
    └── StoreError          the store did not do it
        ├── StoreUnavailable  it may or may not have been done
        └── Fenced            another process owns the partition now
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from collections.abc import Sequence

#: Error texts may quote what a sender wrote; more than this helps nobody and may hold a secret.
MAX_DETAIL = 300


class RouterError(Exception):
    """Base of all errors that this product raises on purpose."""


class Rejected(RouterError):  # noqa: N818  a refusal, not a failure of ours
    """A delivery or request that is refused for the sender's fault.

    Args:
        status: the HTTP status to answer.
        code: a short stable word, used as metric label and problem type.
        detail: what was wrong, where and what to do; bounded, without secrets.
    """

    def __init__(self, status: int, code: str, detail: str) -> None:
        super().__init__(detail[:MAX_DETAIL])
        self.status = status
        self.code = code
        self.detail = detail[:MAX_DETAIL]


class Problem(msgspec.Struct, frozen=True, gc=False):
    """One thing wrong in a configuration: where it stands, what it is, what to do."""

    file: str
    path: str
    message: str
    hint: str = ""
    line: int = 0

    def __str__(self) -> str:
        """Return ``file:line: path: message (hint)``."""
        where = f"{self.file}:{self.line}" if self.line else self.file
        path = f" {self.path}:" if self.path else ""
        hint = f" ({self.hint})" if self.hint else ""
        return f"{where}:{path} {self.message}{hint}"


class ConfigError(RouterError):
    """Settings or rules that cannot be used; holds every problem, not only the first."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__("\n".join(str(p) for p in problems))
        self.problems = tuple(problems)


class PollFailed(RouterError):  # noqa: N818  a state of the other side
    """Something that we ask by ourselves did not answer as it should.

    The text is for people: what happened and what to do, bounded and without secrets.
    """

    def __init__(self, detail: str) -> None:
        super().__init__(detail[:MAX_DETAIL])
        self.detail = detail[:MAX_DETAIL]


class StoreError(RouterError):
    """The store did not do what was asked."""


class StoreUnavailable(StoreError):  # noqa: N818  a state of the store
    """The store could not be reached or answered too late: done or not done is unknown."""


class Fenced(StoreError):  # noqa: N818  a state of ours
    """This process does not own the partition (any more); nothing was written."""
