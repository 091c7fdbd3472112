"""CDs: one is written beside the user's medium, and drivers are read from another."""

import io
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from pycdlib import PyCdlib
from pycdlib.pycdlibexception import PyCdlibException

from harness.errors import InputError

LABEL = "NICPROOF"


def write_cd(path: Path, files: Mapping[str, Path | bytes]) -> None:
    """Write a CD whose files have their names in Joliet, which Windows reads, and plain numbers in ISO 9660.

    Args:
        path: the image to make.
        files: content, or where it lies, by path with "/" between folders.
    """
    cd = PyCdlib()
    cd.new(interchange_level=1, joliet=3, vol_ident=LABEL)
    try:
        made: dict[PurePosixPath, str] = {PurePosixPath(): ""}
        for number, (name, content) in enumerate(sorted(files.items())):
            place = PurePosixPath(name)
            for folder in reversed(place.parents):
                if folder not in made:
                    made[folder] = f"{made[folder.parent]}/D{len(made):07d}"
                    cd.add_directory(made[folder], joliet_path=f"/{folder}")
            plain = f"{made[place.parent]}/F{number:07d}.;1"
            if isinstance(content, Path):
                cd.add_file(str(content), plain, joliet_path=f"/{name}")
            else:
                cd.add_fp(io.BytesIO(content), len(content), plain, joliet_path=f"/{name}")
        cd.write(str(path))
    finally:
        cd.close()


class DriverDisc:
    """A CD that somebody else has made, such as virtio-win's, for reading."""

    def __init__(self, path: Path, option: str) -> None:
        """Open it; `option` is what it was given by, for messages.

        Raises:
            InputError: it cannot be read as a CD.
        """
        self._cd, self._who = PyCdlib(), f"{option} {path}"
        try:
            self._cd.open(str(path))
        except OSError as error:
            raise InputError(f"{self._who}: {error.strerror}") from None
        except PyCdlibException as error:
            raise InputError(f"{self._who}: cannot be read as a CD: {error}") from None
        self._kind = "joliet_path" if self._cd.has_joliet() else "rr_path" if self._cd.has_rock_ridge() else "iso_path"

    def copy_folder(self, folder: str, into: Path) -> None:
        """Copy the files of a folder, whose letters' case does not matter, into a new folder.

        Raises:
            InputError: the disc has no such folder.
        """
        place = ""
        for wanted in folder.split("/"):
            there = [name for name, is_folder in self._children(place) if is_folder]
            match = [name for name in there if name.lower() == wanted.lower()]
            if not match:
                listed = ", ".join(sorted(there)) or "no folder"
                raise InputError(f"{self._who}: has no folder {folder}: in {place or '/'} there is {listed}")
            place = f"{place}/{match[0]}"
        into.mkdir(parents=True)
        for name, is_folder in self._children(place):
            if not is_folder:
                target = into / name.partition(";")[0]
                self._cd.get_file_from_iso(str(target), **{self._kind: f"{place}/{name}"})

    def _children(self, place: str) -> list[tuple[str, bool]]:
        found = []
        for child in self._cd.list_children(**{self._kind: place or "/"}):
            if child is not None and not child.is_dot() and not child.is_dotdot():
                full = self._cd.full_path_from_dirrecord(child, rockridge=self._kind == "rr_path")
                found.append((full.rpartition("/")[2], child.is_dir()))
        return found

    def close(self) -> None:
        """Close the file."""
        self._cd.close()
