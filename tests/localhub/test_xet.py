"""Uploads of a client with hf-xet: the real one, and by hand what no client would send."""

from __future__ import annotations

import hashlib
import os
import random
import struct
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from huggingface_hub import CommitOperationAdd, HfApi
from huggingface_hub.utils import get_session

from hubtools.localhub import Hub
from hubtools.localhub.store import Store
from hubtools.localhub.sweeping import XORBS_FOR, sweep_xorbs
from hubtools.localhub.xorbs import DamagedUpload, list_chunks, read_shard

NewRepo = Callable[..., str]
CLIENT = Path(__file__).with_name("xet_client.py")


def test_the_real_client_with_xet_sends_and_gets_every_byte_and_sends_none_twice(
    hub: Hub, api: HfApi, tmp_path: Path, new_repo: NewRepo
) -> None:
    rng, repo = random.Random(1), new_repo()
    noise = rng.randbytes(5_000_000)
    sent = {
        "tiny.bin": b"\x00",
        "noise.safetensors": noise,
        "part of the noise.bin": noise[1_000_000:4_000_000] + b"and an end",
        "words.parquet": " ".join(rng.choices(["kettle", "harbour", "lamp", "sky"], k=300_000)).encode(),
        "numbers.npy": b"".join(struct.pack("<f", i / 7) for i in range(200_001)) + b"abc",
        "zeros.pt": bytes(1_000_001),
    }
    folder = tmp_path / "sent"
    folder.mkdir()
    for name, content in sent.items():
        (folder / name).write_bytes(content)
    environ = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
    environ |= {"HF_ENDPOINT": hub.url, "HF_TOKEN": hub.token, "HF_HOME": str(tmp_path / "home"), "HOME": str(tmp_path)}
    held = {path.name for path in (hub.data_dir / "xorbs").glob("*")}
    done = subprocess.run([sys.executable, CLIENT, repo, folder], env=environ, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "as it was sent\n"
    got = [entry for entry in api.list_repo_tree(repo) if entry.path in sent]
    assert {entry.path: entry.lfs.sha256 for entry in got} == {  # type: ignore[union-attr]
        name: hashlib.sha256(content).hexdigest() for name, content in sent.items()
    }
    chunks = [path.stat().st_size for path in (hub.data_dir / "xorbs").glob("*") if path.name not in held]
    assert sum(chunks) > 5_000_000  # it came in chunks, and not by the LFS protocol
    assert min(chunks) < 500_000  # the second session sent what is new in its file of 2 MB


# --- by hand


def write_xorb(pieces: list[bytes]) -> bytes:
    """Chunks in each of the three schemes in turn."""
    out = bytearray()
    for number, piece in enumerate(pieces):
        scheme = number % 3
        content = b"".join(piece[place::4] for place in range(4)) if scheme == 2 else piece
        packed = pa.compress(content, codec="lz4", asbytes=True) if scheme else content
        out += bytes([0, *len(packed).to_bytes(3, "little"), scheme, *len(piece).to_bytes(3, "little")]) + packed
    return bytes(out)


def pack_hash(name: str) -> bytes:
    return struct.pack("<4Q", *(int(name[i : i + 16], 16) for i in range(0, 64, 16)))


def write_shard(xorb: str, size: int, first: int, end: int, sha256: str = "") -> bytes:
    flags = (1 << 31) | ((1 << 30) if sha256 else 0)
    records = [bytes(48), struct.pack("<32sIIQ", bytes(32), flags, 1, 0)]
    records += [struct.pack("<32sIIII", pack_hash(xorb), 0, size, first, end), bytes(48)]
    return b"".join([*records, *([pack_hash(sha256) + bytes(16)] if sha256 else []), b"\xff" * 32 + bytes(16)])


class Upload:
    """What a client would send, a call a request."""

    def __init__(self, hub: Hub, repo: str) -> None:
        url = f"{hub.url}/api/models/{repo}/xet-write-token/main"
        self.found: dict[str, Any] = get_session().get(url, headers={"Authorization": f"Bearer {hub.token}"}).json()
        self.token = self.found["accessToken"]

    def post(self, path: str, content: bytes) -> tuple[int, str]:
        answer = get_session().post(
            f"{self.found['casUrl']}/v1/{path}", headers={"Authorization": f"Bearer {self.token}"}, content=content
        )
        return answer.status_code, answer.text


@pytest.fixture
def upload(hub: Hub, new_repo: NewRepo) -> Upload:
    return Upload(hub, new_repo())


PIECES = [b"stored as it is", b"words and words and words" * 40, bytes(range(256)) * 9 + b"odd"]
WHOLE = b"".join(PIECES)


def test_chunks_of_every_scheme_become_one_object_that_a_commit_names(
    hub: Hub, api: HfApi, upload: Upload, new_repo: NewRepo
) -> None:
    digest, repo = hashlib.sha256(WHOLE).hexdigest(), new_repo()
    assert upload.post(f"xorbs/default/{'ab' * 32}", write_xorb(PIECES)) == (200, '{"was_inserted":true}')
    assert upload.post("shards", write_shard("ab" * 32, len(WHOLE), 0, 3, digest)) == (200, '{"result":1}')
    api.create_commit(repo, [CommitOperationAdd("a.bin", WHOLE)], commit_message="add")
    assert Path(api.hf_hub_download(repo, "a.bin")).read_bytes() == WHOLE
    # A part, of which the client says no hash, and chunks that are here already.
    assert upload.post(f"xorbs/default/{'ab' * 32}", write_xorb(PIECES)) == (200, '{"was_inserted":false}')
    assert upload.post("shards", write_shard("ab" * 32, len(PIECES[1]), 1, 2))[0] == 200


@pytest.mark.parametrize("damage", [
    "a byte of the xorb", "the end of the xorb", "another hash", "another size", "a chunk more", "another xorb",
    "the end of the shard", "no shard", "an unknown scheme", "no chunk",
])  # fmt: skip
def test_a_damaged_upload_is_refused_and_leaves_nothing(hub: Hub, upload: Upload, damage: str) -> None:
    pieces = [f"{damage} {i} ".encode() * 50 for i in range(3)]
    whole, name = b"".join(pieces), hashlib.sha256(damage.encode()).hexdigest()
    digest = hashlib.sha256(whole).hexdigest()
    xorb, shard = write_xorb(pieces), write_shard(name, len(whole), 0, 3, digest)
    if damage == "a byte of the xorb":
        xorb = xorb[:20] + bytes([xorb[20] ^ 1]) + xorb[21:]
    elif damage == "the end of the xorb":
        xorb = xorb[:-5]
    elif damage == "an unknown scheme":
        xorb = xorb[:4] + b"\x07" + xorb[5:]
    elif damage == "no chunk":
        xorb = b"\x00" * 5
    elif damage == "another hash":
        shard = write_shard(name, len(whole), 0, 3, "12" * 32)
    elif damage == "another size":
        shard = write_shard(name, len(whole) + 1, 0, 3, digest)
    elif damage == "a chunk more":
        shard = write_shard(name, len(whole), 0, 4, digest)
    elif damage == "another xorb":
        shard = write_shard("cd" * 32, len(whole), 0, 3, digest)
    elif damage == "the end of the shard":
        shard = shard[:-50]
    else:
        shard = b"no shard"
    answers = [upload.post(f"xorbs/default/{name}", xorb), upload.post("shards", shard)]
    refused = [text for status, text in answers if status == 400]
    assert refused
    assert all("damaged" in text for text in refused)
    for made in (digest, "12" * 32):
        assert not (hub.data_dir / "blobs" / "sha256" / made[:2] / made).exists()


def test_after_a_damaged_upload_the_same_one_goes_through(upload: Upload) -> None:
    xorb, name, digest = write_xorb(PIECES[:2]), "ef" * 32, hashlib.sha256(b"".join(PIECES[:2])).hexdigest()
    shard = write_shard(name, len(PIECES[0] + PIECES[1]), 0, 2, digest)
    assert upload.post(f"xorbs/default/{name}", xorb.replace(b"stored", b"STORED"))[0] == 200
    assert upload.post("shards", shard)[0] == 400
    assert upload.post(f"xorbs/default/{name}", xorb) == (200, '{"was_inserted":true}')
    assert upload.post("shards", shard)[0] == 200


def test_only_the_owner_gets_a_permission_and_none_can_be_made_up(
    hub: Hub, anonymous: HfApi, upload: Upload, new_repo: NewRepo
) -> None:
    assert get_session().get(f"{hub.url}/api/models/{new_repo()}/xet-write-token/main").status_code == 401
    assert get_session().get(
        f"{hub.url}/api/models/acme/model/xet-write-token/main", headers={"Authorization": f"Bearer {hub.token}"}
    ).status_code == 403  # a mirror  # fmt: skip
    until, _, signature = upload.token.partition(".")
    for token in ("x", hub.token, f"{until}.{'0' * 64}", f"{int(until) + 1}.{signature}", f"1.{signature}"):
        upload.token = token
        assert upload.post(f"xorbs/default/{'ab' * 32}", b"")[0] == 401
        assert upload.post("shards", b"")[0] == 401
    assert get_session().post(f"{upload.found['casUrl']}/v1/shards").status_code == 401


def test_chunks_go_after_two_days_and_the_files_made_of_them_stay(tmp_path: Path) -> None:
    store = Store(tmp_path)
    for name, age in (("old", XORBS_FOR + 60), ("new", 0.0)):
        store.xorb(name).parent.mkdir(exist_ok=True)
        store.xorb(name).write_bytes(b"x")
        os.utime(store.xorb(name), (time.time() - age,) * 2)
    sweep_xorbs(tmp_path)
    assert [path.name for path in (tmp_path / "xorbs").iterdir()] == ["new"]


def test_no_bytes_at_all_end_in_anything_but_a_damaged_upload(tmp_path: Path) -> None:
    rng, path = random.Random(2), tmp_path / "xorb"
    good, shard = write_xorb(PIECES), write_shard("ab" * 32, len(WHOLE), 0, 3, "12" * 32)
    refused = 0
    for _ in range(300):
        for whole in (good, shard):
            content = bytearray(whole)
            for _ in range(rng.randint(1, 5)):
                content[rng.randrange(len(content))] = rng.randrange(256)
            path.write_bytes(content[: rng.randrange(len(content) + 1)])
            try:
                list_chunks(path) if whole is good else read_shard(path.read_bytes())
            except DamagedUpload:
                refused += 1
    assert refused > 300
