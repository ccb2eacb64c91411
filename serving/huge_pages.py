"""What a release has put into memory, moved to pages of 2 MB: an answer looks at a few hundred places all over it.

Each place on a page of 4 kB of its own has to be found through the page tables first, which takes longer than to read
it, above all in a virtual machine. NumPy asks for huge pages itself; the index, Arrow's columns and Python's own
objects (a million ids) are allocated by others, and the kernel would take hours to get to them by itself.
"""

import ctypes
import logging
import re
from collections.abc import Iterator
from pathlib import Path

log = logging.getLogger("vitrine.live")
_PAGE = 2 << 20
_LEAST = 8 << 20  # smaller ranges hold little that a release has brought
_FILLED = 0.9  # of a range; a huge page takes up all of its 2 MB, and what nobody uses shall stay unused
_MADV_HUGEPAGE, _MADV_COLLAPSE = 14, 25  # of linux/mman.h; the second since 6.1
_SMAPS = Path("/proc/self/smaps")
_RANGE = re.compile(r"([0-9a-f]+)-([0-9a-f]+) rw.p \S+ 00:00 0 +(\[heap\])?\n")


def gather() -> int:
    """Move this process's large, filled ranges of private memory to huge pages; how many bytes lie in them.

    Nothing changes but speed: where the kernel cannot or may not, memory stays as it is. It takes about a second a
    gigabyte, lets other threads run, and may meet a range that is given back meanwhile, which costs nothing.
    """
    moved = 0
    try:
        madvise = ctypes.CDLL(None).madvise
        for first, last in _ranges(_SMAPS.read_text(encoding="ascii", errors="replace")):
            address, size = ctypes.c_void_p(first), ctypes.c_size_t(last - first)
            madvise(address, size, _MADV_HUGEPAGE)
            if madvise(address, size, _MADV_COLLAPSE) == 0:
                moved += last - first
    except (OSError, AttributeError) as error:  # another system than Linux
        log.debug("huge pages: %s", error)
    return moved


def _ranges(smaps: str) -> Iterator[tuple[int, int]]:
    """First and last address of the ranges, in whole huge pages."""
    found = None
    for line in smaps.splitlines(keepends=True):
        if begins := _RANGE.fullmatch(line):
            first, last = int(begins[1], 16), int(begins[2], 16)
            found = -(-first // _PAGE) * _PAGE, last // _PAGE * _PAGE
        elif "-" in line.split(" ", 1)[0]:
            found = None  # of a file, or of another kind
        elif found is not None and line.startswith("Rss:"):
            first, last = found
            if last - first >= _LEAST and 1024 * int(line.split()[1]) >= _FILLED * (last - first):
                yield first, last
            found = None
