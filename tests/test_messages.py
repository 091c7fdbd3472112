"""What the harness says while it works reaches the person: through the progress display, or on stderr without one."""

import io
import logging
from collections.abc import Iterator

import pytest

from harness.report.messages import show_messages
from harness.report.progress import ENVIRONMENT, ProgressDisplay


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    logger = logging.getLogger("harness")
    handlers, level = list(logger.handlers), logger.level
    logger.handlers.clear()
    yield
    logger.handlers[:] = handlers
    logger.setLevel(level)


def test_a_message_is_one_plain_line_on_stderr(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(ENVIRONMENT, raising=False)
    show_messages()
    show_messages()
    logging.getLogger("harness.cache").info("making %s", "the image")
    logging.getLogger("harness.cache").debug("nobody wants to know")
    logging.getLogger("elsewhere").info("not ours")
    assert capsys.readouterr().err == "nicproof: making the image\n"


def test_a_message_goes_to_the_progress_display_where_there_is_one(capsys: pytest.CaptureFixture[str]) -> None:
    stream = io.StringIO()
    display = ProgressDisplay(stream)
    display.start()
    try:
        show_messages()
        logging.getLogger("harness.cache").info("making the image")
    finally:
        display.stop()
    assert stream.getvalue() == "nicproof: making the image\n"
    assert capsys.readouterr().err == ""


def test_a_message_that_the_display_does_not_take_any_more_is_not_lost(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(ENVIRONMENT, "/nowhere/progress")
    show_messages()
    logging.getLogger("harness.cache").info("making the image")
    assert capsys.readouterr().err == "nicproof: making the image\n"
