"""What the harness says while it works (images built, downloads awaited), as plain lines for a person."""

import logging
import sys

from harness.report.progress import report_line


class _Lines(logging.Handler):
    """Hands each message to whoever shows progress; where nobody does, to stderr."""

    def emit(self, record: logging.LogRecord) -> None:
        line = f"nicproof: {record.getMessage()}"
        if not report_line(line):
            print(line, file=sys.stderr, flush=True)


def show_messages() -> None:
    """Show the harness's messages from level INFO on; may be called twice."""
    logger = logging.getLogger("harness")
    logger.setLevel(logging.INFO)
    if not any(isinstance(handler, _Lines) for handler in logger.handlers):
        logger.addHandler(_Lines())
