"""The errors that nicproof raises on purpose: each is one clear line for a person."""


class NicproofError(Exception):
    """Something that the harness, the host or the image could not do: a JUnit error, never a failure.

    The message is one line: what was being done, what is wrong, what would be right.
    """


class InputError(NicproofError):
    """The user gave something unusable: a file, a field or an option. Exit status 4 under pytest, 2 in `nicproof`."""


class ImageAbsent(NicproofError):
    """The user has yet to bring what the guest boots from. Exit status 3."""

    def __init__(self, what: str, cure: str) -> None:
        """Say what is missing and what would cure it; both are also attributes."""
        super().__init__(f"{what}. Get it with: {cure}")
        self.what, self.cure = what, cure


class Unsupported(NicproofError):
    """The guest, the model or the witness has no such operation: a skip, with this message as the reason."""
