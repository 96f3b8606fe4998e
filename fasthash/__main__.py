"""The command line, as ``python -m fasthash``: also where its program is not on the PATH."""

import sys

from .cli import main

if __name__ == "__main__":
    sys.exit(main())
