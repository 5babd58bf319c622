"""The process around the Hub: starting, finding, stopping, and being killed."""

from __future__ import annotations

import fcntl
import json
import os
import resource
import shlex
import shutil
import signal
import socket
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from huggingface_hub import HfApi, constants
from huggingface_hub.errors import HfHubHTTPError
from huggingface_hub.utils import get_session

from hubtools.errors import HubtoolsError, UsageError
from hubtools.localhub import Hub, default_dir, find, serve, shell_exports, start, stop
from hubtools.localhub.store import Store

pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    yield tmp_path / "hub"
    stop(tmp_path / "hub")


def kill(hub: Hub) -> None:
    os.kill(hub.pid, signal.SIGKILL)
    os.waitpid(hub.pid, 0)


def test_start_find_and_stop_agree_and_the_token_and_port_last(folder: Path) -> None:
    assert find(folder) is None
    assert stop(folder) is False
    hub = start(folder)
    assert find(folder) == hub
    assert start(folder) == hub
    assert hub.url.startswith("http://127.0.0.1:")
    assert stop(folder)
    assert find(folder) is None
    again = start(folder)
    assert (again.url, again.token) == (hub.url, hub.token)
    assert again.pid != hub.pid


def test_the_token_is_readable_by_its_owner_only_and_in_no_log_or_argument(folder: Path) -> None:
    hub = start(folder)
    HfApi(endpoint=hub.url, token=hub.token).whoami()
    assert stat.S_IMODE((folder / "token").stat().st_mode) == 0o600
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert hub.token not in (folder / "server.log").read_text()
    assert hub.token not in Path(f"/proc/{hub.pid}/cmdline").read_text()
    assert hub.token not in repr(hub)


