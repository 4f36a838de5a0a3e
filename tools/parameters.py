"""Turn PanDA's own configuration into inventory variables, and back.

usage: parameters.py read FILE     panda_server_config.json (of the Helm chart) or panda_server.cfg -> variables (YAML)
       parameters.py write FILE    variables (YAML) -> panda_server_config.json
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "collections"))

from ansible_collections.panda.provision.plugins.plugin_utils import (  # noqa: E402  found through the line above
    parameters,
)


def main(arguments: list[str]) -> None:
    """Do what the command line says."""
    try:
        match arguments:
            case ["read", name]:
                text = Path(name).read_text(encoding="utf-8")
                sections = parameters.read_cfg(text) if name.endswith(".cfg") else parameters.read_json(text)
                variables = parameters.to_variables(sections)
                sys.stdout.write(yaml.safe_dump(variables, sort_keys=False, allow_unicode=True))
                for secret in ("panda_server_dbpasswd", "panda_server_secrets"):
                    if secret in variables:
                        sys.stderr.write(f"parameters: {secret} is in clear text: move it to a vault\n")
                for section in sections.values():
                    for key, value in section.items():
                        if variable := parameters.secret_elsewhere(key, value):
                            target = "panda_server_dbpasswd" if key == "dbpasswd" else "panda_server_secrets"
                            sys.stderr.write(
                                f"parameters: {key} is ${variable}, whose value is not here: add it to {target}\n"
                            )
            case ["write", name]:
                given = yaml.safe_load(Path(name).read_text(encoding="utf-8")) or {}
                sys.stdout.write(json.dumps(parameters.to_sections(given), indent=4) + "\n")
            case _:
                sys.exit(__doc__)
    except (OSError, ValueError, parameters.ParametersError) as error:
        sys.exit(f"parameters.py: {arguments[-1]}: {error}")


if __name__ == "__main__":
    main(sys.argv[1:])
