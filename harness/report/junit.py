"""The JUnit report of a run: complete and valid from its first moment to its last, however the run ends.

One testsuite per cell. A test case's classname is `<profile>.<nic>.<mode>.<module>`: Jenkins takes all before the last
dot for the package, so its package list is the list of cells; GitLab shows the classname as the suite. Names hold no
data of the run, so histories line up.

The file is one that the strictest reader takes. The Jenkins xunit plugin validates against its junit-10.xsd and
refuses the whole file for a <properties> or a file attribute in a testcase, so what is known of a single case stands at
the head of its <system-out>, one `[[PROPERTY|name=value]]` a line, a convention that test management tools read. GitLab
shows the text of a <failure> and never its message attribute, so the text begins with the message.
"""

import re
import xml.etree.ElementTree as ET
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Self

import junit_xml

from harness.report.verdict import Outcome, TestName, Verdict
from harness.whole_file import WholeFile

NOT_RUN = "not run: the run ended before this test"
NOT_PLANNED = "not run: the run ended before its tests were known"
_RUN = "nicproof"  # the suite of what belongs to no cell

# All but XML 1.0's Char production, and the control characters that it discourages (DEL and C1, without NEL).
_UNPRINTABLE = re.compile("[^\t\n\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufdcf\ufdf0-\ufffd\U00010000-\U0010ffff]")


def visible(text: str) -> str:
    r"""Return `text` with every character that XML forbids written out: ESC as `\x1b`, a lone surrogate as `\udc80`."""
    return _UNPRINTABLE.sub(lambda found: _escape(ord(found[0])), text.replace("\r\n", "\n"))


def _escape(code: int) -> str:
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"


_COUNTS = ("tests", "failures", "errors", "skipped")


@dataclass(frozen=True)
class _Case:
    """One case's finished text, and what it adds to its suite's counts."""

    text: bytes
    counts: dict[str, int]
    seconds: float

    @classmethod
    def of(cls, case: junit_xml.TestCase) -> Self:
        """Render a case, once: a run writes its file as often as it has tests."""
        suite = junit_xml.TestSuite("", [case]).build_xml_doc()
        ET.indent(suite)
        counts = {key: int(suite.get(key)) for key in _COUNTS}
        return cls(
            b"  " + ET.tostring(suite.find("testcase"), encoding="utf-8").strip(), counts, float(suite.get("time"))
        )


@dataclass
class _Suite:
    """One cell's cases, and its finished text with its counts."""

    properties: dict[str, str]
    started: str
    cases: dict[str, _Case] = field(default_factory=dict)
    text: bytes = b""
    counts: dict[str, int] = field(default_factory=dict)
    seconds: float = 0.0

    def render(self, name: str) -> None:
        """Bring `text` and the counts up to date: the cost is this suite's, whatever the size of the run."""
        properties = {visible(key): visible(value) for key, value in self.properties.items()}
        suite = junit_xml.TestSuite(name, [], properties=properties, timestamp=self.started).build_xml_doc()
        cases = self.cases.values()
        self.counts = {key: sum(case.counts[key] for case in cases) for key in _COUNTS}
        self.seconds = sum(case.seconds for case in cases)
        for key, count in self.counts.items():
            suite.set(key, str(count))
        # What junit-xml writes and the xunit plugin refuses: a count of disabled tests, a time such as 1e-05.
        del suite.attrib["disabled"]
        suite.set("time", f"{self.seconds:.3f}")
        ET.indent(suite)
        opening, closing = _around(suite)
        self.text = b"\n".join([opening, *(case.text for case in cases), closing, b""])


def _around(element: ET.Element, *, xml_declaration: bool = False) -> tuple[bytes, bytes]:
    """Return what stands before and behind further children of an element."""
    closing = f"</{element.tag}>".encode()
    if not len(element):
        element.text = "\n"  # an opening and a closing tag
    whole = ET.tostring(element, encoding="utf-8", xml_declaration=xml_declaration)
    return whole.strip().removesuffix(closing).rstrip(), closing


