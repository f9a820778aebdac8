"""Makes README's tables from the code: `python tests/project/readme_tables.py` writes them into README.md."""

import dataclasses
import re
from pathlib import Path

from pipeline.flags import add_embed_arguments
from pipeline.options import EmbedOptions
from transforms.schemas import CLIP_FIELDS

README = Path(__file__).parents[2] / "README.md"


def tables() -> dict[str, str]:
    """Marker name -> Markdown table."""
    import argparse

    parser = argparse.ArgumentParser()
    add_embed_arguments(parser)
    order = ["config", *(field.name for field in dataclasses.fields(EmbedOptions))]
    actions = {action.dest: action for action in parser._actions}
    flags = []
    for name in order:
        action = actions[name]
        values = "|".join(action.choices) if action.choices else action.metavar
        flags.append(f"| `--{name}` {(values or '').replace('|', ' or ')} | {action.help} |")
    kinds = {"vector": lambda field: f"float32 [{field.size}]", "classes": lambda _: "list of index, mid, name, score"}
    columns = [
        f"| `{field.name}` {kinds.get(field.kind, lambda f: f.kind)(field)} | {field.description} |"
        for field in CLIP_FIELDS
    ]
    return {
        "flags": "\n".join(["| flag | meaning |", "|---|---|", *flags]),
        "columns": "\n".join(["| column | meaning |", "|---|---|", *columns]),
    }


def rendered(text: str) -> str:
    """README with fresh tables."""
    for name, rows in tables().items():
        text = re.sub(
            rf"(<!-- {name} -->\n).*?(<!-- /{name} -->)", lambda m, rows=rows: f"{m[1]}{rows}\n{m[2]}", text, flags=re.S
        )
    return text


if __name__ == "__main__":
    README.write_text(rendered(README.read_text()))
