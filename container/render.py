"""Writes what is generated from other files here: the PrometheusRule and the dashboards.

Run it after a change of container/prometheus or container/grafana: `python container/render.py`. A test fails while
what is committed differs.
"""

from __future__ import annotations

import sys
from pathlib import Path

HERE = Path(__file__).parent
RULE = """# Rendered from container/prometheus by container/render.py.
apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
metadata:
  name: telemetry-agent
spec:
  groups:
"""


def rendered() -> dict[str, str]:
    """Path below this directory and content of everything that is generated."""
    sys.path.insert(0, str(HERE / "grafana"))
    import dashboards

    return {"kubernetes/monitoring/prometheusrule.yaml": _rule()} | {
        f"grafana/dashboards/{name}.json": content for name, content in dashboards.rendered().items()
    }


def _rule() -> str:
    """The groups of both files as one object; they are indented further, not understood."""
    groups = ""
    for name in ("alerts.yaml", "recorded.yaml"):
        below = (HERE / "prometheus" / name).read_text("utf-8").partition("\ngroups:\n")[2]
        groups += "".join(f"  {line}" for line in below.splitlines(keepends=True))
    return RULE + groups


if __name__ == "__main__":
    for path, content in rendered().items():
        (HERE / path).write_text(content, "utf-8")
