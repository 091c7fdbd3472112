"""The JUnit report: whole and valid at every moment, for Jenkins and for GitLab, however the run ends."""

import signal
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import xmlschema
from junitparser import Error, Failure, JUnitXml, Skipped, TestCase

from harness.errors import NicproofError
from harness.report.junit import NOT_RUN, JunitReport
from harness.report.verdict import Outcome, TestName, Verdict

HERE = Path(__file__).parent
CELL = "linux/e1000e/msix"
TESTS = [f"suites/test_traffic.py::test_length[{length}]" for length in (60, 61, 1514)]
SCHEMAS = {reader: xmlschema.XMLSchema(HERE / f"junit-{reader}.xsd") for reader in ("jenkins", "gitlab")}


def valid_cases(path: Path) -> dict[str, TestCase]:
    """Read the report as its readers do: against both schemas, and with junitparser."""
    for schema in SCHEMAS.values():
        schema.validate(path)
    report = JUnitXml.fromfile(str(path))
    return {f"{case.classname}.{case.name}": case for suite in report for case in suite}


def verdict(test: str = TESTS[0], outcome: Outcome = Outcome.PASSED, message: str = "", **more: object) -> Verdict:
    return Verdict(CELL, test, outcome, 1.25, message, **more)  # type: ignore[arg-type]


def only_case(path: Path, test: str = TESTS[0]) -> TestCase:
    parts = TestName.parse(test)
    return valid_cases(path)[f"linux.e1000e.msix.{parts.module}.{parts.name}"]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "linux" / "junit.xml"


def test_a_test_of_a_single_file_outside_has_a_place(path: Path) -> None:
    report = JunitReport(path, {})
    report.plan(CELL, ["::test_mine[60]"], {})
    report.close()
    assert list(valid_cases(path)) == ["linux.e1000e.msix.outside.test_mine[60]"]


@pytest.fixture
def report(path: Path) -> JunitReport:
    return JunitReport(path, {"qemu": "10.0.13 debian:trixie"})


@pytest.mark.usefixtures("report")
def test_before_anything_is_planned_the_file_is_valid_and_says_that_nothing_ran(path: Path) -> None:
    (case,) = valid_cases(path).values()
    assert isinstance(case.result[0], Error)
    assert "ended before its tests were known" in case.result[0].message


def test_a_planned_test_without_verdict_is_an_error(report: JunitReport, path: Path) -> None:
    report.plan(CELL, TESTS, {})
    report.record(verdict())
    cases = valid_cases(path)
    assert len(cases) == len(TESTS)
    assert only_case(path).is_passed
    for test in TESTS[1:]:
        assert [(type(result), result.message) for result in only_case(path, test).result] == [(Error, NOT_RUN)]


@pytest.mark.parametrize(
    ("outcome", "kind"), [(Outcome.FAILED, Failure), (Outcome.ERROR, Error), (Outcome.SKIPPED, Skipped)]
)
def test_each_outcome_keeps_its_kind_and_its_text_begins_with_the_message(
    report: JunitReport, path: Path, outcome: Outcome, kind: type
) -> None:
    report.plan(CELL, TESTS, {})
    report.record(verdict(outcome=outcome, message="expected 60 bytes of the frame, saw 59", details="hexdump"))
    (result,) = only_case(path).result
    assert type(result) is kind
    assert result.message == "expected 60 bytes of the frame, saw 59"
    assert result.text.startswith("expected 60 bytes of the frame, saw 59\n\nhexdump")


def test_the_counts_of_suite_and_file_are_those_of_the_cases(report: JunitReport, path: Path) -> None:
    report.plan(CELL, TESTS, {})
    report.plan("linux/igb/msix", TESTS, {})
    report.record(verdict(TESTS[0], Outcome.FAILED, "expected a, saw b"))
    report.record(verdict(TESTS[1], Outcome.SKIPPED, "no control channel"))
    parsed = JUnitXml.fromfile(str(path))
    assert {suite.name: (suite.tests, suite.failures, suite.errors, suite.skipped) for suite in parsed} == {
        CELL: (3, 1, 1, 1),
        "linux/igb/msix": (3, 0, 3, 0),
    }
    assert (parsed.tests, parsed.failures, parsed.errors) == (6, 1, 4)
    assert parsed.time == pytest.approx(2.5)


def test_properties_of_run_and_cell_stand_in_the_suite_also_when_they_come_late(
    report: JunitReport, path: Path
) -> None:
    report.plan(CELL, TESTS, {"accel": "tcg"})
    report.cell_properties(CELL, {"kernel": "6.12.48+deb13-amd64"})
    valid_cases(path)
    (suite,) = JUnitXml.fromfile(str(path))
    assert {entry.name: entry.value for entry in suite.properties()} == {  # type: ignore[no-untyped-call]
        "qemu": "10.0.13 debian:trixie",
        "accel": "tcg",
        "kernel": "6.12.48+deb13-amd64",
    }


