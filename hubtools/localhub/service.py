"""The process around the embedded Hub: start it, find it, stop it, and the environment for its clients.

A data folder has one server at a time. Beside the repos it holds:

    token           the Hub's token, made once, readable by its owner only
    hub.json        url and pid of the running server
    port            the port last used, so that an exported HF_ENDPOINT survives a restart
    mirrors.json    the mirrored folders; the server reads it again when it changes
    server.lock     held by the server as long as it lives
    start.lock      held while a server is being started
    server.log      the server's log
    client/         HF_HOME for the Hub's clients
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import logging
import os
import secrets
import shlex
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from hubtools.errors import HubtoolsError, HubUnavailable, StorageError, UsageError

LOOPBACK = ("127.0.0.1", "::1", "localhost")
LOG_LIMIT = 10 << 20  # bytes of server.log kept from earlier starts, beside one older file
_STARTER = Path(__file__).resolve().parent.parent / "starter"
_CHILDREN: list[subprocess.Popen[bytes]] = []  # kept, so that Python does not warn of a child it forgot


@dataclass(frozen=True)
class Hub:
    """A running embedded Hub."""

    url: str
    token: str
    data_dir: Path
    pid: int

    def __repr__(self) -> str:  # without the token: it would end up in logs
        return f"Hub(url={self.url!r}, data_dir={str(self.data_dir)!r}, pid={self.pid})"

    @property
    def environ(self) -> dict[str, str]:
        """What a client process needs. The libraries read it at import: set it before they are loaded."""
        home = self.data_dir / "client"  # caches are not keyed by endpoint, so this Hub has its own
        return {
            "HF_ENDPOINT": self.url,
            "HF_TOKEN": self.token,
            "HF_HOME": str(home),
            # These default to places under HF_HOME, but win over it where the user has set them.
            "HF_HUB_CACHE": str(home / "hub"),
            "HF_DATASETS_CACHE": str(home / "datasets"),
            "HF_TOKEN_PATH": str(home / "token"),
            "HF_HUB_DISABLE_XET": "1",  # served as well, but sends and keeps each upload in a second form
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "HF_HUB_DISABLE_IMPLICIT_TOKEN": "0",
            "HF_HUB_OFFLINE": "0",
            "HF_DATASETS_OFFLINE": "0",
            # A proxy that the user has set must not be asked for 127.0.0.1.
            "NO_PROXY": _no_proxy("NO_PROXY"),
            "no_proxy": _no_proxy("no_proxy"),
        }


def default_dir() -> Path:
    """``$HUBTOOLS_HUB_DIR``, else ``hubtools/hub`` under the user's data folder."""
    if os.environ.get("HUBTOOLS_HUB_DIR"):
        return Path(os.environ["HUBTOOLS_HUB_DIR"]).expanduser()
    # What a user keeps, not a cache: a push must outlive a cleaning.
    data = os.environ.get("XDG_DATA_HOME")
    return (Path(data) if data else Path.home() / ".local" / "share") / "hubtools" / "hub"


def shell_exports(hub: Hub) -> str:
    """Lines for ``eval "$(...)"`` in a shell. They hold the token."""
    return "".join(f"export {name}={shlex.quote(value)}\n" for name, value in hub.environ.items())


def find(data_dir: Path) -> Hub | None:
    """The server that runs on this folder, None where there is none."""
    data_dir = data_dir.expanduser().resolve()
    try:
        state = json.loads((data_dir / "hub.json").read_text("utf-8"))
        token = (data_dir / "token").read_text("utf-8").strip()
        hub = Hub(state["url"], token, data_dir, state["pid"])
    except (OSError, ValueError, KeyError):
        return None
    try:
        # Signal 0 sends nothing: it only asks whether there is such a process.
        os.kill(hub.pid, 0)
    except ProcessLookupError:
        return None  # without asking at the port: who has it now may take its time
    # The process exists and is another user's: whether it is ours, its answer will tell.
    except PermissionError:
        pass
    # Another program may have the port by now, or another process the pid; and of a copied folder, the server that
    # its hub.json names has the original. A server of an earlier version does not say which folder it has.
    answer = _ask_health(hub.url)
    if not isinstance(answer, dict) or (answer.get("name"), answer.get("pid")) != ("hubtools-hub", hub.pid):
        return None
    return hub if answer.get("data_dir", str(data_dir)) == str(data_dir) else None


