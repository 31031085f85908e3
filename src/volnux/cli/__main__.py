"""`python -m volnux.cli`."""

from __future__ import annotations

import sys

from volnux.cli import main

if __name__ == "__main__":
    sys.exit(main())
