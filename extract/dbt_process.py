"""dbt, in a process of its own: `python -m extract.dbt_process SELECTOR ARGUMENT …`.

It imports dbt and parses the project at once. It runs the command only when a line arrives on stdin, so that its parent
can read a source meanwhile. It writes to its parent on stdout, one JSON object a line:

    {"parsed": true}                    the project is parsed
    {"total": 135}                      how many nodes the command is about to run
    {"finished": 12, "node": "eurusd_h1"}
    {"result": {...}}                   last: each node's status, and the project's models with the selector
    {"error": "..."}                    last, instead of a result: dbt could not run any node

The end of stdin means that the parent is gone; this process then ends too.
"""

from __future__ import annotations

import gc
import json
import os
import sys
import threading
from typing import Any

# dbt makes millions of objects that live as long as it does. With Python's own thresholds a quarter of its time goes
# into looking through them for garbage; with these, memory grows by 8 MB.
GARBAGE_THRESHOLDS = (100_000, 50, 100)
QUIET = ["--quiet", "--log-level", "none", "--no-write-json"]


def main() -> None:
    """Parse the project, wait for a line on stdin, run the command, write the result."""
    tag, *arguments = sys.argv[1:]
    out = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what dbt or a package prints must not mix with our lines

    def tell(**message: object) -> None:
        out.write(json.dumps(message) + "\n")

    gc.set_threshold(*GARBAGE_THRESHOLDS)
    from dbt.cli.main import dbtRunner

    log_level = "debug" if os.environ.get("TRADEHOUSE_DBT_LOG") else "none"
    flags = [*QUIET, "--log-level-file", log_level]
    parsed = dbtRunner().invoke([*flags, "parse"])
    if parsed.result is None:
        tell(error=_one_line(parsed.exception))
        return
    tell(parsed=True)
    if not sys.stdin.readline():
        return
    threading.Thread(target=_end_with_parent, daemon=True).start()
    manifest: Any = parsed.result
    counter = _Counter(tell)
    done = dbtRunner(manifest=manifest, callbacks=[counter]).invoke([*flags, *arguments])
    if done.result is None or not hasattr(done.result, "results"):
        tell(error=_one_line(done.exception))
        return
    nodes = [
        {
            "name": each.node.name,
            "kind": str(each.node.resource_type),
            "status": str(each.status),
            "message": _one_line(each.message),
            "failures": each.failures,
        }
        for each in done.result.results
    ]
    tell(result={"nodes": nodes, "models": _models(manifest, tag)})


def _end_with_parent() -> None:
    sys.stdin.read()
    os._exit(1)


class _Counter:
    """A callback that dbt calls with each of its events: counts the nodes that have finished."""

    def __init__(self, tell: Any) -> None:
        self._tell = tell
        self._finished = 0

    def __call__(self, event: Any) -> None:
        if event.info.name == "LogStartLine" and self._finished == 0:
            self._tell(total=event.data.total)
        elif event.info.name == "NodeFinished":
            self._finished += 1
            self._tell(finished=self._finished, node=event.data.node_info.node_name)


def _models(manifest: Any, tag: str) -> list[dict[str, Any]]:
    """The models and seeds with a tag, each after those it depends on: name, relation, whether it is incremental."""
    found: list[dict[str, Any]] = []
    seen: set[str] = set()

    def visit(unique_id: str) -> None:
        node = manifest.nodes.get(unique_id)
        if node is None or unique_id in seen or str(node.resource_type) not in ("model", "seed"):
            return
        seen.add(unique_id)
        for parent in sorted(node.depends_on.nodes) if hasattr(node.depends_on, "nodes") else []:
            visit(parent)
        if tag in node.tags and node.config.enabled and node.config.materialized != "ephemeral":
            found.append(
                {
                    "model": node.name,
                    "relation": f"{node.schema}.{node.alias}",
                    "is_incremental": node.config.materialized == "incremental",
                }
            )

    for unique_id in sorted(manifest.nodes):
        visit(unique_id)
    return found


def _one_line(message: object) -> str:
    return " ".join(str(message or "dbt gave no message").split())


if __name__ == "__main__":
    main()
