"""The actions of Argo CD's component: `python -m dev.argocd` makes one value of argocd-cm from the files of each."""

from __future__ import annotations

from pathlib import Path

COMPONENT = Path(__file__).resolve().parent.parent / "manifests/components/argocd"
CUSTOMIZATION = COMPONENT / "resource_customizations/multipartcopy.dev/MultipartCopy"
VALUE = COMPONENT / "actions.yaml"


def actions() -> str:
    """https://argo-cd.readthedocs.io/en/stable/operator-manual/resource_actions/"""
    lines = ["# Made from resource_customizations/ by `python -m dev.argocd`."]
    lines += ["discovery.lua: |", *_indented(CUSTOMIZATION / "actions/discovery.lua", 2)]
    lines += ["definitions:"]
    for script in sorted(CUSTOMIZATION.glob("actions/*/action.lua")):
        lines += [f"  - name: {script.parent.name}", "    action.lua: |", *_indented(script, 6)]
    return "\n".join(lines) + "\n"


def _indented(script: Path, width: int) -> list[str]:
    lines = script.read_text().splitlines()
    return [f"{' ' * width}{line}" if line else "" for line in lines]


if __name__ == "__main__":
    VALUE.write_text(actions())
