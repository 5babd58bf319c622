"""The static page's own modules in Chromium, and folders served as a static Space is."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

SPACES = Path(__file__).parents[2] / "spaces"


class Quiet(SimpleHTTPRequestHandler):
    """Says nothing on stderr, and calls WebAssembly by its type, without which no browser streams it."""

    extensions_map = SimpleHTTPRequestHandler.extensions_map | {".js": "text/javascript", ".wasm": "application/wasm"}

    def log_message(self, *_: Any) -> None:
        pass


@contextmanager
def serving(folder: Path) -> Iterator[str]:
    """Serve a folder on 127.0.0.1: its address."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


CALL = """async ([calls]) => {
  const done = [];
  for (const [module, name, args] of calls) {
    const found = (await import(`/static_page/src/${module}.js`))[name];
    done.push(await found(...args) ?? null);
  }
  return done;
}"""


def call(page: Any, *calls: tuple[str, str, list[Any]]) -> list[Any]:
    """What functions of the page's modules give: (module, function, arguments) each, as JSON."""
    done: list[Any] = page.evaluate(CALL, [[list(one) for one in calls]])
    return done
