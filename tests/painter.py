"""Boot sectors that paint: guests for the tests of what a screen tells, on a machine's real display adapter."""

from collections.abc import Mapping, Sequence
from pathlib import Path

_ORIGIN = 0x7C00
HALT = bytes.fromhex(
    "f4 ebfd"  # here: hlt; jmp here
)
RESET = bytes.fromhex(
    "b80086 b90f00 ba4042 cd15"  # mov ax, 0x8600; mov cx, 15; mov dx, 0x4240; int 0x15         (waits for a second)
    "b0fe e664 f4 ebfd"  #         mov al, 0xfe; out 0x64, al; here: hlt; jmp here    (keyboard controller: reset)
)
TURN = bytes.fromhex(
    "b800b8 8ec0"  #                 mov ax, 0xb800; mov es, ax
    "26fe060000"  #            turn: inc byte es:[0]                                  (the first letter: the next one)
    "b80086 b90100 baa086 cd15"  #   mov ax, 0x8600; mov cx, 1; mov dx, 0x86a0; int 0x15         (waits for 0.1 s)
    "ebee"  #                        jmp turn
)
_TEXT_MODE = bytes.fromhex(
    "31c0 8ed8 b80300 cd10"  # xor ax, ax; mov ds, ax; mov ax, 3; int 0x10             (80 columns, 25 rows)
    "b800b8 8ec0 31ff fc"  #   mov ax, 0xb800; mov es, ax; xor di, di; cld
)
_NO_CURSOR = bytes.fromhex(
    "b401 b90020 cd10"  # mov ah, 1; mov cx, 0x2000; int 0x10
)
_TRUE_COLOUR = bytes.fromhex(
    "31c0 8ed8 b8024f bb4401 cd10"  # xor ax, ax; mov ds, ax; mov ax, 0x4f02; mov bx, 0x144; int 0x10
    "b800a0 8ec0 31d2 fc"  #          mov ax, 0xa000; mov es, ax; xor dx, dx; cld
    "b8054f 31db 52 cd10 5a"  # bank: mov ax, 0x4f05; xor bx, bx; push dx; int 0x10; pop dx    (64 KiB, 16 rows)
    "31ff b90040 66b8"  #             xor di, di; mov cx, 0x4000; mov eax,
)
_STROKES = bytes.fromhex(
    "66f3ab"  #                             rep stosd
    "83fa08 7228 83fa1e 7723"  #            cmp dx, 8; jb next; cmp dx, 30; ja next
    "bd0800 bf9041"  #                      mov bp, 8; mov di, 0x4190             (row 4 of the bank, column 100)
    "b96400 51 66b8ffffff00"  #        row: mov cx, 100; letter: push cx; mov eax, 0xffffff
    "b90200 66f3ab 83c708"  #               mov cx, 2; rep stosd; add di, 8       (two pixels white, and two not)
    "59 e2ed 81c7c009 4d 75e3"  #           pop cx; loop letter; add di, 2496; dec bp; jnz row
    "42 83fa30 72b6"  #               next: inc dx; cmp dx, 48; jb bank
)


def text_screen(
    attribute: int, lines: Mapping[int, str], bars: Mapping[int, int] | None = None, *, cursor: bool = False
) -> bytes:
    """Return the code that fills the screen in text mode.

    Args:
        attribute: the colours: 0x1f is white on blue.
        lines: what stands in a row, from its first column on.
        bars: rows that have other colours throughout.
        cursor: leave the cursor blinking.
    """
    code = _TEXT_MODE + bytes(
        [0xB8, 0x20, attribute, 0xB9, 0xD0, 0x07, 0xF3, 0xAB]
    )  # mov ax, ...; mov cx, 2000; rep stosw
    for row, colours in (bars or {}).items():
        code += b"\xbf" + (row * 160).to_bytes(2, "little")  # mov di, row
        code += bytes([0xB8, 0x20, colours, 0xB9, 80, 0, 0xF3, 0xAB])  # mov ax, ...; mov cx, 80; rep stosw
    for row, text in lines.items():
        code += b"\xbf" + (row * 160).to_bytes(2, "little")  # mov di, row
        copy = bytes.fromhex(
            "ac 08c0 7404 aa 47 ebf7"
        )  # next: lodsb; or al, al; jz done; stosb; inc di; jmp next; done:
        over = bytes([0xEB, len(text) + 1])  # jmp over the text
        behind = _ORIGIN + len(code) + 3 + len(copy) + len(over)
        code += b"\xbe" + behind.to_bytes(2, "little") + copy + over  # mov si, the text
        code += text.encode() + b"\0"
    return code if cursor else code + _NO_CURSOR


def true_colour_screen(ground: int, *, strokes: bool) -> bytes:
    """Return the code that fills 1024 x 768 pixels with a colour, and rows of strokes like letters on it if wished."""
    fill = _TRUE_COLOUR + ground.to_bytes(4, "little")
    if strokes:
        return fill + _STROKES
    return fill + bytes.fromhex("66f3ab 42 83fa30 72e3")  # rep stosd; inc dx; cmp dx, 48; jb bank


def disk(file: Path, code: Sequence[bytes], octets: int = 1 << 20) -> Path:
    """Make a raw disk that boots the code; return it. SeaBIOS boots none that is smaller than a cylinder."""
    sector = b"".join(code)
    assert len(sector) <= 510, f"{len(sector)} octets do not fit into a boot sector"
    file.write_bytes((sector.ljust(510, b"\0") + b"\x55\xaa").ljust(octets, b"\0"))
    return file
