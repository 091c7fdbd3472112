"""Patterns in files that say to what an entry applies, such as `virtio-net*`: one, or a list of which one must fit."""

from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field

from harness.nic import CATALOGUE
from harness.yaml_source import nearest


def matches(text: str, globs: Sequence[str]) -> bool:
    """Whether one of `globs` fits `text`; brackets stand for themselves, because pytest's ids have them."""
    return any(fnmatchcase(text, glob.replace("[", "[[]")) for glob in globs)


def _one_or_more(value: object) -> object:
    return (value,) if isinstance(value, str) else value


def each_fits_one_of(known: Sequence[str]) -> AfterValidator:
    """Refuse a glob that can never match: a misspelt entry would be silently dead."""

    def check(globs: tuple[str, ...]) -> tuple[str, ...]:
        for glob in globs:
            if not any(matches(name, [glob]) for name in known):
                raise ValueError(f"'{glob}' fits none; {nearest(glob, known)}")
        return globs

    return AfterValidator(check)


Globs = Annotated[tuple[Annotated[str, Field(min_length=1)], ...], BeforeValidator(_one_or_more), Field(min_length=1)]
NicGlobs = Annotated[Globs, each_fits_one_of(tuple(CATALOGUE))]
"""Of the NIC models."""
