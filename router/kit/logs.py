"""Structured logs: for a person where there is a terminal, JSON lines otherwise.

Values that senders chose are always values, never part of the event's name, so the
renderers escape them; a line of log cannot be forged. Tracebacks show code, never the values
of variables.
"""

from __future__ import annotations

import logging
import sys

import structlog


def configure(*, style: str, level: str) -> None:
    """Set up structlog for the process; ``style`` is auto, console or json."""
    number = logging.getLevelNamesMapping()[level.upper()]
    console = style == "console" or (style == "auto" and sys.stderr.isatty())
    renderer = (
        # Left to itself it would take rich or better-exceptions where they are installed, and those print
        # local variables: headers and bodies, with the secrets in them.
        structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)
        if console
        else structlog.processors.JSONRenderer()
    )
    processors = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        *([] if console else [structlog.processors.format_exc_info]),
        renderer,
    ]
    structlog.configure(
        processors=processors,
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    # Libraries log through the standard library; only their warnings matter here.
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr, format="%(name)s %(levelname)s %(message)s")
    logging.getLogger("aiohttp.server").setLevel(
        logging.CRITICAL
    )  # a traceback per aborted body floods the log
