"""Tell what is wrong with the application of a node: whether it is meant to serve, its release, its schema."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from ansible_collections.panda.provision.plugins.plugin_utils.health import questions
from ansible_collections.panda.provision.plugins.plugin_utils.health.model import NOT_SEEN, Fault, site

STATES = ("production", "draining", "maintenance")


def state(wanted: Mapping[str, Any], seen: Mapping[str, Any]) -> tuple[str, list[Fault]]:
    """The node is meant to serve, and says that it is ready to."""
    name = wanted["name"]
    held = seen["records"].get(questions.DRAIN_RECORD) or {}
    found = seen["texts"].get(questions.STATE_FILE, "").strip()
    by = held.get("by", "")
    since = held.get("since")
    when = f" since {moment(since)} ({lasting(seen['begun'] - since)})" if since else ""
    if found not in STATES:
        what = f"holds '{found}'" if found else "is missing or empty"
        remedy = f"on {name}: write one of {', '.join(STATES)} to {questions.STATE_FILE}"
        return "unknown", [Fault("state", questions.STATE_FILE, what, remedy)]
    if held:
        where = f"is {found}, held out of service by {by or 'somebody'}{when}"
        back = f"ansible-playbook playbooks/undrain.yml -l {name}"
        if by not in ("", "drain"):
            back = f"repeat playbooks/{by}.yml, which brings it back; or {back} -e drained_by={by}"
        if found == "maintenance":
            back = f"when the work on it is done, on {name}: echo production > {questions.STATE_FILE}; then {back}"
        return found, [Fault("state", name, where, back)]
    if found != "production":
        what = f"is {'in ' if found == 'maintenance' else ''}{found}, set by hand"
        remedy = f"when the work on it is done, on {name}: echo production > {questions.STATE_FILE}"
        return found, [Fault("state", name, what, remedy)]
    said = seen["answers"].get(questions.urls(wanted)["ready"])
    if said and not wanted["panda_server_cache_only"] and said["status"] != 200:
        what = f"is in production and not ready: {reasons(said['body'])}"
        return found, [Fault("state", "/node/ready", what, f"on {name}: tail /var/log/panda/panda-DBProxyPool.log")]
    return found, []


def ready(wanted: Mapping[str, Any], seen: Mapping[str, Any]) -> bool:
    """Whether the node says that it is ready for requests."""
    said = seen["answers"].get(questions.urls(wanted)["ready"])
    return bool(said and said["status"] == 200)


def reasons(body: str) -> str:
    """What /node/ready gives as reasons."""
    match = re.search(r'"reasons": ?\[(.*?)\]', body, re.DOTALL)
    return match.group(1).replace('"', "").strip() if match else body[:200].strip() or "it does not say why"


def moment(seconds: float) -> str:
    """A time as people read it."""
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M} UTC"


def lasting(seconds: float) -> str:
    """A duration as people say it."""
    for unit, size in (("d", 86400), ("h", 3600)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds / 60:.0f} min"


def release(wanted: Mapping[str, Any], seen: Mapping[str, Any]) -> tuple[str, list[Fault]]:
    """The active release is there, is the last good one, is not known to be bad, and is what runs."""
    name, prefix = wanted["name"], wanted["panda_server_prefix"]
    place = seen["links"][prefix]
    record = seen["records"].get(questions.record_of_releases(wanted)) or {}
    last_good, bad = record.get("last_good"), record.get("bad") or {}
    chosen = place["target"].rstrip("/").rpartition("/")[2]
    running = running_release(wanted, seen)
    back = f"ansible-playbook playbooks/rollback.yml -l {name}"
    thing, remedy = prefix, site(name)
    if not place["target"]:
        what = "is no link to a release" if place["there"] else "is missing: no release is active"
    elif not place["leads"]:
        what = f"leads to {place['target']}, which is not there"
    elif chosen in bad:
        thing, what, remedy = chosen, f"is active and known to be bad: {bad[chosen]}", back
    elif last_good is None:
        thing, what = chosen, "is active and has never passed its health gate"
    elif chosen != last_good:
        what = f"leads to {chosen}, and the last good release is {last_good}"
        remedy = f"{back}, or finish what was begun: {site(name)}"
    elif running and running != chosen:
        what = f"leads to {chosen}, and the application still runs {running}"
        remedy = f"on {name}: systemctl restart panda_wsgi panda_daemon"
    else:
        return chosen, []
    return chosen or NOT_SEEN, [Fault("release", thing, what, remedy, (prefix,))]


def running_release(wanted: Mapping[str, Any], seen: Mapping[str, Any]) -> str:
    """The release that the application says it runs; empty where it does not say."""
    said = seen["answers"].get(questions.urls(wanted)["live"], {}).get("body", "")
    match = re.search(r'"release": ?"([^"]+)"', said)
    return match.group(1) if match else ""


def schema(wanted: Mapping[str, Any], seen: Mapping[str, Any]) -> tuple[str, list[Fault]]:
    """The database has the schema that the active release needs."""
    told = seen["schema"]
    if not told or not seen["links"][wanted["panda_server_prefix"]]["leads"]:
        return NOT_SEEN, []
    if not told["fault"]:
        return told["installed"], []
    if not told["required"]:
        return "unknown", [Fault("schema", "panda-node schema show", f"says: {told['fault']}", site(wanted["name"]))]
    remedy = "have the owner of the database upgrade it, or set panda_server_schema_manage and run site.yml"
    if told["installed"]:
        what = f"{told['installed']} is installed, and the active release needs {told['required']}"
        return f"{told['installed']}<{told['required']}", [Fault("schema", "database schema", what, remedy)]
    if "no schema" in told["fault"]:
        return "none", [Fault("schema", "database schema", f"is missing; {told['required']} is needed", remedy)]
    remedy = f"check that it runs, and that {wanted['name']} may reach it"
    return "unknown", [Fault("schema", "database", f"does not answer: {told['fault']}", remedy)]
