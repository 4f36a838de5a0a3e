"""Action plugin behind `panda.provision.preflight`: collects the questions, sends them once, judges the answers."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleError
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

CHECKS = "ansible_collections.panda.provision.plugins.plugin_utils.preflight"
FAMILIES = ("RedHat", "Debian")
ROOT = Path(__file__).resolve().parents[2]
ROLES = ROOT / "roles"
# A text would be taken for one of these here, and for something else in a template: 'false' is true there.
TAKEN_AS_THEY_ARE = ("bool", "list", "dict")
SPELLING = """leave out the quotes, and on the command line write -e '{{"{name}": ...}}'"""


class ActionModule(ActionBase):
    """Report every fault of the roles' variables and of the node together."""

    TRANSFERS_FILES = False
    _supports_check_mode = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result: dict[str, Any] = super().run(tmp, task_vars)
        task_vars = task_vars or {}
        _, arguments = self.validate_argument_spec(
            argument_spec={
                "roles": {"type": "list", "elements": "str", "required": True},
                "only": {"type": "str", "choices": ["certificates"]},
            }
        )
        specifications = {role: self._options(role) for role in arguments["roles"]}
        faults = [fault for role, options in specifications.items() for fault in unknown(role, options, task_vars)]
        values, wrong = self._values(specifications, task_vars)
        faults += wrong.values()
        faults += unread(ROOT, [*task_vars["ansible_inventory_sources"], task_vars["playbook_dir"]])
        surroundings = self._surroundings(task_vars)
        packages = {family: self._packages(arguments["roles"], family) for family in FAMILIES}
        packages["SELinux"] = self._packages(arguments["roles"], kind="selinux_packages")
        look: dict[str, list[Any]] = {"packages": sorted({name for names in packages.values() for name in names})}
        besides: list[str] = []
        checks: list[tuple[Any, dict[str, Any]]] = []
        for role, options in specifications.items():
            if set(options) <= set(values):
                check = importlib.import_module(f"{CHECKS}.{role}")
                variables = {**{name: values[name] for name in options}, **surroundings}
                checks.append((check, variables))
                asked = check.look(variables)
                besides += asked.get("packages", [])
                for kind, wanted in asked.items():
                    look[kind] = look.get(kind, []) + [item for item in wanted if item not in look.get(kind, [])]
        seen = self._execute_module(module_args={"roles": arguments["roles"], "look": look}, task_vars=task_vars)
        if seen.get("failed") or seen.get("unreachable"):
            return {**result, **seen}
        for check, variables in checks:
            judge = check.certificate_faults if arguments["only"] else check.faults
            faults += judge(variables, seen["node"])
        if faults:
            return {**result, "failed": True, "faults": faults, "msg": report(task_vars["inventory_hostname"], faults)}
        for check, variables in checks:
            for warning in getattr(check, "warnings", lambda *_: [])(variables, seen["node"]):
                Display().warning(f"{task_vars['inventory_hostname']}: {warning}")
        return {**result, **seen, "missing_packages": missing(packages, besides, seen)}

    def _options(self, role: str) -> dict[str, Any]:
        """What the role's argument specification says of its variables."""
        path = ROLES / role / "meta" / "argument_specs.yml"
        specification = self._loader.load_from_file(str(path), trusted_as_template=True)
        options: dict[str, Any] = specification["argument_specs"]["main"]["options"]
        return options

    def _packages(self, roles: list[str], family: str = "", kind: str = "packages") -> list[str]:
        """The packages that the roles install on a family of operating systems: __<role>_<kind> in their vars."""
        found: list[str] = []
        for role in roles:
            for file in (ROLES / role / "vars" / "main.yml", ROLES / role / "vars" / f"{family.lower()}.yml"):
                variables = self._loader.load_from_file(str(file)) if file.is_file() else {}
                found += variables.get(f"__{role}_{kind}", [])
        return found

    def _surroundings(self, task_vars: dict[str, Any]) -> dict[str, Any]:
        """What a check may know besides the variables of its role."""
        addresses = {
            host: self._templar.template(task_vars["hostvars"][host].get("ansible_host", host))
            for host in task_vars["groups"]["all"]
        }
        names = {"inventory_hostname": task_vars["inventory_hostname"], "groups": task_vars["groups"]}
        return {**names, "addresses": addresses}

    def _values(
        self, specifications: dict[str, dict[str, Any]], task_vars: dict[str, Any]
    ) -> tuple[dict[str, Any], dict[str, str]]:
        """The value of every variable, and the fault of each whose value cannot be taken.

        For such a variable its default is returned, so that everything else can be judged all the same.
        """
        options = {name: option for role in specifications.values() for name, option in role.items()}
        values, wrong = self._typed(options, task_vars)
        if not wrong:
            return values, {}
        defaults = {name: options[name].get("default") for name in wrong}
        # A default is wrong only because it is made of another variable, whose fault is listed already.
        given = {name: fault for name, fault in wrong.items() if task_vars.get(name) != defaults[name]}
        values, still = self._typed(options, {**task_vars, **{name: defaults[name] for name in given}})
        return values, {**given, **still}

    def _typed(self, options: dict[str, Any], variables: dict[str, Any]) -> tuple[dict[str, Any], dict[str, str]]:
        """The variables of `options`, templated and typed, and the faults of those that cannot be."""
        templar = self._templar.copy_with_new_env(available_variables=variables)
        values: dict[str, Any] = {}
        wrong: dict[str, str] = {}
        for name, option in options.items():
            try:
                given = {name: templar.template(variables[name])} if name in variables else {}
            except AnsibleError as error:
                wrong[name] = f"{name}: {error.message}"
                continue
            if option.get("type") in TAKEN_AS_THEY_ARE and isinstance(given.get(name), str):
                wrong[name] = (
                    f"{name}: is the text '{given[name]}', not a {option['type']}: {SPELLING.format(name=name)}"
                )
                continue
            validated = ArgumentSpecValidator({name: option}).validate(given)
            if validated.error_messages:
                said = "; ".join(validated.error_messages)
                said = said.removeprefix(f"argument '{name}' ").removeprefix(f"value of {name} ")
                wrong[name] = f"{name}: {said}"
            else:
                values[name] = validated.validated_parameters.get(name)
        return values, wrong


