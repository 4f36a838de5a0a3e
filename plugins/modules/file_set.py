#!/usr/bin/python
"""Write a set of files and directories in one module execution."""

from __future__ import annotations

DOCUMENTATION = r"""
module: file_set
short_description: Write a set of files and directories together
description:
  - Brings directories and files that belong together into the stated condition in one
    module execution, where one C(file), C(copy) or C(template) task an item costs a round trip each.
  - The order is folders, trial, files, removals. The trial takes place when a file of the set
    differs. The whole set is laid out in a private folder and tried by the I(validate) commands there.
    If one of them fails, no file has been changed.
  - Each file is replaced atomically.
  - In a diff the value of a parameter whose name says that it is a secret is left out. A file that was written by
    other means may hold one where this one refers to the environment.
options:
  directories:
    description: Folders to have, parents first.
    type: list
    elements: dict
    default: []
    suboptions:
      path: {description: Absolute path., type: path, required: true}
      owner: {description: Owner., type: str, default: root}
      group: {description: Group., type: str, default: root}
      mode: {description: Mode in octal., type: str, default: "0755"}
  files:
    description: Files to have.
    type: list
    elements: dict
    default: []
    suboptions:
      path: {description: Absolute path., type: path, required: true}
      content: {description: Text of the file., type: str, required: true}
      owner: {description: Owner., type: str, default: root}
      group: {description: Group., type: str, default: root}
      mode: {description: Mode in octal., type: str, default: "0644"}
      create_only: {description: Leave the text of a file alone that exists., type: bool, default: false}
      secret: {description: "Show that the text changes, but never the text.", type: bool, default: false}
  absent:
    description: Files and links to remove. A folder is refused.
    type: list
    elements: path
    default: []
  validate:
    description:
      - Commands, without a shell, that try the set before it is written; C({stage}) becomes the private
        folder in which every file of the set stands at its full path.
      - Under C(--check) a command whose program is not installed yet is skipped, and a warning says so.
    type: list
    elements: str
    default: []
  pending:
    description:
      - A file that lists the paths that were changed and are not in use yet, below C(/run), because a reboot puts them
        into use. A path of this set that it lists is reported as changed again, so that a run that was interrupted
        before its handlers is made up for by the next. Whoever puts them into use removes the file.
    type: path
attributes:
  check_mode: {support: full}
  diff_mode: {support: full}
author: panda-provision
"""

EXAMPLES = r"""
- name: Write the configuration of httpd
  panda.provision.file_set:
    files:
      - path: /etc/panda/panda_server-httpd.conf
        content: "{{ lookup('ansible.builtin.template', 'panda_server-httpd.conf.j2') }}"
    validate:
      - /usr/sbin/httpd -t -f {stage}/etc/panda/panda_server-httpd.conf
  notify: Reload httpd
"""

RETURN = r"""
changed_paths:
  description: Every path that was (or under C(--check) would be) changed, and those of O(pending).
  type: list
  elements: str
  returned: always
"""

import grp
import os
import pwd
import shlex
import shutil
import stat
import tempfile
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.panda.provision.plugins.module_utils.files import naming
from ansible_collections.panda.provision.plugins.module_utils.secrets import without_secrets

OWNERSHIP = {
    "owner": {"type": "str", "default": "root"},
    "group": {"type": "str", "default": "root"},
}


def read(path: str) -> bytes | None:
    """The bytes of a regular file; None where there is none."""
    if os.path.islink(path) or not os.path.isfile(path):
        return None
    with open(path, "rb") as file:
        return file.read()


def is_folder(path: str) -> bool:
    """Whether a folder itself, not a link to one, stands at a path."""
    return os.path.isdir(path) and not os.path.islink(path)


def text(content: bytes | None) -> str:
    """The text of a file's bytes."""
    return "" if content is None else content.decode("utf-8", "replace")


