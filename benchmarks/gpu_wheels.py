"""List, and download, the wheels that a GPU machine without a network lacks for ``benchmarks/gpu.py``.

    python benchmarks/gpu_wheels.py                    # names and versions
    python benchmarks/gpu_wheels.py --into wheels      # a few hundred KB each, for Python 3.12 on Linux

The machine is taken to have torch with CUDA, transformers, accelerate, huggingface_hub, tokenizers, pyarrow and pandas.
There: ``python -m pip install --no-index --no-deps --target site wheels/*.whl``, then ``PYTHONPATH=site:.``.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

# datasets, and what it needs that the others do not bring along.
LACKING = ("datasets==5.2.0", "dill==0.4.1", "multiprocess==0.70.19", "xxhash==4.1.0")


def command(into: Path, python: str) -> list[str]:
    """The pip command that downloads them for another Python than this one."""
    return [
        sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary", ":all:", "--python-version",
        python, "--platform", "manylinux_2_28_x86_64", "--platform", "manylinux2014_x86_64", "--dest", str(into),
        *LACKING,
    ]  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--into", type=Path, help="download to this folder [list only]")
    parser.add_argument("--python", default="3.12", help="of the GPU machine")
    args = parser.parse_args()
    if args.into:
        subprocess.run(command(args.into, args.python), check=True)
        size = sum(file.stat().st_size for file in args.into.glob("*.whl")) / 2**20
        print(f"{len([*args.into.glob('*.whl')])} wheels, {size:.1f} MB in {args.into}")
    else:
        print(*LACKING, sep="\n")


if __name__ == "__main__":
    main()
