"""`python -m seg_perception`."""

from __future__ import annotations

import sys

from seg_perception.cli import main

if __name__ == "__main__":
    sys.exit(main())