class FileSet:
    """One run of the module: what differs, the trial, then the writing."""

    def __init__(self, module: AnsibleModule) -> None:
        self.module = module
        self.changed_paths: list[str] = []
        self.diffs: list[dict[str, str]] = []
        self.owed = self.read_owed()

    def read_owed(self) -> list[str]:
        """The paths that an earlier run has changed, and that nobody has put into use."""
        pending = self.module.params["pending"]
        return text(read(pending)).splitlines() if pending else []

    def owe(self, path: str) -> None:
        """Note that a path is about to change."""
        pending = self.module.params["pending"]
        if pending and not self.module.check_mode and path not in self.owed:
            os.makedirs(os.path.dirname(pending), mode=0o700, exist_ok=True)
            with open(pending, "a") as file:
                file.write(f"{path}\n")
            self.owed.append(path)

    def refuse(self) -> None:
        """Fail, before anything is changed, where something of another kind stands in the way."""
        params = self.module.params
        wrong = [
            f"{item['path']}: a folder is wanted here and something else stands in its place"
            for item in params["directories"]
            if os.path.lexists(item["path"]) and not os.path.isdir(item["path"])
        ]
        for wanted, paths in (
            ("a file is wanted here and", [item["path"] for item in params["files"]]),
            ("only files and links are removed, and", params["absent"]),
        ):
            wrong += [f"{path}: {wanted} a folder stands in its place" for path in paths if is_folder(path)]
        if wrong:
            self.module.fail_json(msg="nothing was changed: " + "; ".join(wrong))

    def changed(self, path: str, before: str, after: str) -> None:
        self.owe(path)
        if path not in self.changed_paths:
            self.changed_paths.append(path)
        self.diffs.append({"before_header": path, "after_header": path, "before": before, "after": after})

    def attributes(self, item: dict[str, Any], path: str) -> None:
        """Set owner, group, mode and SELinux context of what stands at `path`."""
        if not os.path.lexists(path):
            return  # --check: it would be made just now
        wanted = {key: item[key] for key in ("owner", "group", "mode")}
        if self.module.check_mode:
            # An account of which --check only said that it would be made has no id to compare yet.
            if not known(pwd.getpwnam, item["owner"]):
                wanted["owner"] = None
            if not known(grp.getgrnam, item["group"]):
                wanted["group"] = None
        arguments = self.module.load_file_common_arguments({"path": path, **wanted}, path=path)
        diff: dict[str, Any] = {"before": {}, "after": {}}
        if self.module.set_fs_attributes_if_different(arguments, False, diff=diff):
            self.changed(path, f"{diff['before']}\n", f"{diff['after']}\n")

    def directory(self, item: dict[str, Any]) -> None:
        path = item["path"]
        if not os.path.isdir(path):
            self.changed(path, "absent\n", "directory\n")
            if not self.module.check_mode:
                os.makedirs(path)
        # A link to a folder serves as one; owner and mode are those of the folder itself.
        self.attributes(item, os.path.realpath(path))

    def differs(self, item: dict[str, Any]) -> bool:
        current = read(item["path"])
        if current is None:
            return True
        return not item["create_only"] and current != item["content"].encode()

    def file(self, item: dict[str, Any], differs: bool) -> None:
        path = item["path"]
        if differs:
            before, after = text(read(path)), item["content"]
            if item["secret"]:
                before, after = before and "(secret, before)\n", "(secret, after)\n"
            self.changed(path, without_secrets(before), without_secrets(after))
            if not self.module.check_mode:
                self.write(item)
        self.attributes(item, path)

    def write(self, item: dict[str, Any]) -> None:
        """Replace the file in one step; its text is never readable with a wider mode than it ends with."""
        path = item["path"]
        if not os.path.isdir(os.path.dirname(path)):
            self.module.fail_json(msg=f"{path}: its folder does not exist: name it among the directories")
        handle, temporary = tempfile.mkstemp(prefix=".file_set-", dir=os.path.dirname(path))
        try:
            with naming(path), os.fdopen(handle, "wb") as file:
                file.write(item["content"].encode())
                file.flush()
                os.fsync(file.fileno())
            wanted = {"path": temporary, **{key: item[key] for key in ("owner", "group", "mode")}}
            self.module.set_fs_attributes_if_different(
                self.module.load_file_common_arguments(wanted, path=temporary), False
            )
            os.replace(temporary, path)
        except BaseException:
            os.unlink(temporary)
            raise

    def remove(self, path: str) -> None:
        if not os.path.lexists(path):
            return
        # Not its text: it may have been a secret.
        self.changed(path, "present\n", "absent\n")
        if not self.module.check_mode:
            os.unlink(path)

    def stage(self, files: list[dict[str, Any]], root: str) -> None:
        """Lay out every file of the set below `root`, closed to everybody else."""
        for item in files:
            path = root + item["path"]
            os.makedirs(os.path.dirname(path), exist_ok=True)
            current = read(item["path"])
            keep = item["create_only"] and current is not None
            content = current if keep and current is not None else item["content"].encode()
            with naming(path), open(path, "wb") as file:
                file.write(content)
            os.chmod(path, stat.S_IRUSR | stat.S_IWUSR)

    def validate(self, commands: list[str], root: str) -> None:
        for command in commands:
            words = [word.replace("{stage}", root) for word in shlex.split(command)]
            if shutil.which(words[0]) is None:
                if not self.module.check_mode:
                    self.module.fail_json(msg=f"no file was written: {words[0]}, which tries them, is not installed")
                self.module.warn(f"{words[0]} is not installed yet: the files it would try are not tried")
                continue
            code, out, err = self.module.run_command(words)
            if code != 0:
                said = (out + err).replace(root, "").strip()
                self.module.fail_json(
                    msg=f"no file was written: {command.replace('{stage}', '')} answered {code}: {said}",
                    command=command,
                    rc=code,
                )

    def run(self) -> None:
        params = self.module.params
        # Where a run is so verbose that it shows the arguments.
        self.module.no_log_values.update(
            item["content"] for item in params["files"] if item["secret"] and item["content"]
        )
        self.refuse()
        paths = {item["path"] for kind in ("directories", "files") for item in params[kind]} | set(params["absent"])
        self.changed_paths += [path for path in self.owed if path in paths]
        for item in params["directories"]:
            self.directory(item)
        root = tempfile.mkdtemp(prefix="file_set-", dir=self.module.tmpdir)
        try:
            differing = {item["path"] for item in params["files"] if self.differs(item)}
            if differing:
                self.stage(params["files"], root)
                self.validate(params["validate"], root)
            for item in params["files"]:
                self.file(item, item["path"] in differing)
        finally:
            shutil.rmtree(root, ignore_errors=True)
        for path in params["absent"]:
            self.remove(path)


