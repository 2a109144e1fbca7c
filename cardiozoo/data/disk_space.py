"""Whether an error, of whichever library, says that there is no room left to write."""

from __future__ import annotations

import errno

_NUMBERS = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_WORDS = (
    "no space left on device",
    "disk quota exceeded",
    "file too large",
    "disk full",
    "out of disk",
    "max_temp_directory_size",  # DuckDB, which fills the disk up to a limit
    "requested and ",  # numpy: "40206 requested and 838 written", without the system's number
)


def lacks_room(error: BaseException) -> bool:
    """Whether the disk is full, a quota is used up, or a file would be larger than allowed."""
    if isinstance(error, OSError) and error.errno in _NUMBERS:
        return True
    return any(words in str(error).lower() for words in _WORDS)