def test_two_starts_at_once_give_one_server(folder: Path) -> None:
    hubs: list[Hub] = []
    threads = [threading.Thread(target=lambda: hubs.append(start(folder))) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({hub.pid for hub in hubs}) == 1
    with pytest.raises(HubtoolsError, match="already being served"):
        serve(folder)


def test_a_copied_folder_has_a_server_of_its_own_and_never_speaks_to_the_original_s(folder: Path) -> None:
    original = start(folder)
    copy = folder.with_name("copy")
    shutil.copytree(folder, copy)
    assert find(copy) is None
    assert not stop(copy)
    assert find(folder) == original
    other = start(copy)
    try:
        assert other.pid != original.pid
        api = HfApi(endpoint=other.url, token=other.token)
        api.create_repo("local/copied")
        assert not HfApi(endpoint=original.url, token=original.token).repo_exists("local/copied")
        assert [path.name for path in (copy / "repos/models/local").iterdir()] == ["copied"]
    finally:
        assert stop(copy)
    assert find(folder) == original


def test_a_start_that_waits_for_another_says_for_whom_and_how_to_stop_it(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("hubtools.localhub.service.PATIENCE", 0.1)
    folder.mkdir()
    with open(folder / "start.lock", "w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        held.write("4711")
        held.flush()
        hubs: list[Hub] = []
        waiting = threading.Thread(target=lambda: hubs.append(start(folder)))
        waiting.start()
        said = ""
        while "kill 4711 stops it" not in said:
            assert waiting.is_alive()
            said += capsys.readouterr().err
    waiting.join()
    assert find(folder) == hubs[0]


def test_a_taken_port_is_an_error_where_it_was_asked_for_and_avoided_where_not(folder: Path) -> None:
    hub = start(folder)
    port = urlsplit(hub.url).port
    assert port
    stop(folder)
    with socket.create_server(("127.0.0.1", port)):
        with pytest.raises(HubtoolsError) as caught:
            start(folder, port=port)
        assert f"cannot listen on port {port}" in str(caught.value)
        assert urlsplit(start(folder).url).port != port


def test_only_loopback_is_served(folder: Path) -> None:
    with pytest.raises(UsageError, match=r"0\.0\.0\.0"):
        serve(folder, host="0.0.0.0")


def test_what_cannot_be_started_says_why(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(HubtoolsError, match="Hub data folder"):
        start(tmp_path / "file" / "hub")
    with pytest.raises(UsageError, match="no such folder"):
        start(tmp_path / "hub", mirrors=[tmp_path / "absent"])
    done = subprocess.run(
        [sys.executable, "-m", "hubtools.localhub", "--data-dir", tmp_path / "file"],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert "Traceback" not in done.stderr


def test_the_environment_keeps_clients_off_the_users_cache_and_proxy(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_PROXY", "intranet")
    hub = Hub("http://127.0.0.1:1", "hf_x", folder, 1)
    assert hub.environ["HF_ENDPOINT"] == "http://127.0.0.1:1"
    assert hub.environ["HF_HOME"] == str(folder / "client")
    assert hub.environ["HF_HUB_DISABLE_XET"] == "1"
    assert hub.environ["NO_PROXY"] == "intranet,127.0.0.1,localhost"
    lines = shell_exports(Hub("http://127.0.0.1:1", "hf_x", Path("/tmp/a b"), 1)).splitlines()
    assert f"export HF_HOME={shlex.quote('/tmp/a b/client')}" in lines


def test_the_default_folder_follows_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("HUBTOOLS_HUB_DIR", raising=False)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    assert default_dir() == tmp_path / "hubtools" / "hub"
    monkeypatch.setenv("HUBTOOLS_HUB_DIR", str(tmp_path / "mine"))
    assert default_dir() == tmp_path / "mine"


def test_a_kill_during_an_upload_leaves_the_repo_whole_and_the_upload_repeatable(folder: Path) -> None:
    hub = start(folder)
    api = HfApi(endpoint=hub.url, token=hub.token)
    api.create_repo("local/m")
    head = api.upload_file(path_or_fileobj=b"before", path_in_repo="a.txt", repo_id="local/m").oid
    content = os.urandom(1 << 20)
    oid = sha256(content).hexdigest()
    batch = {"operation": "upload", "objects": [{"oid": oid, "size": len(content)}]}
    headers = {"Authorization": f"Bearer {hub.token}"}
    reply = get_session().post(f"{hub.url}/local/m.git/info/lfs/objects/batch", headers=headers, json=batch)
    href = reply.json()["objects"][0]["actions"]["upload"]["href"]
    address = urlsplit(href)
    with socket.create_connection((str(address.hostname), address.port or 80)) as connection:
        start_line = f"PUT {address.path}?{address.query} HTTP/1.1\r\nHost: {address.netloc}\r\n"
        connection.sendall(f"{start_line}Content-Length: {len(content)}\r\n\r\n".encode() + content[: 1 << 19])
        while not any(path.stat().st_size for path in (folder / "tmp").iterdir()):
            time.sleep(0.001)
        kill(hub)
    assert find(folder) is None
    again = start(folder)
    assert again.url == hub.url
    assert list((folder / "tmp").iterdir()) == []
    assert api.model_info("local/m").sha == head
    # The link signed before the kill still holds: a client that goes on trying gets through.
    assert get_session().put(href, content=content).status_code == 200
    api.upload_file(path_or_fileobj=content, path_in_repo="model.bin", repo_id="local/m")
    assert set(api.list_repo_files("local/m")) == {".gitattributes", "a.txt", "model.bin"}


def test_a_kill_between_commits_loses_no_commit_that_was_answered(folder: Path) -> None:
    hub = start(folder)
    HfApi(endpoint=hub.url, token=hub.token).create_repo("local/m")
    answered: list[str] = []

    def upload() -> None:  # by hand: the client tries for half a minute to reach a server that is gone
        url, headers = f"{hub.url}/api/models/local/m/commit/main", {"Authorization": f"Bearer {hub.token}"}
        for index in range(10_000):
            path = f"dir/{index}.txt"
            lines = [
                {"key": "header", "value": {"summary": path}},
                {"key": "file", "value": {"path": path, "content": path, "encoding": "utf-8"}},
            ]
            try:
                reply = get_session().post(url, headers=headers, content="\n".join(map(json.dumps, lines)))
            except Exception:
                return
            assert reply.status_code == 200
            answered.append(path)

    thread = threading.Thread(target=upload)
    thread.start()
    while len(answered) < 10:
        time.sleep(0.001)
    kill(hub)
    thread.join()
    store = Store(folder)
    repo = store.get("models", "local/m")
    assert repo
    history = list(store.history(repo, repo.branches["main"]))
    assert set(answered) <= set(history[0].tree)
    assert len(history) in (len(answered) + 1, len(answered) + 2)
    for path, entry in history[0].tree.items():
        assert store.blob(entry).stat().st_size == entry.size, path


def test_a_server_that_was_killed_is_no_process_that_python_warns_of(folder: Path) -> None:
    code = """
import os, signal, sys
from pathlib import Path
from hubtools.localhub import start, stop
folder = Path(sys.argv[1])
hub = start(folder)
os.kill(hub.pid, signal.SIGKILL)
os.waitpid(hub.pid, 0)
stop(folder)
"""
    done = subprocess.run([sys.executable, "-W", "always", "-c", code, folder], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_disk_that_takes_no_more_is_507_with_the_reason(folder: Path) -> None:
    hub = start(folder)
    api = HfApi(endpoint=hub.url, token=hub.token)
    api.create_repo("local/m")
    resource.prlimit(hub.pid, resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))
    content = os.urandom(8 << 20)
    with pytest.raises(Exception, match=r"model\.bin") as caught:
        api.upload_file(path_or_fileobj=content, path_in_repo="model.bin", repo_id="local/m")
    error: BaseException | None = caught.value
    while error and not isinstance(error, HfHubHTTPError):
        error = error.__cause__
    assert isinstance(error, HfHubHTTPError)
    assert error.response.status_code == 507
    assert f"cannot use its data folder {folder}" in str(error)
    assert "Traceback" not in str(error)
    assert api.list_repo_files("local/m") == [".gitattributes"]
    assert list((folder / "tmp").iterdir()) == []


def test_importing_the_package_loads_no_server_and_no_client() -> None:
    def loaded(module: str) -> set[str]:
        code = f"import sys, json, {module}; print(json.dumps(list(sys.modules)))"
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        return set(json.loads(done.stdout))

    assert not loaded("hubtools.localhub") & {"starlette", "uvicorn", "yaml", "huggingface_hub"}
    served = loaded("hubtools.localhub.app")
    assert "huggingface_hub" not in served
    ours = {name for name in served if name.startswith("hubtools.")}
    assert {name for name in ours if not name.startswith("hubtools.localhub")} == {"hubtools.errors"}
