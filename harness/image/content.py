"""Hashes of what images are made of."""

import hashlib
import os
from pathlib import Path


def content_hash(path: Path) -> str:
    """Return the hash of a file, or of all files under a folder and their names, links not followed."""
    if path.is_file():
        with path.open("rb") as content:
            return hashlib.file_digest(content, "sha256").hexdigest()
    digest = hashlib.sha256()
    for folder, folders, names in os.walk(path):
        folders.sort()
        for name in sorted(names):
            file = Path(folder, name)
            if not file.is_symlink():
                digest.update(f"{file.relative_to(path)}\0{content_hash(file)}\n".encode())
    return digest.hexdigest()


def joined_hash(parts: list[str]) -> str:
    """Return a cache key for all parts together."""
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:24]
