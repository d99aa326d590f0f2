"""Which messages are torn where a sqlite3 file was cut in the middle of a page.

SQLite reads the missing bytes of the last page as zeros and says nothing. Rows are appended, so that this
page is either the end of the last long row, or a leaf with short rows.
File format: https://www.sqlite.org/fileformat2.html, sections 1.5 and 1.6.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["CutPage"]

_LEAF = 0x0D
_LEAF_HEADER_BYTES = 8
_END_OF_CHAIN = bytes(4)


@dataclass(frozen=True)
class CutPage:
    """The page in which the file ends.

    Attributes:
        tail: what is there of it.
        usable_bytes: of a whole page.
    """

    tail: bytes
    usable_bytes: int

    @property
    def torn_rows(self) -> frozenset[int]:
        """Row numbers that a leaf page holds only in part."""
        if self.tail[:1] != bytes([_LEAF]) or len(self.tail) < _LEAF_HEADER_BYTES:
            return frozenset()
        count = int.from_bytes(self.tail[3:5], "big")
        torn = set()
        for at in range(_LEAF_HEADER_BYTES, min(_LEAF_HEADER_BYTES + 2 * count, len(self.tail) - 1), 2):
            cell = int.from_bytes(self.tail[at : at + 2], "big")
            payload_bytes, after_size = self._varint(cell)
            row, start = self._varint(after_size)
            if start + self._local_bytes(payload_bytes) > len(self.tail):
                torn.add(row)
        return frozenset(torn)

    def ends(self, data: bytes, payload_bytes: int) -> bool:
        """Is this the blob at the end of a row of so many bytes, whose last part lay on this page?"""
        spilled = payload_bytes - self._local_bytes(payload_bytes)
        if spilled <= 0 or self.tail[:4] != _END_OF_CHAIN[: len(self.tail)]:
            return False
        last = spilled % (self.usable_bytes - 4) or self.usable_bytes - 4
        there = self.tail[4:]
        return len(there) < last <= len(data) and data[-last:] == there.ljust(last, b"\0")

    def _local_bytes(self, payload_bytes: int) -> int:
        """How much of a row lies on its leaf page; the rest is in a chain of overflow pages."""
        usable = self.usable_bytes
        if payload_bytes <= usable - 35:
            return payload_bytes
        least = (usable - 12) * 32 // 255 - 23
        local = least + (payload_bytes - least) % (usable - 4)
        return local if local <= usable - 35 else least

    def _varint(self, at: int) -> tuple[int, int]:
        """A variable-length integer, and the place behind it; zeros where the page ends."""
        value = 0
        for _ in range(8):
            byte = self.tail[at] if at < len(self.tail) else 0
            at += 1
            value = value << 7 | byte & 0x7F
            if byte < 0x80:
                return value, at
        return value << 8 | (self.tail[at] if at < len(self.tail) else 0), at + 1