def known(look_up: Any, name: str) -> bool:
    """Whether an account or group of this name exists on the node."""
    try:
        look_up(name)
    except KeyError:
        return False
    return True


def main() -> None:
    """Run as an Ansible module."""
    module = AnsibleModule(
        argument_spec={
            "directories": {
                "type": "list",
                "elements": "dict",
                "default": [],
                "options": {
                    "path": {"type": "path", "required": True},
                    "mode": {"type": "str", "default": "0755"},
                    **OWNERSHIP,
                },
            },
            "files": {
                "type": "list",
                "elements": "dict",
                "default": [],
                "options": {
                    "path": {"type": "path", "required": True},
                    "content": {"type": "str", "required": True},
                    "mode": {"type": "str", "default": "0644"},
                    "create_only": {"type": "bool", "default": False},
                    "secret": {"type": "bool", "default": False},
                    **OWNERSHIP,
                },
            },
            "absent": {"type": "list", "elements": "path", "default": []},
            "validate": {"type": "list", "elements": "str", "default": []},
            "pending": {"type": "path"},
        },
        supports_check_mode=True,
    )
    file_set = FileSet(module)
    try:
        file_set.run()
    except OSError as error:
        module.fail_json(msg=f"{error.filename}: {error.strerror}", changed=bool(file_set.changed_paths))
    module.exit_json(changed=bool(file_set.changed_paths), changed_paths=file_set.changed_paths, diff=file_set.diffs)


if __name__ == "__main__":
    main()
