"""Write the alert rules and the dashboards as Kubernetes wants them, from our one copy of each.

    .venv/bin/python packaging/monitoring.py

kustomize reads no file outside of its own folder, so what `deploy/kubernetes/components/monitoring`
takes from `deploy/prometheus` and `deploy/grafana` is written into it. `tests/deploy` fails when
that is out of date.
"""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[1]
COMPONENT: Final = ROOT / "deploy/kubernetes/components/monitoring"

MADE_BY: Final = "# Made by packaging/monitoring.py from {source}: change that, and run it.\n"

RULE: Final = """\
apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
metadata:
  name: quorate
  labels: {app.kubernetes.io/name: quorate, release: kube-prometheus-stack}
spec:
"""

DASHBOARD: Final = """\
apiVersion: v1
kind: ConfigMap
metadata:
  name: dashboard-%(name)s
  labels: {app.kubernetes.io/name: quorate, grafana_dashboard: "1"} # for Grafana's sidecar
data:
  %(name)s.json: |
"""


def rule() -> str:
    """Return the PrometheusRule; comments of the rules stay in it."""
    text = (ROOT / "deploy/prometheus/rules.yaml").read_text()
    return MADE_BY.format(source="deploy/prometheus/rules.yaml") + RULE + _indented(text, 2)


def dashboards() -> str:
    """Return a ConfigMap for each dashboard."""
    documents = [
        DASHBOARD % {"name": path.stem} + _indented(path.read_text(), 4)
        for path in sorted((ROOT / "deploy/grafana/dashboards").glob("*.json"))
    ]
    return MADE_BY.format(source="deploy/grafana/dashboards") + "---\n".join(documents)


def _indented(text: str, columns: int) -> str:
    return textwrap.indent(text.rstrip() + "\n", " " * columns)


def files() -> dict[Path, str]:
    """Return what is to be in each file."""
    return {COMPONENT / "rules.yaml": rule(), COMPONENT / "dashboards.yaml": dashboards()}


def main() -> None:
    """Write the files."""
    for path, text in files().items():
        path.write_text(text)


if __name__ == "__main__":
    main()