class JunitReport:
    """Writes one JUnit file as the run goes.

    After each call the file on disk is whole: it is replaced, never written in place. A test that is planned and has no
    verdict is an error in it. Not thread-safe: one process and thread (pytest's controller) owns it.

    Raises:
        NicproofError: the file cannot be written.
    """

    def __init__(self, path: Path, run_properties: Mapping[str, str]) -> None:
        """Write the file for the first time; `run_properties` (QEMU, acceleration, ...) go into every suite."""
        self._file = WholeFile(path, "the JUnit report")
        self._run_properties = dict(run_properties)
        self._suites: dict[str, _Suite] = {}
        self._placeholder = True  # until something is planned or fails: an empty file reads as success
        self._add_run_case("plan", NOT_PLANNED)
        self._write()

    def plan(self, cell_id: str, tests: Iterable[str], properties: Mapping[str, str]) -> None:
        """Announce a cell's tests: each is an error ("not run") until its verdict comes."""
        self._drop_placeholder()
        suite = self._suite(cell_id)
        suite.properties.update(properties)
        for test in tests:
            if test not in suite.cases:
                case = _case(cell_id, test, 0.0)
                case.add_error_info(NOT_RUN, NOT_RUN)
                suite.cases[test] = _Case.of(case)
        self._write(cell_id)

    def record(self, verdict: Verdict) -> None:
        """Put `verdict` in the place of what stood for its test; one that was not planned is added."""
        self._drop_placeholder()
        self._suite(verdict.cell_id).cases[verdict.test] = _Case.of(_judged(verdict))
        self._write(verdict.cell_id)

    def cell_properties(self, cell_id: str, properties: Mapping[str, str]) -> None:
        """Add what became known of a cell (guest kernel, driver version, ...), replacing what had the same name."""
        self._drop_placeholder()
        self._suite(cell_id).properties.update(properties)
        self._write(cell_id)

    def run_error(self, name: str, message: str) -> None:
        """Say that the run itself failed: it could not start, or it ended before its time."""
        self._drop_placeholder()
        self._add_run_case(name, message)
        self._write()

    def close(self) -> None:
        """End the report. A run that planned nothing keeps an error that says so."""
        if self._placeholder:
            self._add_run_case("plan", "no test was selected")
        self._write()

    def _suite(self, name: str) -> _Suite:
        if name not in self._suites:
            now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S")
            self._suites[name] = _Suite(dict(self._run_properties), now)
        return self._suites[name]

    def _add_run_case(self, name: str, message: str) -> None:
        case = junit_xml.TestCase(visible(name), classname=f"{_RUN}.run")
        case.add_error_info(_first_line(visible(message)), visible(message))
        suite = self._suite(_RUN)
        suite.cases[name] = _Case.of(case)
        suite.render(_RUN)

    def _drop_placeholder(self) -> None:
        if self._placeholder:
            self._placeholder = False
            del self._suites[_RUN]

    def _write(self, changed: str | None = None) -> None:
        """Render the changed cell's suite and replace the file."""
        if changed is not None:
            self._suites[changed].render(visible(changed))
        suites = self._suites.values()
        root = ET.Element("testsuites", {"name": _RUN})
        for key in ("tests", "failures", "errors"):
            root.set(key, str(sum(suite.counts[key] for suite in suites)))
        root.set("time", f"{sum(suite.seconds for suite in suites):.3f}")
        opening, closing = _around(root, xml_declaration=True)
        self._file.write([opening, b"\n", *(suite.text for suite in suites), closing, b"\n"])


def _case(cell_id: str, test: str, seconds: float) -> junit_xml.TestCase:
    parts = TestName.parse(test)
    classname = ".".join([*cell_id.split("/"), parts.module])
    return junit_xml.TestCase(visible(parts.name), classname=visible(classname), elapsed_sec=seconds)


def _first_line(message: str) -> str:
    return message.strip().partition("\n")[0]


def _judged(verdict: Verdict) -> junit_xml.TestCase:
    case = _case(verdict.cell_id, verdict.test, verdict.seconds)
    message = _first_line(visible(verdict.message))
    facts = [("requirement", requirement) for requirement in verdict.requirements]
    if verdict.known_issue:
        facts.append(("known_issue", verdict.known_issue))
    if verdict.artifacts:
        facts.append(("artifacts", str(verdict.artifacts)))
    footer = "\n".join(f"{key}: {value}" for key, value in facts)
    blocks = [verdict.message.strip(), verdict.details.strip("\n"), footer]
    text = visible("\n\n".join(block for block in blocks if block))
    match verdict.outcome:
        case Outcome.FAILED:
            case.add_failure_info(message, text)
        case Outcome.ERROR:
            case.add_error_info(message, text)
        case Outcome.SKIPPED:
            case.add_skipped_info(message, text)
    # One line each, whatever a value holds, so that the reader of one line has the whole value.
    lines = [
        f"[[PROPERTY|{key}={' '.join(value.split())}]]" for key, value in [*facts, *sorted(verdict.properties.items())]
    ]
    case.stdout = visible("\n".join([*lines, verdict.stdout]).strip("\n"))
    return case
