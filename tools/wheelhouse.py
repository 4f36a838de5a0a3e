"""Build the archive of wheels that a node's release is made from, and print its path."""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "collections"))

from ansible_collections.panda.provision.plugins.plugin_utils import wheelhouse  # noqa: E402  found through the line above


def main() -> None:
    """Build it, or find it unchanged, in .cache/wheelhouse."""
    try:
        built = wheelhouse.build(ROOT / "app", ROOT / ".cache" / "wheelhouse")
    except wheelhouse.WheelhouseError as error:
        sys.exit(f"wheelhouse: {error}")
    print(built.archive)


if __name__ == "__main__":
    main()
