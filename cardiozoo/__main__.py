"""``python -m cardiozoo`` is the same as ``cardiozoo``."""

from __future__ import annotations

import sys

from cardiozoo.cli import main

if __name__ == "__main__":
    sys.exit(main())
