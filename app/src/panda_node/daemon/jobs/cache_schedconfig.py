"""Writes the queues' definitions as files, which httpd and squid serve to pilots and factories."""

import json
import os
from pathlib import Path

from panda_node.daemon.job import JobContext
from panda_node.db.queues import Queue, all_queues


def _words(text: str) -> list[str]:
    return text.split()


# The fields that each reader has always been given, empty where a queue has none; "all" is the definition itself.
FIELDS = {
    "pilot": _words("""
        appdir allowdirectaccess cloud datadir dq2url copytool copytoolin copysetup copysetupin ddm se sepath seprodpath
        envsetup envsetupin region copyprefix copyprefixin lfcpath lfcprodpath lfchost lfcregister sein wntmpdir proxy
        retry recoverdir space memory cmtconfig status setokens glexec seopt gatekeeper pcache maxinputsize timefloor
        corecount faxredirector allowfax maxtime maxwdir
    """),
    "factory": _words("""
        site siteid nickname cloud status jdl queue localqueue nqueue environ proxy glexec depthboost
        idlepilotsupression pilotlimit transferringlimit memory maxtime system fairsharepolicy autosetup_pre
        autosetup_post
    """),
}
ALL_QUEUES = "schedconfig.all.json"
_SUFFIXES = (".all.json", ".pilot.json", ".factory.json")


def run(context: JobContext) -> str:
    """Writes what has changed and removes the files of queues that are gone; says how much it did."""
    directory = context.settings.schedconfig_directory
    directory.mkdir(parents=True, exist_ok=True)
    queues = all_queues(context.database)
    wanted = {ALL_QUEUES: _document(queues)}
    for name, queue in queues.items():
        wanted[f"{name}.all.json"] = _document(queue)
        for reader, fields in FIELDS.items():
            wanted[f"{name}.{reader}.json"] = _document({key: queue.get(key, "") for key in fields})
    written = sum(_replace(directory / name, content) for name, content in wanted.items())
    gone = [file for file in directory.iterdir() if file.name.endswith(_SUFFIXES) and file.name not in wanted]
    for file in gone:
        file.unlink()
    return f"{len(queues)} queues, {written} files written, {len(gone)} removed"


def _document(content: Queue | dict[str, Queue]) -> bytes:
    return json.dumps(content, sort_keys=True, indent=4).encode()


def _replace(file: Path, content: bytes) -> bool:
    """Replaces the file in one step, so that no reader sees half of it; leaves an equal one alone, with its date."""
    try:
        if file.read_bytes() == content:
            return False
    except FileNotFoundError:
        pass
    # The name must not end like a finished file's: a crash here must not leave half a document to be served.
    new = file.with_name(f".{file.name}.new")
    new.write_bytes(content)
    new.chmod(0o644)
    os.replace(new, file)
    return True
