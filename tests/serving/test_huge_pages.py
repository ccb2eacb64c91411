"""Memory on huge pages: which ranges are taken, and that nothing in them changes."""

import mmap
import sys

import pytest

from serving.huge_pages import _ranges, gather

MB = 1 << 20
SMAPS = """\
{0:x}-{1:x} rw-p 00000000 00:00 0{3}
Size:              16384 kB
Rss:               {2} kB
Pss:                   0 kB
"""


def told(first: int, last: int, filled_mb: float) -> str:
    return SMAPS.format(first, last, int(1024 * filled_mb), " ")  # the kernel leaves a space


@pytest.mark.parametrize(("smaps", "ranges"), [
    # Addresses are hexadecimal: 0x10100000 is 257 MB, and the first whole huge page begins at 258 MB.
    (told(257 * MB, 273 * MB, 16), [(258 * MB, 272 * MB)]),
    (told(256 * MB, 272 * MB, 14), []),  # of 16 MB: below nine tenths
    (told(256 * MB, 262 * MB, 6), []),  # small
    (told(256 * MB, 272 * MB, 16).replace("00:00 0 ", "00:00 0                          [heap]"),
     [(256 * MB, 272 * MB)]),
    (told(256 * MB, 272 * MB, 16).replace("00:00 0 ", "00:00 0                          [stack]"), []),
    (told(256 * MB, 272 * MB, 16).replace("00:00 0 ", "fd:00 77                    /usr/lib/libc.so.6"), []),
    (told(256 * MB, 272 * MB, 16).replace("rw-p", "rw-s"), []),
    (told(256 * MB, 272 * MB, 16).replace("rw-p", "r--p"), []),
    (told(256 * MB, 272 * MB, 16) + told(512 * MB, 528 * MB, 1) + told(768 * MB, 784 * MB, 16),
     [(256 * MB, 272 * MB), (768 * MB, 784 * MB)]),
])
def test_large_filled_ranges_of_private_memory_are_taken(smaps: str, ranges: list[tuple[int, int]]) -> None:
    assert list(_ranges(smaps)) == ranges


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no such pages")
def test_what_lies_in_memory_stays_as_it_is() -> None:
    with mmap.mmap(-1, 32 * MB, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as memory:
        pattern = bytes(range(256)) * 4096
        for first in range(0, 32 * MB, MB):
            memory[first : first + MB] = pattern
        moved = gather()
        assert moved % (2 * MB) == 0  # 0 where the kernel may not
        assert all(memory[first : first + MB] == pattern for first in range(0, 32 * MB, MB))