def unknown(role: str, options: dict[str, Any], task_vars: dict[str, Any]) -> list[str]:
    """Variables with the role's prefix that the role does not have: most often a slip of the pen."""
    return [
        f"{name}: the role {role} has no such variable; see roles/{role}/README.md for those it has"
        for name in sorted(task_vars)
        if name.startswith(f"{role}_") and name not in options
    ]


def missing(packages: dict[str, list[str]], besides: list[str], seen: dict[str, Any]) -> list[str]:
    """The packages that a node needs and lacks. `packages` are those of each family, and those of EL under SELinux."""
    facts = seen["ansible_facts"]
    needed = packages[facts["os_family"]] + besides
    if facts["os_family"] == "RedHat" and facts["selinux"]["status"] == "enabled":
        needed = needed + packages["SELinux"]
    return sorted(set(needed) - set(seen["node"]["packages"]))


def unread(root: Path, places: list[str]) -> list[str]:
    """Folders of variables at the repository's root that nothing reads: no inventory and no playbook is beside them."""
    if root in [Path(place) if Path(place).is_dir() else Path(place).parent for place in places]:
        return []
    return [
        f"{root / name}: nothing reads it, Ansible looks beside the inventory; move it to inventories/production/{name}"
        for name in ("group_vars", "host_vars")
        if (root / name).is_dir()
    ]


def report(host: str, faults: list[str]) -> str:
    """All faults as one text."""
    lines = [f"{host}: nothing on it was changed. To mend first ({len(faults)}):"]
    return "\n".join(lines + [f"{number:3}. {fault}" for number, fault in enumerate(faults, 1)])
