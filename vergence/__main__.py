"""`python -m vergence`."""

import sys

from vergence.cli import main

sys.exit(main())