def _find_silent(data_dir: Path) -> Hub | None:
    """The server that holds this folder and does not answer; None where the lock of the folder is free."""
    data_dir = data_dir.expanduser().resolve()
    lock = data_dir / "server.lock"
    if not lock.exists() or _is_free(lock):
        return None
    try:
        state = json.loads((data_dir / "hub.json").read_text("utf-8"))
        return Hub(state["url"], "", data_dir, state["pid"])
    except (OSError, ValueError, KeyError):
        return None


PATIENCE = 10  # seconds of waiting for another process until it is named


def start(data_dir: Path, mirrors: Sequence[Path] = (), port: int = 0, timeout: float = 30) -> Hub:
    """The server on this folder, started where none runs, in a process that outlives this one.

    ``mirrors`` are added to those the folder already has. ``port`` 0 is the port used last, else any.
    Raises HubUnavailable where the server does not answer within ``timeout`` seconds.
    """
    data_dir = _prepare_folder(data_dir)
    # Two commands that start at once must not start two servers: the second waits and finds the first's.
    with _hold_lock(data_dir / "start.lock"):
        _forget_ended()
        _add_mirrors(data_dir, mirrors)
        running = find(data_dir)
        if running:
            return running
        log = data_dir / "server.log"
        command = [
            sys.executable,
            "-P",  # the data folder is no place to import from
            "-m",
            "hubtools.localhub",
            "--data-dir",
            str(data_dir),
            "--port",
            str(port),
        ]
        # The package may be importable only because of where this process was started.
        root = str(Path(__file__).resolve().parent.parent.parent)
        path = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))
        # Only between two servers: nobody writes to it now.
        if log.exists() and log.stat().st_size > LOG_LIMIT:
            os.replace(log, log.with_suffix(".log.1"))
        with open(log, "ab") as output:
            begin = output.tell()
            child = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd=data_dir,
                env={**os.environ, "PYTHONPATH": path},
                start_new_session=True,  # Ctrl-C is for the command that started it
            )
        _CHILDREN.append(child)
        # The server writes hub.json when it listens; asking it is the only sure sign that it answers.
        until = time.monotonic() + timeout
        while time.monotonic() < until:
            hub = find(data_dir)
            if hub:
                return hub
            # It ended: its log says why, and waiting longer would not help.
            if child.poll() is not None:
                break
            time.sleep(0.05)
        if child.poll() is None:
            child.terminate()
        raise HubUnavailable(
            "The embedded Hub did not start",
            expected=f"an answer within {timeout:g} seconds",
            found=_last_lines(log, begin) or "no answer and an empty log",
            next=f"see {log}",
        )


def stop(data_dir: Path, timeout: float = 10) -> bool:
    """Stop the server on this folder. False where none was running."""
    _forget_ended()
    hub = find(data_dir) or _find_silent(data_dir)
    if not hub:
        return False
    lock = hub.data_dir / "server.lock"
    until = time.monotonic() + timeout
    with contextlib.suppress(ProcessLookupError):
        os.kill(hub.pid, signal.SIGTERM)
        # The lock is let go when the process is gone, which the pid alone does not tell: it may be used again.
        while not _is_free(lock):
            if time.monotonic() > until:
                os.kill(hub.pid, signal.SIGKILL)
                # A killed process may take a moment as well.
                until += timeout
            time.sleep(0.02)
    # A child that is not waited for stays as a zombie, and its pid looks alive.
    for child in _CHILDREN:
        if child.pid == hub.pid:
            child.wait()
    _forget_ended()
    return True


