"""``python xet_client.py REPO FOLDER``: a user with hf-xet uploads a folder, some of it twice, and downloads it."""

from __future__ import annotations

import sys
from pathlib import Path

import hf_xet
from huggingface_hub import HfApi, constants

repo, folder = sys.argv[1], Path(sys.argv[2])
assert hf_xet.__name__  # else the client takes the LFS protocol
assert not constants.HF_HUB_DISABLE_XET
api = HfApi()
api.upload_folder(repo_id=repo, folder_path=folder)
# Another session of the client: it takes what it sent before for known.
largest = max(folder.iterdir(), key=lambda path: path.stat().st_size)
(folder / "later.bin").write_bytes(largest.read_bytes()[:2_000_000] + b"later")
api.upload_folder(repo_id=repo, folder_path=folder)
copy = Path(api.snapshot_download(repo))
assert all((copy / path.name).read_bytes() == path.read_bytes() for path in folder.iterdir())
print("as it was sent")
