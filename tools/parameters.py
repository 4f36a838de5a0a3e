"""Turn PanDA's own configuration into inventory variables, and back.

usage: parameters.py read FILE [--environment FILE]
                     panda_server_config.json (of the Helm chart) or panda_server.cfg -> variables (YAML);
                     what it refers to as $NAME is looked up in the other file, of NAME=value lines (what `env` prints
                     in the chart's container, or a node's /etc/sysconfig/panda_server_env)
       parameters.py write FILE
                     variables (YAML) -> panda_server_config.json
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
                read(name, {})
            case ["read", name, "--environment", file]:
                read(name, parameters.read_environment(Path(file).read_text(encoding="utf-8")))
            case ["write", name]:
                given = yaml.safe_load(Path(name).read_text(encoding="utf-8")) or {}
                sys.stdout.write(json.dumps(parameters.to_sections(given), indent=4) + "\n")
            case _:
                sys.exit(__doc__)
    except OSError as error:
        sys.exit(f"parameters.py: {error.filename}: {error.strerror}")
    except (ValueError, parameters.ParametersError) as error:
        sys.exit(f"parameters.py: {arguments[1]}: {error}")


def read(name: str, environment: dict[str, str]) -> None:
    """Print the variables that a file makes, and say on stderr what is left to do."""
    text = Path(name).read_text(encoding="utf-8")
    sections = parameters.read_cfg(text) if name.endswith(".cfg") else parameters.read_json(text)
    variables = parameters.to_variables(sections, environment)
    sys.stdout.write(yaml.safe_dump(variables, sort_keys=False, allow_unicode=True))
    said = [
        f"{secret} is in clear text: move it to a vault"
        for secret in ("panda_server_dbpasswd", "panda_server_secrets")
        if secret in variables
    ]
    for line in said + parameters.missing(sections, environment):
        sys.stderr.write(f"parameters: {line}\n")


if __name__ == "__main__":
    main(sys.argv[1:])
