#!/usr/bin/python
"""Wait until a node's httpd has nothing in flight."""

from __future__ import annotations

DOCUMENTATION = r"""
module: idle
short_description: Wait until httpd has nothing in flight
description:
  - Reads httpd's own counters, mod_status in its machine-readable form, until no request is being answered and no
    connection is being kept open.
  - Fails with the counters when the time is over. Changes nothing.
options:
  url:
    description: Where httpd shows its counters to this host.
    type: str
    default: http://127.0.0.1:25080/server-status?auto
  timeout:
    description: Seconds to wait.
    type: int
    default: 60
attributes:
  check_mode: {support: full}
author: panda-provision
"""

EXAMPLES = r"""
- name: Wait until the node has nothing in flight
  panda.provision.idle:
    timeout: 30
"""

RETURN = r"""
seconds:
  description: How long it took.
  type: float
  returned: always
busy:
  description: Requests that were being answered, the question itself left out.
  type: int
  returned: always
open:
  description: Connections that were being kept open, or closed.
  type: int
  returned: always
kinds:
  description: The same by kind, those only that there were.
  type: dict
  returned: always
  sample: {"kept alive": 2}
"""

import time
import urllib.request
from typing import Any

from ansible.module_utils.basic import AnsibleModule

REQUEST_SECONDS = 10
PAUSE_SECONDS = 0.3
# Of the event worker. httpd ends those of the last two kinds on its own: after KeepAliveTimeout, and 30 s at most.
CONNECTIONS = {"ConnsAsyncWriting": "written to", "ConnsAsyncKeepAlive": "kept alive", "ConnsAsyncClosing": "closing"}


def counters(url: str) -> dict[str, Any]:
    """Requests and connections that httpd has in hand at this moment, and the latter by kind where there are any."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    request = urllib.request.Request(url, headers={"Connection": "close"})
    with opener.open(request, timeout=REQUEST_SECONDS) as answer:
        lines = answer.read().decode("utf-8", "replace").splitlines()
    values = dict(line.split(": ", 1) for line in lines if ": " in line)
    if "BusyWorkers" not in values:
        raise ValueError(f"{url} shows no counters of httpd; is mod_status loaded?")
    kinds = {kind: int(values.get(name, "0")) for name, kind in CONNECTIONS.items()}
    return {
        "busy": max(int(values["BusyWorkers"]) - 1, 0),  # one answers this question
        "open": sum(kinds.values()),
        "kinds": {kind: number for kind, number in kinds.items() if number},
    }


def main() -> None:
    """Run as an Ansible module."""
    module = AnsibleModule(
        argument_spec={
            "url": {"type": "str", "default": "http://127.0.0.1:25080/server-status?auto"},
            "timeout": {"type": "int", "default": 60},
        },
        supports_check_mode=True,
    )
    start = time.monotonic()
    while True:
        try:
            seen = counters(module.params["url"])
        except (OSError, ValueError) as error:
            module.fail_json(msg=f"{module.params['url']}: {error}")
        seconds = round(time.monotonic() - start, 1)
        if not any(seen.values()):
            module.exit_json(changed=False, seconds=seconds, **seen)
        if seconds >= module.params["timeout"]:
            kinds = ", ".join(f"{number} {kind}" for kind, number in seen["kinds"].items())
            module.fail_json(
                msg=f"after {seconds} s httpd still answers {seen['busy']} requests and holds {seen['open']} "
                f"connections{f' ({kinds})' if kinds else ''}: somebody asks this node past the balancer, or a request "
                "takes that long",
                seconds=seconds,
                **seen,
            )
        time.sleep(PAUSE_SECONDS)


if __name__ == "__main__":
    main()
