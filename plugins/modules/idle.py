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
"""

import time
import urllib.request
from typing import Any

from ansible.module_utils.basic import AnsibleModule

REQUEST_SECONDS = 10
PAUSE_SECONDS = 0.3
# Of the event worker; httpd closes the connections of the last kind on its own.
CONNECTIONS = ("ConnsAsyncWriting", "ConnsAsyncKeepAlive", "ConnsAsyncClosing")


def counters(url: str) -> dict[str, int]:
    """Requests and connections that httpd has in hand at this moment."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    request = urllib.request.Request(url, headers={"Connection": "close"})
    with opener.open(request, timeout=REQUEST_SECONDS) as answer:
        lines = answer.read().decode("utf-8", "replace").splitlines()
    values = dict(line.split(": ", 1) for line in lines if ": " in line)
    if "BusyWorkers" not in values:
        raise ValueError(f"{url} shows no counters of httpd; is mod_status loaded?")
    return {
        "busy": max(int(values["BusyWorkers"]) - 1, 0),  # one answers this question
        "open": sum(int(values.get(name, "0")) for name in CONNECTIONS),
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
            seen: dict[str, Any] = counters(module.params["url"])
        except (OSError, ValueError) as error:
            module.fail_json(msg=f"{module.params['url']}: {error}")
        seconds = round(time.monotonic() - start, 1)
        if not any(seen.values()):
            module.exit_json(changed=False, seconds=seconds, **seen)
        if seconds >= module.params["timeout"]:
            module.fail_json(
                msg=f"after {seconds} s httpd still answers {seen['busy']} requests and holds {seen['open']} "
                "connections: somebody asks this node past the balancer, or a request takes that long",
                seconds=seconds,
                **seen,
            )
        time.sleep(PAUSE_SECONDS)


if __name__ == "__main__":
    main()
