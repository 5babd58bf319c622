"""What the Space's process holds after many visitors: memory after 100 sessions against memory after 3,000.

    hubtools demo --hub local --hub-dir .demo/hub --port 7860
    python benchmarks/space_memory.py http://127.0.0.1:7860 PID

PID is that of ``python -m app``. Each session does what a browser does: it fetches the page and its settings, asks one
prompt by the page's own event, and reads the answer to its end. Linux alone. Prints the figures, and writes
``benchmarks/results/space_memory.json``.
"""

from __future__ import annotations

import argparse
import json
import re
import time
import urllib.request
import uuid
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"
PROMPT = "My name is Maria Keller, you reach me at maria.keller@example.com. Session {number}."


def read(url: str, body: Any = None) -> str:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=120) as answer:
        text: str = answer.read().decode()
        return text


def find_event(url: str) -> tuple[int, list[float]]:
    """The number of the page's own event that asks a prompt, and the thresholds that go along."""
    config = json.loads(read(f"{url}/config"))
    components = {part["id"]: part for part in config["components"]}
    for event in config["dependencies"]:
        parts = [components[number] for number in event["inputs"]]
        if parts and parts[0]["props"].get("elem_id") == "prompt" and len(parts) > 1:
            return event["id"], [part["props"]["value"] for part in parts[1:]]
    raise SystemExit(f"{url} has no event that asks a prompt.")


def visit(url: str, event: int, limits: list[float], number: int) -> None:
    session = uuid.uuid4().hex
    read(url)
    read(f"{url}/config")
    body = {"data": [PROMPT.format(number=number), *limits], "fn_index": event, "session_hash": session}
    read(f"{url}/gradio_api/queue/join", body)
    told = read(f"{url}/gradio_api/queue/data?session_hash={session}")
    if '"msg":"process_completed"' not in told.replace(" ", "") or '"success":true' not in told.replace(" ", ""):
        raise SystemExit(f"Session {number} was not answered: {told[-300:]}")


def resident(pid: int) -> float:
    """MB of memory that a process holds."""
    found = re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    assert found
    return round(int(found[1]) / 1024, 1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("url", help="of a running Space")
    parser.add_argument("pid", type=int, help="of its process")
    parser.add_argument("--sessions", type=int, nargs=2, default=[100, 3000], metavar=("FIRST", "LAST"))
    options = parser.parse_args()
    first, last = options.sessions
    event, limits = find_event(options.url)
    held, began = {}, time.monotonic()
    for number in range(1, last + 1):
        visit(options.url, event, limits, number)
        if number in (first, last) or number % 500 == 0:
            held[number] = resident(options.pid)
            print(f"{number} sessions, {time.monotonic() - began:.0f} s: {held[number]} MB", flush=True)
    result = {"mb_after_sessions": held, "growth": round(held[last] / held[first] - 1, 4)}
    print(json.dumps(result, indent=2))
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "space_memory.json").write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
