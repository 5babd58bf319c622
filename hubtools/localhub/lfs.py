"""Which files are stored as LFS objects, and what their git pointers look like."""

from __future__ import annotations

import hashlib

SUFFIXES = frozenset(
    """
    7z arrow bin bz2 ckpt ftz gguf gif gz h5 jpeg jpg joblib lz4 mlmodel model mp3 mp4 msgpack npy npz onnx ot
    parquet pb pickle pkl png pt pth rar safetensors tar tflite tgz wasm wav webp xz zip zst
    """.split()  # noqa: SIM905
)
REGULAR_LIMIT = 10 * 1024 * 1024  # bytes; above it the Hub takes no regular file
GITATTRIBUTES = "".join(
    f"{pattern} filter=lfs diff=lfs merge=lfs -text\n"
    for pattern in [*(f"*.{suffix}" for suffix in sorted(SUFFIXES)), "saved_model/**/*", "*tfevents*"]
)


def is_lfs(path: str, size: int, sample: bytes = b"") -> bool:
    """Whether the Hub stores this file as an LFS object. ``sample`` is its first bytes, where known."""
    if size == 0:
        return False
    name = path.rsplit("/", 1)[-1].lower()
    _, dot, suffix = name.rpartition(".")
    named = bool(dot) and suffix in SUFFIXES
    return named or "tfevents" in name or size > REGULAR_LIMIT or is_binary(sample)


def is_binary(sample: bytes) -> bool:
    """Whether the first bytes of a file are anything but UTF-8 text."""
    if b"\0" in sample:
        return True
    try:
        sample.decode()
    except UnicodeDecodeError as error:
        # A character of up to four bytes may be cut off by the end of the sample.
        return error.start < len(sample) - 3
    return False


def pointer(sha256: str, size: int) -> bytes:
    """The text that git keeps in place of an LFS object."""
    return f"version https://git-lfs.github.com/spec/v1\noid sha256:{sha256}\nsize {size}\n".encode()


def git_oid(content: bytes) -> str:
    """The id git gives a blob with this content: 40 hex digits."""
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()
