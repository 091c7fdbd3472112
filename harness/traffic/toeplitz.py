"""The Toeplitz hash by which receive-side scaling picks a queue (Microsoft, Introduction to Receive Side Scaling)."""


def toeplitz(key: bytes, data: bytes) -> int:
    """Return the 32-bit hash of `data`: for each bit that is set, the 32 bits of the key that begin at its place."""
    bits, length = int.from_bytes(key, "big"), 8 * len(key)
    result = 0
    for place in range(8 * len(data)):
        if data[place // 8] & 0x80 >> place % 8:
            result ^= bits >> (length - 32 - place) & 0xFFFF_FFFF
    return result