def test_facts_of_a_case_stand_one_a_line_at_the_head_of_its_output(report: JunitReport, path: Path) -> None:
    report.record(
        verdict(
            requirements=("82574 7.1.1", "802.3 4A.2"),
            properties={"witness device": "msix", "text": "two\nlines"},
            artifacts=Path("reports/x"),
            stdout="hello\n",
        )
    )
    assert only_case(path).system_out.splitlines() == [
        "[[PROPERTY|requirement=82574 7.1.1]]",
        "[[PROPERTY|requirement=802.3 4A.2]]",
        "[[PROPERTY|artifacts=reports/x]]",
        "[[PROPERTY|text=two lines]]",
        "[[PROPERTY|witness device=msix]]",
        "hello",
    ]


def test_characters_that_xml_forbids_are_written_out(report: JunitReport, path: Path) -> None:
    raw = "\x1b[31mred\x00\ud800\udc80\ufffe\x9b \r\nnext\rover\ttab \U0001f980"
    report.cell_properties(CELL, {"kernel\x01": "6.12\x02"})
    report.record(verdict(outcome=Outcome.FAILED, message=raw, details=raw, stdout=raw))
    seen = "\\x1b[31mred\\x00\\ud800\\udc80\\ufffe\\x9b \nnext\\x0dover\ttab \U0001f980"
    case = only_case(path)
    assert case.system_out == seen
    assert case.result[0].text == f"{seen}\n\n{seen}"
    assert case.result[0].message == "\\x1b[31mred\\x00\\ud800\\udc80\\ufffe\\x9b "


def test_markup_in_names_and_texts_stays_text(report: JunitReport, path: Path) -> None:
    test = 'suites/test_traffic.py::test_payload[<&"]]>]'
    report.record(verdict(test, Outcome.FAILED, "<failure> & ]]>", stdout="</system-out>"))
    case = only_case(path, test)
    assert case.name == 'test_payload[<&"]]>]'
    assert case.result[0].message == "<failure> & ]]>"
    assert case.system_out == "</system-out>"


def test_names_tell_profile_nic_mode_and_test_and_hold_nothing_of_the_run(report: JunitReport, path: Path) -> None:
    report.plan("linux-6.1/e1000e/msix", ["suites/test_traffic.py::TestV6::test_ping[fe80::1]"], {})
    (case,) = valid_cases(path).values()
    assert (case.classname, case.name) == ("linux-6.1.e1000e.msix.test_traffic.TestV6", "test_ping[fe80::1]")


def test_a_verdict_nobody_planned_is_added(report: JunitReport, path: Path) -> None:
    report.plan(CELL, TESTS[:1], {})
    report.record(verdict(TESTS[2]))
    assert only_case(path, TESTS[2]).is_passed
    assert len(valid_cases(path)) == 2


def test_a_run_that_cannot_start_leaves_one_error_that_says_why(report: JunitReport, path: Path) -> None:
    report.run_error("start", "no QEMU: found 7.2, needed 8.2\nuse --qemu debian:trixie")
    report.close()
    (case,) = valid_cases(path).values()
    assert (case.classname, case.name) == ("nicproof.run", "start")
    assert case.result[0].message == "no QEMU: found 7.2, needed 8.2"
    assert "use --qemu debian:trixie" in case.result[0].text


def test_a_run_that_selects_no_test_does_not_look_like_a_success(report: JunitReport, path: Path) -> None:
    report.close()
    (case,) = valid_cases(path).values()
    assert [(type(result), result.message) for result in case.result] == [(Error, "no test was selected")]


def test_a_time_too_short_for_plain_notation_stays_valid(report: JunitReport, path: Path) -> None:
    report.record(Verdict(CELL, TESTS[0], Outcome.PASSED, 0.0000123))
    assert only_case(path).is_passed


@pytest.mark.parametrize("outcome", [Outcome.FAILED, Outcome.ERROR, Outcome.SKIPPED])
def test_a_verdict_that_readers_would_take_for_passed_is_refused(outcome: Outcome) -> None:
    with pytest.raises(ValueError, match="needs a message"):
        verdict(outcome=outcome, message=" ")


def test_a_report_that_cannot_be_written_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "linux").write_text("in the way")
    with pytest.raises(NicproofError, match=r"^\S*/linux/junit\.xml: cannot write the JUnit report: [^\n]+$"):
        JunitReport(tmp_path / "linux" / "junit.xml", {})


