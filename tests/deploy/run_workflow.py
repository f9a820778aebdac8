"""Run a workflow in the emulator, as a program: FILE ARGUMENT; prints what it returns as JSON, or fails."""

import json
import sys

from workflows_emulator.main import execute_workflow, load_workflow

if __name__ == "__main__":
    workflow = load_workflow(sys.argv[1])
    # The service hands the whole argument to main's one parameter; the emulator wants its name.
    print(json.dumps(execute_workflow(workflow, {"args": json.loads(sys.argv[2])})))
