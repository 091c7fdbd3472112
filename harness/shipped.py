"""What comes with nicproof beside its code: profiles, suites, requirements, the ledger of known issues."""

from pathlib import Path


def shipped(name: str) -> Path:
    """Return where the folder or file `name` lies: in the installed package, or in the source tree."""
    package = Path(__file__).resolve().parent
    installed = package / "_data" / name
    return installed if installed.exists() else package.parent / name
