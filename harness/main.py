"""The program `salprobe`: the command line with what every command has in common, its surroundings and its errors."""

from __future__ import annotations

import io
import logging
import os
import sys

from harness.cli import app
from harness.errors import INTERRUPTED, NO_ROOM, ResultsError, SalprobeError
from harness.shown import shown_lines


def main() -> None:
    """Run the command line; declared errors become a message and their exit code, never a traceback."""
    # OpenMP's threads spin while they wait: where others use the cores too, small operations become 100x slower
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    if not sys.stdout.isatty():  # in a file or a pipe nothing is broken at 80 characters, no column left out
        os.environ.setdefault("COLUMNS", "200")
    logging.basicConfig(level=os.environ.get("SALPROBE_LOG", "WARNING").upper(), format="%(levelname)s: %(message)s")
    if isinstance(sys.stdout, io.TextIOWrapper):  # names of files are not always text
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        app()
    except SalprobeError as error:
        who = f" (process {os.environ['RANK']})" if "RANK" in os.environ else ""
        sys.stderr.write(f"error{who}: {shown_lines(str(error))}\n")
        sys.exit(error.exit_code)
    except OSError as error:
        if error.errno not in NO_ROOM:
            raise
        where = f"{error.filename}: " if error.filename else ""
        sys.stderr.write(f"error: {where}{error.strerror}; make room there, or write elsewhere\n")
        sys.exit(ResultsError.exit_code)
    except KeyboardInterrupt as stop:
        sys.stderr.write("interrupted\n")
        sys.exit(getattr(stop, "exit_code", INTERRUPTED))
