"""The two files in which a client with hf-xet sends: xorbs, which hold chunks, and shards, which say what a file is of.

https://huggingface.co/docs/xet: only what an upload needs is read here, and nothing is ever written in these forms.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_CHUNK_HEADER = 8  # version, compressed size (3 bytes), scheme, size (3 bytes)
_FOOTER = b"XETBLOB"  # what follows the chunks, where anything does
_STORED, _LZ4, _GROUPED_LZ4 = range(3)

_RECORD = 48  # bytes; a shard is made of records of this size
_WITH_VERIFICATION, _WITH_SHA256 = 1 << 31, 1 << 30
_END = b"\xff" * 32


class DamagedUpload(ValueError):
    """Bytes that are no xorb, or no shard, or do not belong together."""


@dataclass(frozen=True)
class Chunk:
    """Where a chunk lies within its xorb, packed; ``size`` is that of what it holds, in bytes."""

    at: int
    packed: int
    scheme: int
    size: int


@dataclass(frozen=True)
class Segment:
    """Chunks ``first`` to ``end`` (exclusive) of a xorb, together ``size`` bytes of a file."""

    xorb: str
    size: int
    first: int
    end: int


@dataclass(frozen=True)
class ShardFile:
    """A file of a shard; ``sha256`` is "" where the client did not say it."""

    segments: tuple[Segment, ...]
    sha256: str


def list_chunks(path: Path) -> list[Chunk]:
    """Return the chunks of a xorb, in order; raises :class:`DamagedUpload`."""
    chunks, at, length = list[Chunk](), 0, path.stat().st_size
    with path.open("rb") as file:
        while at < length:
            file.seek(at)
            header = file.read(_CHUNK_HEADER)
            if header.startswith(_FOOTER):
                break
            if len(header) < _CHUNK_HEADER or header[0] or header[4] > _GROUPED_LZ4:
                raise DamagedUpload(f"no chunk begins at byte {at}")
            packed, size = (int.from_bytes(header[i : i + 3], "little") for i in (1, 5))
            at += _CHUNK_HEADER
            if at + packed > length:
                raise DamagedUpload("it ends within a chunk")
            chunks.append(Chunk(at, packed, header[4], size))
            at += packed
    return chunks


def read_chunks(path: Path, chunks: list[Chunk]) -> Iterator[bytes]:
    """Yield what the chunks of a xorb hold; raises :class:`DamagedUpload`."""
    import pyarrow as pa

    with path.open("rb") as file:
        for chunk in chunks:
            file.seek(chunk.at)
            content = file.read(chunk.packed)
            if chunk.scheme != _STORED:
                try:
                    content = pa.decompress(content, chunk.size, codec="lz4", asbytes=True)
                except (pa.ArrowException, OSError, ValueError) as error:
                    raise DamagedUpload("a chunk cannot be unpacked") from error
            if chunk.scheme == _GROUPED_LZ4:
                content = _ungroup(content)
            if len(content) != chunk.size:
                raise DamagedUpload("a chunk has another size than it says")
            yield content


def _ungroup(content: bytes) -> bytes:
    """Return bytes that were sorted by their place modulo 4, in their order."""
    ordered, at = bytearray(len(content)), 0
    for place in range(4):
        count = (len(content) - place + 3) // 4
        ordered[place::4] = content[at : at + count]
        at += count
    return bytes(ordered)


def read_shard(content: bytes) -> list[ShardFile]:
    """Return the files that a shard describes; raises :class:`DamagedUpload`."""
    files, at = list[ShardFile](), _RECORD  # behind the header

    def take() -> bytes:
        nonlocal at
        record = content[at : at + _RECORD]
        if len(record) < _RECORD:
            raise DamagedUpload("the shard is cut off")
        at += _RECORD
        return record

    while True:
        hashed, flags, count = struct.unpack_from("<32sII", take())
        if hashed == _END:
            return files
        segments = []
        for _ in range(count):
            xorb, _, size, first, end = struct.unpack_from("<32sIIII", take())
            segments.append(Segment(_write_hash(xorb), size, first, end))
        if flags & _WITH_VERIFICATION:
            for _ in range(count):
                take()
        sha256 = _write_hash(take()[:32]) if flags & _WITH_SHA256 else ""
        files.append(ShardFile(tuple(segments), sha256))


def _write_hash(raw: bytes) -> str:
    """Return a hash in hex, as xet writes it: as four numbers of 64 bits, which lie with their last byte first."""
    return "".join(f"{number:016x}" for number in struct.unpack("<4Q", raw))
