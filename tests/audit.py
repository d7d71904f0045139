"""Known vulnerabilities of the installed packages, by pip-audit: `make audit`.

Exit code 0: every package was looked up and none is known to be vulnerable; 1: some are; 2: not all were looked up.
pip-audit itself ends with 0 where it could look up nothing at all.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

PROJECT = "salience-probe"
"""On no index, so nobody can look it up."""
LIMIT_S = 900
_SHOWN = 5


def installed() -> list[str]:
    """name==version of every package of this environment; builds such as 2.5+cpu by the version that they are of."""
    found = {d.metadata["Name"]: d.version.partition("+")[0] for d in distributions() if d.metadata["Name"]}
    return sorted(f"{name}=={version}" for name, version in found.items() if name.lower() != PROJECT)


def run(command: str, packages: list[str]) -> tuple[int, list[str]]:
    """(exit code, what to say) of pip-audit on these packages."""
    with tempfile.TemporaryDirectory() as folder:
        listed, answer = Path(folder) / "requirements.txt", Path(folder) / "answer.json"
        listed.write_text("\n".join(packages) + "\n", encoding="utf-8")
        how = ("--no-deps", "--disable-pip", "--progress-spinner", "off", "--format", "json", "--output", str(answer))
        try:
            done = subprocess.run(
                [command, "--requirement", str(listed), *how], capture_output=True, text=True, timeout=LIMIT_S
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            return 2, [f"nothing was looked up: pip-audit did not run ({error})"]
        if not answer.is_file():
            last = done.stderr.strip().splitlines()[-1:] or [f"exit status {done.returncode}"]
            return 2, [f"nothing was looked up: pip-audit failed ({last[0]}); is the vulnerability service reachable?"]
        return judged(json.loads(answer.read_text(encoding="utf-8")))


def judged(document: dict[str, Any]) -> tuple[int, list[str]]:
    """(exit code, what to say) of pip-audit's JSON."""
    packages = document["dependencies"]
    unknown = [package for package in packages if "skip_reason" in package]
    known = [package for package in packages if "skip_reason" not in package]
    holes = [hole for package in known for hole in _holes(package)]
    if not known:
        why = unknown[0]["skip_reason"] if unknown else "no package is installed"
        return 2, [f"nothing was looked up: not one of {len(packages)} packages ({why}); is the service reachable?"]
    said = [f"{len(known)} of {len(packages)} packages were looked up, {len(holes)} known vulnerabilities", *holes]
    if unknown:
        names = ", ".join(package["name"] for package in unknown[:_SHOWN]) + (" ..." if len(unknown) > _SHOWN else "")
        said.append(f"{len(unknown)} were not: {names}: {unknown[0]['skip_reason']}")
    return (1 if holes else 2 if unknown else 0), said


def _holes(package: dict[str, Any]) -> Iterator[str]:
    for hole in package["vulns"]:
        mended = ", ".join(hole.get("fix_versions", ())) or "no version yet"
        yield f"  {package['name']} {package['version']}: {hole['id']}, mended in {mended}"


if __name__ == "__main__":
    code, lines = run(sys.argv[1], installed())
    sys.stdout.write("\n".join(lines) + "\n")
    sys.exit(code)
