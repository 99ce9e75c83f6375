#!/usr/bin/env python3
"""Prints the order of the draws, from ChaCha written out here (RFC 8439's round, 8 rounds, a 64-bit
counter), so that the Rust test compares with something else than itself. Python 3 alone.

    python3 scripts/draw_order.py N SEED
"""

import struct
import sys

MASK = 0xFFFFFFFF


def quarter(s, a, b, c, d):
    for x, y, z, turn in ((a, b, d, 16), (c, d, b, 12), (a, b, d, 8), (c, d, b, 7)):
        s[x] = (s[x] + s[y]) & MASK
        word = s[z] ^ s[x]
        s[z] = (word << turn | word >> (32 - turn)) & MASK


def words(seed):
    key = struct.unpack("<8I", struct.pack("<Q24x", seed))
    counter = 0
    while True:
        start = [*struct.unpack("<4I", b"expand 32-byte k"), *key, counter & MASK, counter >> 32, 0, 0]
        s = start[:]
        for _ in range(4):
            for a, b, c, d in ((0, 4, 8, 12), (1, 5, 9, 13), (2, 6, 10, 14), (3, 7, 11, 15)):
                quarter(s, a, b, c, d)
            for a, b, c, d in ((0, 5, 10, 15), (1, 6, 11, 12), (2, 7, 8, 13), (3, 4, 9, 14)):
                quarter(s, a, b, c, d)
        block = [(x + y) & MASK for x, y in zip(s, start)]
        for low, high in zip(block[::2], block[1::2]):
            yield high << 32 | low
        counter += 1


def draw_order(n, seed):
    source = words(seed)
    order = list(range(n))
    for last in range(n - 1, 0, -1):
        bound = last + 1
        while True:
            product = next(source) * bound
            if product % 2**64 >= 2**64 % bound:
                break
        at = product >> 64
        order[last], order[at] = order[at], order[last]
    return order


if __name__ == "__main__":
    print(draw_order(int(sys.argv[1]), int(sys.argv[2], 0)))
