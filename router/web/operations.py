"""What the API can do, as data: from it come the paths, who may use them, and the OpenAPI document."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from aiohttp import web

Handler: TypeAlias = "Callable[[web.Request], Awaitable[web.StreamResponse]]"


class Scope(StrEnum):
    """What a token allows."""

    READ = "read"
    ACT = "act"
    ROLLBACK = "rollback"


@dataclass(frozen=True, slots=True)
class Param:
    """A parameter of the query; ``schema`` as in OpenAPI. ``many``: it may be given several times."""

    name: str
    about: str
    schema: Mapping[str, Any]
    many: bool = False


@dataclass(frozen=True, slots=True)
class Operation:
    """One method of one path.

    Args:
        about: a sentence.
        answers: the types of what is answered, by status; None for a stream of lines.
        refusals: the statuses of problems that this operation may answer with; those that every one may
            (401, 403, 500, 503) are added by :mod:`router.web.openapi`.
        body: the type of the request's JSON body, None where it has none.
        optional_body: the body may be left out.
        media: further media types, of text, in which a 200 may be answered.
    """

    method: str
    path: str
    handler: Handler
    about: str
    answers: Mapping[int, Any]
    scope: Scope = Scope.READ
    refusals: tuple[int, ...] = ()
    query: tuple[Param, ...] = ()
    body: Any = None
    optional_body: bool = False
    media: tuple[str, ...] = ()
    path_words: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The operation's id: its handler's name; DELETE may share another one's."""
        owner, _, name = self.handler.__qualname__.rpartition(".")
        return f"{owner.lower()}_{name if self.method != 'DELETE' else 'delete'}"


LIMIT = Param("limit", "At most so many.", {"type": "integer", "minimum": 1, "maximum": 500, "default": 100})
