"""Apprise, in a process of its own: `python -m extract.alert_process`.

It reads one JSON object on stdin:

    {"seconds": 20, "limit": 60, "jobs": [{"position": 1, "url": …, "title": …, "body": …, "good": true}, …]}

Each job may take so many seconds, the process no longer than the limit. A job whose `body` is null only asks whether
Apprise can read the URL. As soon as a job is done, it writes a line on stdout, `{"position": 1, "failure": null}`, or
why the job failed. Nothing that it writes holds any part of a URL.
"""

from __future__ import annotations

import json
import os
import re
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

STATUS = re.compile(r"\berror=(\d{3})\b")


def main() -> None:
    """Do the jobs side by side, and end."""
    out = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what a plugin prints must not mix with our lines
    task = json.load(sys.stdin)
    end = threading.Timer(task["limit"] + 1, os._exit, (1,))  # for when the parent is gone
    end.daemon = True
    end.start()

    def do(job: dict[str, Any]) -> None:
        failure = _failure(job, task["seconds"])
        out.write(json.dumps({"position": job["position"], "failure": failure}) + "\n")

    with ThreadPoolExecutor(max_workers=len(task["jobs"])) as pool:
        list(pool.map(do, task["jobs"]))
    out.flush()
    os._exit(0)  # a send that Apprise has given up may still hold a thread


def _failure(job: dict[str, Any], seconds: float) -> str | None:
    """Do one job; say why it failed. Apprise's own words may hold a secret, so none of them is passed on."""
    import apprise

    receiver = apprise.Apprise()
    if not receiver.add(job["url"]):
        return "Apprise cannot read it"
    if job["body"] is None:
        return None
    result = receiver.notify(
        title=job["title"],
        body=job["body"],
        body_format=apprise.NotifyFormat.TEXT,
        notify_type=apprise.NotifyType.SUCCESS if job["good"] else apprise.NotifyType.WARNING,
        timeout=seconds,
    )
    if result:
        return None
    if result.status == apprise.AppriseResultStatus.TIMEOUT:
        return f"no answer within {seconds:g} s"
    words = " ".join(entry.message for entry in result.logs())
    status = STATUS.search(words)
    if status:
        return f"answered with status {status.group(1)}"
    if "onnection error" in words:
        return "cannot be reached, or does not answer"
    return "Apprise could not send it"


if __name__ == "__main__":
    main()