def _forget_ended() -> None:
    """Take note of servers of this process that have ended, also of those that were killed."""
    _CHILDREN[:] = [child for child in _CHILDREN if child.poll() is None]


def serve(data_dir: Path, mirrors: Sequence[Path] = (), port: int = 0, host: str = "127.0.0.1") -> None:
    """Serve this folder until SIGINT or SIGTERM. Raises where another server has it, or the port."""
    # There is one token and no TLS: this must not be reached from another machine.
    if host not in LOOPBACK:
        raise UsageError(
            f"The embedded Hub cannot be served on '{host}'",
            expected="a loopback address: it is a tool for one machine and has one token",
            next="leave --host out, and forward the port (ssh -L) to reach it from elsewhere",
        )
    import uvicorn

    from hubtools.localhub.app import create_app
    from hubtools.localhub.backend import Backend
    from hubtools.localhub.mirrors import Mirrors
    from hubtools.localhub.store import Store
    from hubtools.localhub.sweeping import remove_leftovers, sweep

    data_dir = _prepare_folder(data_dir)
    _add_mirrors(data_dir, mirrors)
    with _own_folder(data_dir):
        logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", stream=sys.stderr)
        store = Store(data_dir)
        # Only now: the lock says that no other server writes here.
        remove_leftovers(data_dir)
        sweep(data_dir)
        packaged = _STARTER if _STARTER.is_dir() else None
        backend = Backend(store, Mirrors(data_dir / "mirrors.json", packaged), _read_token(data_dir))
        # Opened here and handed on, so that the address is known before the first request.
        with contextlib.closing(_open_socket(data_dir, port, host)) as listener:
            port = listener.getsockname()[1]
            _write(data_dir / "port", str(port))
            name = f"[{host}]" if ":" in host else host
            _write(data_dir / "hub.json", json.dumps({"url": f"http://{name}:{port}", "pid": os.getpid()}))
            config = uvicorn.Config(
                create_app(backend),
                log_config=None,
                access_log=False,  # it would write the signatures of upload links; app.Edge logs instead
                ws="none",
                lifespan="off",
                server_header=False,
                # Clients keep connections and do not repeat a commit that meets a closing one.
                timeout_keep_alive=900,
                timeout_graceful_shutdown=3,
            )
            with _end_at_signals():
                uvicorn.Server(config).run(sockets=[listener])
            # Whoever looks for a server must not find the address of one that has ended.
            (data_dir / "hub.json").unlink(missing_ok=True)


@contextlib.contextmanager
def _end_at_signals() -> Iterator[None]:
    """End the block at SIGINT and SIGTERM. uvicorn shuts down at both and then raises them once more."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    main = threading.current_thread() is threading.main_thread()
    before = signal.signal(signal.SIGTERM, interrupt) if main else None
    try:
        yield
    except KeyboardInterrupt:
        pass
    finally:
        if main:
            signal.signal(signal.SIGTERM, before)


def _prepare_folder(data_dir: Path) -> Path:
    data_dir = data_dir.expanduser().resolve()
    try:
        data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        # Permissions do not tell on every file system: writing does.
        probe = data_dir / f".probe-{uuid.uuid4().hex}"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise StorageError(
            f"Hub data folder '{data_dir}'",
            expected="a folder that can be written to",
            found=error.strerror or str(error),
            next="pass --hub-dir or set HUBTOOLS_HUB_DIR",
        ) from None
    return data_dir


def _read_token(data_dir: Path) -> str:
    """The folder's token, made where there is none."""
    path = data_dir / "token"
    if path.exists():
        # A folder that was copied or restored may have lost it.
        path.chmod(0o600)
        token = path.read_text("utf-8").strip()
        if token:
            return token
    token = f"hf_{secrets.token_hex(20)}"
    _write(path, token, mode=0o600)
    return token


