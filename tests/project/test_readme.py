"""README says what the code does."""

import importlib.util
from pathlib import Path

SCRIPT = Path(__file__).parent / "readme_tables.py"


def test_tables_of_flags_and_columns_are_those_of_the_code() -> None:
    spec = importlib.util.spec_from_file_location("readme_tables", SCRIPT)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    text = module.README.read_text()
    assert text == module.rendered(text), "run: .venv/bin/python tests/project/readme_tables.py"
