"""A process that is measured: takes jobs as lines of JSON, does them in this process, and says how long each took.

{"call": "ours.embed", "folder": "/clips", ...} calls ours.embed(folder="/clips", output=<a folder for once>, ...).
"""

import gc
import importlib
import json
import logging
import os
import sys
import tempfile
import time
from typing import Any


def main() -> None:
    """Answers every line on stdin with a line on stdout."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print is no answer
    logging.disable(logging.WARNING)
    for line in sys.stdin:
        try:
            answer = done(**json.loads(line))
        except Exception as problem:  # noqa: BLE001  the measuring process decides
            answer = {"error": f"{type(problem).__name__}: {problem}"}
        print(json.dumps(answer), file=answers, flush=True)


def done(call: str, **arguments: Any) -> dict[str, Any]:
    """Does a job: seconds of wall and processor time, and what the call gave."""
    module, function = call.split(".")
    do = getattr(importlib.import_module(module), function)
    with tempfile.TemporaryDirectory(prefix="bench-output-") as output:
        gc.collect()
        started, busy = time.perf_counter(), time.process_time()
        given = do(output=output, **arguments)
        spent = {"seconds": time.perf_counter() - started, "cpu_seconds": time.process_time() - busy}
    return spent | given


if __name__ == "__main__":
    main()
