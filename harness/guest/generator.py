"""Generated traffic: the guest's system sends as fast as it can, which no program in it could."""

from harness.guest.operations import Operations


class GeneratorOperations(Operations):
    """What a guest may be asked to send."""

    def generate(self, count: int, octets: int) -> None:
        """Send `count` frames of `octets` octets, UDP over IPv4 for the far end's port 9; returns when all are sent."""
        self._unsupported("generated traffic")
