"""The ledger of known issues: real, understood deviations that make a failure an expected one until they expire."""

import re
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path, PurePosixPath
from typing import Annotated, Self

from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.version import Version
from pydantic import BeforeValidator, ConfigDict, Field, model_validator

from harness.errors import InputError
from harness.globs import Globs, NicGlobs, each_fits_one_of, matches
from harness.nic import InterruptMode
from harness.profile import GuestOS
from harness.report.verdict import Outcome, Verdict
from harness.shipped import shipped
from harness.yaml_source import Facts, Mark, Text, read, validate


def _range(value: object) -> SpecifierSet:
    try:
        if isinstance(value, str) and value.strip():
            return SpecifierSet(value)
    except InvalidSpecifier:
        pass
    raise ValueError(f"is '{value}'; allowed: a version range such as '>=8.0,<12'")


_Range = Annotated[SpecifierSet, BeforeValidator(_range)]


class Scope(Facts):
    """Where a known issue holds: all of it must fit."""

    model_config = ConfigDict(arbitrary_types_allowed=True)  # for the ranges of versions

    profile: Globs = ("*",)
    os: GuestOS | None = None
    """What the guest runs, whatever its profile is called; any, if it is not given."""
    nic: NicGlobs
    mode: Annotated[Globs, each_fits_one_of(tuple(InterruptMode))]
    test: Globs
    """With or without the test file's directory; without parameters for all cases of a test."""
    qemu: _Range | None = None
    kernel: _Range | None = None
    """A kernel that nobody could ask for its version is in no range."""


class KnownIssue(Facts):
    """One entry of the ledger."""

    id: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
    title: Text
    scope: Scope
    cause: Text | None = None
    link: Text | None = None
    crash: Text | None = None
    """What QEMU's end or the guest's last words must hold, if the deviation is a crash: no other is covered."""
    race: Text | None = None
    """Between what the deviation is a race, if it is one: then the test passes whenever the race is won."""
    owner: Text
    expires: date
    """The last day on which the entry counts."""

    @model_validator(mode="after")
    def _is_understood(self) -> Self:
        if self.cause is None and self.link is None:
            raise ValueError(
                "has neither cause nor link; allowed: one or both, for what nobody understands is no known issue"
            )
        return self


def kernel_version(release: str) -> Version | None:
    """Return the version in a kernel's release name, or None if there is none.

    Samples (uname -r): 6.12.48+deb13-amd64, 6.1.0-40-amd64, 7.0-rc3, 6.12.0-rc7-next-20241115
    """
    found = re.match(r"(\d+(?:\.\d+)*)(?:[-~]?rc(\d+))?", release)
    return Version(found[1] + (f"rc{found[2]}" if found[2] else "")) if found else None


@dataclass(frozen=True)
class Ledger:
    """The known issues of one file."""

    entries: tuple[KnownIssue, ...]
    file: Path

    def match(
        self,
        profile: str,
        os: GuestOS,
        nic: str,
        mode: str,
        test: str,
        qemu_version: Version | None,
        kernel_release: str | None,
        today: date,
    ) -> KnownIssue | None:
        """Return the first entry that covers `test` on this cell and has not expired.

        Args:
            profile: The cell's profile.
            os: What that profile's guest runs.
            nic: The cell's NIC model.
            mode: The cell's interrupt mode.
            test: pytest's id without the cell.
            qemu_version: Of the QEMU that ran it; None, which is in no range, if the DUT is no virtual machine.
            kernel_release: What `uname -r` says in the guest; None if nobody could ask.
            today: The day of the run.
        """
        kernel = kernel_version(kernel_release) if kernel_release else None
        file, separator, rest = test.partition("::")
        names = {test, PurePosixPath(file).name + separator + rest}
        names |= {name.partition("[")[0] for name in names}
        for entry in self.entries:
            scope = entry.scope
            if (
                today <= entry.expires
                and matches(profile, scope.profile)
                and scope.os in (None, os)
                and matches(nic, scope.nic)
                and matches(mode, scope.mode)
                and any(matches(name, scope.test) for name in names)
                and (
                    scope.qemu is None
                    or (qemu_version is not None and scope.qemu.contains(qemu_version, prereleases=True))
                )
                and (scope.kernel is None or (kernel is not None and scope.kernel.contains(kernel, prereleases=True)))
            ):
                return entry
        return None

    def judge(
        self, verdict: Verdict, os: GuestOS, qemu_version: Version | None, kernel_release: str | None, today: date
    ) -> Verdict:
        """Return the verdict in the light of the ledger.

        A covered failure becomes a skip, a covered pass a failure unless it is a race. All else stays what it is: an
        error, a skip, and a crash unless the entry names this very one.
        """
        if verdict.outcome not in (Outcome.PASSED, Outcome.FAILED):
            return verdict
        profile, nic, mode = verdict.cell_id.split("/")
        issue = self.match(profile, os, nic, mode, verdict.test, qemu_version, kernel_release, today)
        if issue is None or (issue.race is not None and verdict.outcome is Outcome.PASSED):
            return verdict
        if verdict.crashed and (issue.crash is None or issue.crash not in verdict.message):
            return verdict
        if verdict.outcome is Outcome.PASSED:
            return replace(
                verdict,
                outcome=Outcome.FAILED,
                message=f"expected the failure of known issue {issue.id}, but the test passed: "
                f"delete the entry {issue.id} from {self.file.name}, or narrow its scope",
                known_issue=issue.id,
            )
        reasons = [f"cause: {issue.cause.strip()}" if issue.cause else "", f"link: {issue.link}" if issue.link else ""]
        return replace(
            verdict,
            outcome=Outcome.SKIPPED,
            message=f"known issue {issue.id}: {issue.title}",
            details="\n\n".join(part for part in [*reasons, verdict.message, verdict.details] if part),
            known_issue=issue.id,
        )

    def expired(self, today: date) -> tuple[KnownIssue, ...]:
        """Return the entries that count no more."""
        return tuple(entry for entry in self.entries if today > entry.expires)


def load_ledger(path: Path | None = None) -> Ledger:
    """Read the ledger at `path`, or the project's own.

    Raises:
        InputError: One line for each thing that is wrong: file, line, entry, field, what is allowed.
    """
    file = path or shipped("known_issues.yaml")
    root = read(file)
    listed = root.entries().get("known_issues")
    if listed is None or set(root.entries()) != {"known_issues"} or not isinstance(listed.value, list):
        raise InputError(f"{root.mark}: is no ledger; allowed: the single field known_issues with a list of entries")
    entries: dict[str, KnownIssue] = {}
    marks: dict[str, Mark] = {}
    problems: list[str] = []
    for number, node in enumerate(listed.value):
        named = node.entries().get("id")
        name = str(named.value) if named else f"known_issues[{number}]"
        try:
            entry = validate(KnownIssue, node, field=name)
        except InputError as error:
            problems.append(str(error))
            continue
        if entry.id in entries:
            problems.append(f"{node.mark}: {name}: id stands twice; first on line {marks[name].line}")
        entries[entry.id], marks[entry.id] = entry, node.mark
    if problems:
        raise InputError("\n".join(problems))
    return Ledger(tuple(entries.values()), file)
