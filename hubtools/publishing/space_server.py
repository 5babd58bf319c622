"""Run a published Space on this machine."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

from hubtools.errors import HubtoolsError, MissingStage
from hubtools.publishing.front_matter import split_card


def run_space(repo: str, port: int = 0) -> tuple[subprocess.Popen[bytes], str]:
    """Download the published Space and start it on 127.0.0.1.

    Returns:
        its process and address, once it answers.

    Raises:
        MissingStage: there is no such Space.
        HubtoolsError: the port is taken, or it ended before it answered.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import RepositoryNotFoundError

    try:
        folder = snapshot_download(repo, repo_type="space")
    except RepositoryNotFoundError as error:
        raise MissingStage(f"There is no Space {repo}", next="hubtools push-space") from error
    port = find_port(port)
    url = f"http://127.0.0.1:{port}"
    # For this machine alone, whatever address the user's environment has for other apps.
    environment = os.environ | {"GRADIO_SERVER_NAME": "127.0.0.1", "GRADIO_SERVER_PORT": str(port)}
    # By its name: the file may be a link into the cache, where the modules beside it are not.
    command = ["-m", "http.server", str(port), "--bind", "127.0.0.1"] if _is_static(Path(folder)) else ["-m", "app"]
    process = subprocess.Popen([sys.executable, *command], cwd=folder, env=environment, stdout=sys.stderr)
    # An app loads its models before it answers, and downloads them the first time.
    until = time.monotonic() + 180
    try:
        while time.monotonic() < until:
            if process.poll() is not None:
                raise HubtoolsError(f"The Space {repo} ended with exit code {process.returncode}", found="see above")
            try:
                with urllib.request.urlopen(url, timeout=2) as answer:
                    if answer.status == 200:
                        return process, url
            except (urllib.error.URLError, TimeoutError, ConnectionError):
                time.sleep(0.3)
        raise HubtoolsError(f"The Space {repo} does not answer at {url}", expected="an answer within 3 minutes")
    except BaseException:  # Ctrl-C as well: no process is left behind
        process.terminate()
        process.wait()
        raise


def find_port(port: int) -> int:
    """Return a port of this machine that nobody uses: ``port`` itself, or any for 0.

    Raises:
        HubtoolsError: it is taken.
    """
    with socket.socket() as free:
        free.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # a server that has just ended does not hold it
        try:
            free.bind(("127.0.0.1", port))
        except OSError as error:
            raise HubtoolsError(
                f"The Space cannot listen on port {port}",
                expected="a port of this machine that nobody uses",
                found=str(error),
                next="hubtools demo --port 0, which takes a free one",
            ) from error
        taken: int = free.getsockname()[1]
        return taken


def _is_static(folder: Path) -> bool:
    return split_card((folder / "README.md").read_text(encoding="utf-8"))[0].get("sdk") == "static"
