"""What a guest with a display shows: pictures of its screen, and what they tell though nobody looks at it."""

import hashlib
import struct
import time
import zlib
from collections import Counter, deque
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from harness.errors import NicproofError
from harness.qemu.monitor import Monitor

Colour = tuple[int, int, int]

_SAMPLE_S = 0.3
"""Between two pictures that are compared."""
_BLINKS = 3
"""Changes to and fro that make a cursor: one change of the screen has one."""

# The ground of a blue screen. Windows up to 7 writes on the blue of VGA's text colours, 0000aa, which QEMU's adapters
# show as 0000a8 (six bits a colour); some palettes have it darker. Windows 8 paints 1073aa, Windows 10 0078d7. From
# documents and pictures: not verified on a guest yet.
_DARK_BLUE = ((0, 0, 0x78), (8, 8, 0xB2))
_GROUNDS: tuple[tuple[Colour, Colour], ...] = (
    _DARK_BLUE,
    ((0x08, 0x6B, 0xA2), (0x18, 0x7B, 0xB2)),
    ((0x00, 0x70, 0xCF), (0x08, 0x80, 0xDF)),
)
"""The darkest and the brightest colour that counts as each."""
_INKS: tuple[Colour, ...] = ((0xFF, 0xFF, 0xFF), (0xAA, 0xAA, 0xAA), (0xC0, 0xC0, 0xC0))
_LEAST_GROUND = 0.6
_LEAST_INK, _MOST_INK = 0.002, 0.4
_MOST_OTHER = 0.005
_MOST_INK_IN_A_ROW = 0.8
"""Of a row of pixels: more is a bar, as setups in text mode and menus of firmware have; a row of letters has less."""
_LEAST_INK_ON_THE_LEFT = 0.08
"""Of all ink, in the left quarter, where the lines of a blue screen begin; "please wait" stands in the middle."""
_NEAR = 28
"""How far a colour may be from a mixture of ground and ink, as the edges of smooth letters are."""


@dataclass(frozen=True)
class Picture:
    """A screen at one moment."""

    width: int
    height: int
    pixels: bytes
    """Red, green and blue of each pixel, from left to right and from top to bottom."""

    @classmethod
    def from_ppm(cls, data: bytes) -> "Picture":
        """Read a picture in QEMU's form of the portable pixmap format.

        Raises:
            NicproofError: it is none.
        """
        # P6\n720 400\n255\n, and 720 * 400 * 3 octets
        parts = data.split(b"\n", 3)
        try:
            width, height = (int(part) for part in parts[1].split())
        except (IndexError, ValueError):
            width = height = 0
        if parts[0] != b"P6" or len(parts) < 4 or len(parts[3]) != width * height * 3 or not parts[3]:
            raise NicproofError(f"QEMU's picture of the screen is none: it begins with {data[:16]!r}")
        return cls(width, height, parts[3])

    def png(self) -> bytes:
        """Return the picture as a PNG file (ISO/IEC 15948)."""

        def chunk(kind: bytes, content: bytes) -> bytes:
            return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

        stride = self.width * 3
        rows = (self.pixels[at : at + stride] for at in range(0, len(self.pixels), stride))
        header = struct.pack(">IIBBBBB", self.width, self.height, 8, 2, 0, 0, 0)  # 8 bits for each of three colours
        content = zlib.compress(b"".join(b"\0" + row for row in rows))
        return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", content) + chunk(b"IEND", b"")

    @property
    def is_blank(self) -> bool:
        """Whether all of it has one colour."""
        return self.pixels == self.pixels[:3] * (self.width * self.height)

    @property
    def is_blue_screen(self) -> bool:
        """Whether it is what Windows shows when it has stopped for good: light letters on a full screen of blue.

        Judged by colours alone: a ground of one of the known blues, on it nothing but letters, some of them at the
        left, and no bar.
        """
        row = self.width * 3
        colours = Counter(_colours(self.pixels))
        (ground, count), all_pixels = colours.most_common(1)[0], self.width * self.height
        if count < _LEAST_GROUND * all_pixels or not any(_within(ground, *limits) for limits in _GROUNDS):
            return False
        ink = sum(many for colour, many in colours.items() if colour != ground and _is_ink(colour, ground))
        if all_pixels - count - ink > _MOST_OTHER * all_pixels or not _LEAST_INK <= ink / all_pixels <= _MOST_INK:
            return False
        left = 0
        for at in range(0, len(self.pixels), row):
            own = list(_colours(self.pixels[at : at + row]))
            if len(own) - own.count(ground) > _MOST_INK_IN_A_ROW * self.width:
                return False
            quarter = own[: self.width // 4]
            left += len(quarter) - quarter.count(ground)
        return left >= _LEAST_INK_ON_THE_LEFT * ink


def _colours(pixels: bytes) -> Iterable[Colour]:
    return zip(pixels[::3], pixels[1::3], pixels[2::3], strict=True)


def _within(colour: Colour, least: Colour, most: Colour) -> bool:
    return all(low <= part <= high for part, low, high in zip(colour, least, most, strict=True))


def _is_ink(colour: Colour, ground: Colour) -> bool:
    """Whether a colour lies between the ground and the colour of letters."""
    for ink in _INKS:
        way = [end - start for end, start in zip(ink, ground, strict=True)]
        gone = [part - start for part, start in zip(colour, ground, strict=True)]
        share = sum(a * b for a, b in zip(way, gone, strict=True)) / sum(a * a for a in way)
        if all(abs(b - share * a) <= _NEAR for a, b in zip(way, gone, strict=True)):
            return True
    return False


class Screen:
    """The display of a running machine."""

    def __init__(self, monitor: Monitor, directory: Path) -> None:
        """Take the machine's monitor and a private directory for a picture on its way."""
        self._monitor = monitor
        self._file = directory / "screen.ppm"

    def picture(self) -> Picture:
        """Return what it shows now."""
        self._monitor.execute("screendump", filename=str(self._file))
        try:
            return Picture.from_ppm(self._file.read_bytes())
        finally:
            self._file.unlink(missing_ok=True)


class StillScreen:
    """Whether a screen has stopped changing. A cursor that blinks is no change: the same two pictures by turns."""

    def __init__(self, screen: Screen, seconds: float) -> None:
        """Look at a screen that is to stand still for so many seconds."""
        self._screen = screen
        self._seconds = seconds
        self._began = time.monotonic()
        self._seen: deque[tuple[float, bytes]] = deque()
        self._picture: Picture | None = None
        self.is_blue = False
        """Whether the last picture is a blue screen."""

    def look(self) -> bool:
        """Take a picture if it is time for one, and return whether the screen has stood still for so long.

        One of a single colour never has: nobody knows what is yet to come.
        """
        now = time.monotonic()
        if not self._seen or now - self._seen[-1][0] >= _SAMPLE_S:
            self._picture = self._screen.picture()
            digest = hashlib.sha256(self._picture.pixels).digest()
            if not self._seen or digest != self._seen[-1][1]:
                self.is_blue = self._picture.is_blue_screen
            self._seen.append((now, digest))
        while len(self._seen) > 1 and now - self._seen[0][0] > self._seconds:
            self._seen.popleft()
        if now - self._began < self._seconds or self._picture is None or self._picture.is_blank:
            return False
        shown = [digest for _, digest in self._seen]
        changes = sum(one != other for one, other in pairwise(shown))
        return changes == 0 or (len(set(shown)) == 2 and changes >= _BLINKS)