def test_what_a_killed_run_left_of_a_write_is_removed_and_that_of_a_live_one_is_not(path: Path) -> None:
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    path.parent.mkdir()
    orphan, living = (path.with_name(f".junit.xml.{pid}.tmp") for pid in (dead.pid, 1))
    for file in (orphan, living):
        file.write_text("<half")
    JunitReport(path, {})
    assert not orphan.exists()
    assert living.exists()


def test_the_file_is_whole_whenever_it_is_read(report: JunitReport, path: Path) -> None:
    report.plan(CELL, TESTS, {})
    ended = threading.Event()
    reads: list[int] = []

    def read() -> None:
        while not ended.is_set():
            reads.append(sum(len(suite) for suite in JUnitXml.fromfile(str(path))))

    reader = threading.Thread(target=read)
    reader.start()
    while len(reads) < 20 and reader.is_alive():
        for test in TESTS:
            report.record(verdict(test, Outcome.FAILED, "expected a, saw b", details="x" * 100_000))
    ended.set()
    reader.join()
    assert len(reads) >= 20
    assert set(reads) == {len(TESTS)}


CHILD = """
import itertools, sys
from pathlib import Path
from harness.report.junit import JunitReport
from harness.report.verdict import Outcome, Verdict

report = JunitReport(Path(sys.argv[1]), {})
tests = [f"suites/test_traffic.py::test_length[{length}]" for length in range(1000)]
report.plan("linux/e1000e/msix", tests, {})
for number, test in enumerate(tests):
    report.record(Verdict("linux/e1000e/msix", test, Outcome.PASSED, 0.1, stdout="x" * 2000))
    print(number, flush=True)
"""


@pytest.mark.parametrize("delay_ms", [0, 3, 7, 13])
def test_a_killed_run_leaves_what_it_had_and_errors_for_what_it_had_not(path: Path, delay_ms: int) -> None:
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD, str(path)], stdout=subprocess.PIPE, text=True, cwd=HERE.parent
    )
    assert child.stdout is not None
    with child, child.stdout as lines:
        for line in lines:
            if line == "5\n":
                break
        time.sleep(delay_ms / 1000)  # not a wait: where in a write the kill falls
        child.send_signal(signal.SIGKILL)
        told = max([5, *(int(line) for line in lines)]) + 1
    cases = valid_cases(path)
    passed = [case for case in cases.values() if case.is_passed]
    not_run = [case for case in cases.values() if case.result and case.result[0].message == NOT_RUN]
    assert len(passed) in (told, told + 1)  # the last one may have been written and not yet told
    assert len(passed) + len(not_run) == len(cases) == 1000


def test_a_record_costs_less_than_10_ms_in_a_run_of_20_cells_with_70_tests_each(tmp_path: Path) -> None:
    report = JunitReport(tmp_path / "junit.xml", {})
    tests = [f"suites/test_traffic.py::test_length[{length}]" for length in range(70)]
    for number in range(20):
        report.plan(f"linux/nic{number}/msix", tests, {})
    took = []
    for test in tests:
        start = time.perf_counter()
        report.record(
            Verdict("linux/nic7/msix", test, Outcome.FAILED, 1.0, "expected a, saw b", "line\n" * 50, "line\n" * 200)
        )
        took.append(time.perf_counter() - start)
    assert statistics.median(took) < 0.010


BROKEN: dict[str, tuple[str, Callable[[str], str]]] = {
    "properties in a testcase": (
        "jenkins",
        lambda text: text.replace("<system-out>", "<properties /><system-out>"),
    ),
    "a count of disabled tests": ("jenkins", lambda text: text.replace(" errors=", ' disabled="0" errors=')),
    "a time with an exponent": ("jenkins", lambda text: text.replace('time="1.250"', 'time="1e-05"')),
    "a failure without text": ("gitlab", lambda text: text.replace(">expected a, saw b</failure>", "></failure>")),
    "two cases of one name": ("gitlab", lambda text: text.replace("test_length[61]", "test_length[60]")),
    "a case without classname": ("gitlab", lambda text: text.replace(" classname=", " class=")),
}


@pytest.mark.parametrize("defect", BROKEN)
def test_the_schemas_refuse_what_the_readers_cannot_use(report: JunitReport, path: Path, defect: str) -> None:
    report.plan(CELL, TESTS, {})
    report.record(verdict(outcome=Outcome.FAILED, message="expected a, saw b", stdout="out"))
    valid_cases(path)
    reader, breaking = BROKEN[defect]
    broken = breaking(path.read_text())
    assert broken != path.read_text()
    assert not SCHEMAS[reader].is_valid(broken)
