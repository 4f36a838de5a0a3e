"""The release that this process runs."""

import os
import sys

NAME = os.path.basename(os.path.realpath(sys.prefix))
"""Read when the process starts: /opt/panda may lead to another release long before it is restarted."""
