"""``python -m hubtools.localhub``: serve the embedded Hub in this process."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from hubtools.errors import HubtoolsError
from hubtools.localhub.service import default_dir, serve


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m hubtools.localhub", description=__doc__)
    parser.add_argument("--data-dir", type=Path, default=default_dir(), help="where repos are kept (%(default)s)")
    parser.add_argument("--port", type=int, default=0, help="0: the port used last, else any free one")
    parser.add_argument("--mirror", type=Path, action="append", default=[], metavar="DIR",
                        help="serve DIR/<owner>/<name>/ as read-only repos; may be repeated")  # fmt: skip
    args = parser.parse_args()
    try:
        serve(args.data_dir, args.mirror, args.port)
    except HubtoolsError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
