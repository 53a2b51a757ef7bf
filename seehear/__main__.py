"""`python -m seehear` is `seehear`."""

import sys

from seehear.cli import main

sys.exit(main())
