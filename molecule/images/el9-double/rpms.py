#!/usr/bin/env python3
"""Make the EL9 double's RPM repository out of Debian packages, as packages.yml says.

usage: rpms.py donors                 print the Debian packages that are needed
       rpms.py base                   print the RPMs that the root tree starts with
       rpms.py build DEBDIR REPODIR   make the RPMs and their repository
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import yaml

HERE = Path(__file__).resolve().parent

Package = dict[str, Any]

SPEC = """\
Name: {name}
Version: {version}
Release: 1.el9double
Summary: EL9 double of {name}
License: as the Debian packages it is made of
BuildArch: {arch}
AutoReqProv: no
{dependencies}
%global __os_install_post %{{nil}}
%global debug_package %{{nil}}
%global _build_id_links none
%description
Stands in for the EL9 package {name} on a test node. Made of: {donors}.
%install
cp -a {stage}/. %{{buildroot}}/
{scripts}
%files
{files}
"""

USER = """\
%pre
getent group {name} >/dev/null || groupadd -r -g {uid} {name}
getent passwd {name} >/dev/null || useradd -r -u {uid} -g {name} -d {home} -s /sbin/nologin {name}
"""

UNIT = """\
%post
[ $1 -eq 1 ] && systemctl preset {unit} >/dev/null 2>&1 || :
%preun
[ $1 -eq 0 ] && systemctl disable --now {unit} >/dev/null 2>&1 || :
%postun
systemctl daemon-reload >/dev/null 2>&1 || :
"""


def target(path: str, rules: list[dict[str, str | None]]) -> str | None:
    """Where a Debian package's file goes, or None when it is left out."""
    for rule in rules:
        ((pattern, replacement),) = rule.items()
        if re.search(pattern, path):
            return path if replacement == "=" else replacement and re.sub(pattern, replacement, path)
    return None


def is_payload(path: Path) -> bool:
    """Whether an RPM lists the path as a file of its own: all but folders."""
    return path.is_symlink() or not path.is_dir()


def unpack(deb: Path, package: Package, stage: Path) -> None:
    """Put the files of a Debian package where the RPM has them."""
    with tempfile.TemporaryDirectory() as scratch:
        subprocess.run(["dpkg-deb", "-x", deb, scratch], check=True)
        for source in filter(is_payload, Path(scratch).rglob("*")):
            path = target(f"/{source.relative_to(scratch)}", package["map"])
            if path:
                destination = stage / path.lstrip("/")
                destination.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(source, destination, follow_symlinks=False)


def copy_overlay(overlay: Path, stage: Path) -> None:
    """Add our own files, with modes that do not depend on the umask of the checkout."""
    shutil.copytree(overlay, stage, symlinks=True, dirs_exist_ok=True)
    for source in overlay.rglob("*"):
        if source.is_file() and not source.is_symlink():
            executable = source.stat().st_mode & 0o100
            (stage / source.relative_to(overlay)).chmod(0o755 if executable else 0o644)


def patch(file: Path, old: str, new: str) -> None:
    """Replace a path that is compiled into a program, without moving what follows it."""
    content = file.read_bytes()
    if old.encode() not in content:
        sys.exit(f"rpms.py: {old!r} is not in {file}: the Debian package has changed, mend packages.yml")
    file.write_bytes(content.replace(old.encode(), new.encode().ljust(len(old.encode()), b"\0")))


def file_list(package: Package, stage: Path) -> list[str]:
    """Return the lines of the RPM's %files."""
    lines = [f"%attr({attributes}) %dir {path}" for path, attributes in package.get("dirs", {}).items()]
    for source in sorted(filter(is_payload, stage.rglob("*"))):
        path = f"/{source.relative_to(stage)}"
        config = "%config(noreplace) " if path.startswith("/etc/") and not source.is_symlink() else ""
        attributes = [
            f"%attr({value}) " for pattern, value in package.get("attr", {}).items() if re.search(pattern, path)
        ]
        lines.append(f'{config}{"".join(attributes[:1])}"{path}"')
    return lines


def build(name: str, package: Package, debs: Path, repository: Path) -> None:
    """Make one RPM."""
    with tempfile.TemporaryDirectory() as scratch:
        stage = Path(scratch, "stage")
        stage.mkdir()
        version, donors = str(package.get("version", "")), []
        for donor in package.get("debs", []):
            deb = next(debs.glob(f"{donor}_*.deb"))
            debian_version = subprocess.check_output(["dpkg-deb", "-f", deb, "Version"], text=True).strip()
            donors.append(f"{donor} {debian_version}")
            version = version or re.sub(r"^\d+:|[-+~].*$", "", debian_version)
            unpack(deb, package, stage)
        if (HERE / "overlay" / name).is_dir():
            copy_overlay(HERE / "overlay" / name, stage)
        for path, (old, new) in package.get("patch", {}).items():
            patch(stage / path.lstrip("/"), old, new)
        for path, destination in package.get("links", {}).items():
            link = stage / path.lstrip("/")
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(destination)
        for path in package.get("dirs", {}):
            (stage / path.lstrip("/")).mkdir(parents=True, exist_ok=True)

        dependencies = [
            f"{tag.capitalize()}: {value}" for tag in ("requires", "provides") for value in package.get(tag, [])
        ]
        scripts = ""
        if "user" in package:
            scripts += USER.format_map(dict(zip(("name", "uid", "home"), package["user"], strict=True)))
        if "unit" in package:
            scripts += UNIT.format(unit=package["unit"])
        arch = package.get("arch", "x86_64")
        spec = Path(scratch, f"{name}.spec")
        spec.write_text(
            SPEC.format(
                name=name,
                version=version,
                arch=arch,
                dependencies="\n".join(dependencies),
                donors=", ".join(donors) or "nothing, it is a name only",
                stage=stage,
                scripts=scripts,
                files="\n".join(file_list(package, stage)),
            )
        )
        macros = {"_topdir": f"{scratch}/top", "_rpmdir": str(repository), "_binary_payload": "w1.gzdio"}
        defines = [f"--define={name} {value}" for name, value in macros.items()]
        subprocess.run(["rpmbuild", "-bb", "--quiet", f"--target={arch}", *defines, spec], check=True)


def main(arguments: list[str]) -> None:
    """Do what the command line says."""
    catalogue = yaml.safe_load((HERE / "packages.yml").read_text())
    match arguments:
        case ["donors"]:
            print(*sorted({deb for package in catalogue["packages"].values() for deb in package.get("debs", [])}))
        case ["base"]:
            print("almalinux-release", *catalogue["base"])
        case ["build", debs, repository]:
            Path(repository).mkdir(parents=True)
            with ThreadPoolExecutor() as pool:
                everything = (catalogue["packages"] | catalogue["base"]).items()
                jobs = [pool.submit(build, name, package, Path(debs), Path(repository)) for name, package in everything]
                for job in jobs:
                    job.result()
            subprocess.run(["createrepo_c", "--quiet", "--no-database", repository], check=True)
        case _:
            sys.exit(__doc__)


if __name__ == "__main__":
    main(sys.argv[1:])
