"""Build the archive of wheels that a node's release is made from, and print its path.

usage: wheelhouse.py [REQUIREMENT]    without one: of the bundled application; with one, such as
                                      'panda-server[postgres]==1.0.4': of the public package
"""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "collections"))

from ansible_collections.panda.provision.plugins.plugin_utils import (  # noqa: E402  found through the line above
    payload,
    wheelhouse,
)


def main(arguments: list[str]) -> None:
    """Build it, or find it unchanged, in .cache/wheelhouse."""
    app, cache = ROOT / "app", ROOT / ".cache" / "wheelhouse"
    try:
        match arguments:
            case []:
                built = wheelhouse.build(app, cache)
            case [requirement]:
                built = payload.build(app, cache, requirement, ROOT / "requirements" / "payload")
            case _:
                sys.exit(__doc__)
    except wheelhouse.WheelhouseError as error:
        sys.exit(f"wheelhouse: {error}")
    if built.requirement and built.requirement not in arguments:
        print(f"wheelhouse: {built.requirement}", file=sys.stderr)
    print(built.archive)


if __name__ == "__main__":
    main(sys.argv[1:])
