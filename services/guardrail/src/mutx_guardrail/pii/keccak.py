"""Keccak-256 with the padding of before SHA-3, which the checksum of Ethereum addresses takes and hashlib has not.

Source: "The Keccak reference", version 3.0; EIP-55.
"""

from __future__ import annotations

from typing import Final

_RATE: Final = 136
_MASK: Final = (1 << 64) - 1


def keccak256(data: bytes) -> bytes:
    """Return the 32 bytes of the hash of at most 135 bytes (one block).

    Raises:
        ValueError: the data is longer.
    """
    if len(data) >= _RATE:
        raise ValueError("more than one block")
    block = bytearray(data.ljust(_RATE, b"\0"))
    block[len(data)] ^= 0x01
    block[-1] ^= 0x80
    lanes = [int.from_bytes(block[at : at + 8], "little") for at in range(0, _RATE, 8)]
    state = _permuted([*lanes, *[0] * (25 - len(lanes))])
    return b"".join(lane.to_bytes(8, "little") for lane in state[:4])


def _permuted(state: list[int]) -> list[int]:
    """Return the state (25 lanes, x + 5y) after the 24 rounds of Keccak-f[1600]."""
    constant = 1
    for _ in range(24):
        columns = [state[x] ^ state[x + 5] ^ state[x + 10] ^ state[x + 15] ^ state[x + 20] for x in range(5)]
        mixed = [columns[(x + 4) % 5] ^ _rotated(columns[(x + 1) % 5], 1) for x in range(5)]
        state = [lane ^ mixed[at % 5] for at, lane in enumerate(state)]
        turned = [0] * 25
        for (x, y), offset in _OFFSETS:
            turned[y + 5 * ((2 * x + 3 * y) % 5)] = _rotated(state[x + 5 * y], offset)
        state = [
            turned[at] ^ (~turned[at - at % 5 + (at + 1) % 5] & turned[at - at % 5 + (at + 2) % 5] & _MASK)
            for at in range(25)
        ]
        bits, constant = _round_constant(constant)
        state[0] ^= bits
    return state


def _round_constant(register: int) -> tuple[int, int]:
    """Return a round's constant and the shift register behind it."""
    bits = 0
    for power in range(7):
        bits |= (register & 1) << ((1 << power) - 1)
        register = register << 1 ^ (0x171 if register & 0x80 else 0)
    return bits, register


def _rotated(lane: int, by: int) -> int:
    return (lane << by | lane >> 64 - by) & _MASK if by else lane


def _offsets() -> tuple[tuple[tuple[int, int], int], ...]:
    places, x, y = [((0, 0), 0)], 1, 0
    for step in range(24):
        places.append(((x, y), (step + 1) * (step + 2) // 2 % 64))
        x, y = y, (2 * x + 3 * y) % 5
    return tuple(places)


_OFFSETS: Final = _offsets()