def _open_socket(data_dir: Path, port: int, host: str) -> socket.socket:
    """A socket on ``port``; where that is 0, on the port used last if it is free, else on any."""
    last = 0
    with contextlib.suppress(OSError, ValueError):
        # The port used last comes first: an HF_ENDPOINT that a shell exported stays right.
        last = int((data_dir / "port").read_text("utf-8"))
    for candidate in [port] if port else [last, 0]:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        # Named as TCP, else asyncio leaves Nagle's algorithm on: 40 ms a request.
        listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        # Else the port of a server that ended a moment ago could not be taken for a minute.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((host, candidate))
            return listener
        except (OSError, OverflowError) as error:
            listener.close()
            reason = str(error)
    raise HubUnavailable(
        f"The embedded Hub cannot listen on port {port}",
        expected="a free port",
        found=reason,
        next="choose another --port, or leave it out",
    )


def _add_mirrors(data_dir: Path, mirrors: Sequence[Path]) -> None:
    wanted = [Path(mirror).expanduser().resolve() for mirror in mirrors]
    for mirror in wanted:
        if not mirror.is_dir():
            raise UsageError(
                f"Mirror '{mirror}'",
                expected="a folder laid out as DIR/<owner>/<name>/",
                found="no such folder",
            )
    path = data_dir / "mirrors.json"
    known: list[str] = []
    with contextlib.suppress(OSError, ValueError):
        known = json.loads(path.read_text("utf-8"))
    # A mirror that is already there keeps its place: earlier ones win.
    new = [str(mirror) for mirror in wanted if str(mirror) not in known]
    if new:
        _write(path, json.dumps([*known, *new]))


@contextlib.contextmanager
def _hold_lock(path: Path) -> Iterator[None]:
    """Hold a lock for the block; after a while of waiting, say for whom, and how to stop it."""
    with open(path, "a+") as file:
        said, began = False, time.monotonic()
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if not said and time.monotonic() - began > PATIENCE:
                    said, pid = True, path.read_text("utf-8") or "PID"
                    print(f"Process {pid} is starting the embedded Hub on {path.parent}: waiting for it; "
                          f"kill {pid} stops it", file=sys.stderr, flush=True)  # fmt: skip
                time.sleep(0.05)
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield


@contextlib.contextmanager
def _own_folder(data_dir: Path) -> Iterator[None]:
    """Hold the folder, as long as this process lives."""
    with open(data_dir / "server.lock", "a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            hub = find(data_dir)
            raise HubtoolsError(
                f"Hub data folder '{data_dir}' is already being served",
                found=f"{hub.url}, process {hub.pid}" if hub else "another server that is starting",
                next="use that one, or stop it first",
            ) from None
        yield


def _is_free(lock: Path) -> bool:
    with open(lock, "a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            return False


def _write(path: Path, text: str, mode: int = 0o644) -> None:
    """Write so that a reader sees either the old file or the new one."""
    part = path.with_name(f".{path.name}-{uuid.uuid4().hex}")
    with open(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "w", encoding="utf-8") as file:
        file.write(text)
    os.replace(part, path)


def _ask_health(url: str) -> object:
    # Without a proxy: the user's would be asked for 127.0.0.1.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(f"{url}/healthz", timeout=2) as response:
            return json.load(response)
    except (OSError, ValueError):
        return None


def _no_proxy(name: str) -> str:
    names = [part for part in os.environ.get(name, "").split(",") if part]
    return ",".join([*names, *(own for own in ("127.0.0.1", "localhost") if own not in names)])


def _last_lines(log: Path, begin: int, count: int = 5) -> str:
    with open(log, "rb") as file:
        file.seek(begin)
        return "\n".join(file.read().decode(errors="replace").strip().splitlines()[-count:])
