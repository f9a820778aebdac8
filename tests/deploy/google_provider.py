"""The schemas of Terraform's google provider, from the typed bindings that cdktf publishes of it.

The provider itself cannot be had from a package registry, its bindings can: every resource's arguments, blocks and
types, which are required, and the attributes that only the provider knows. They are of google 6.50.0. What they do not
tell: sets from lists, and which optional arguments have a value of the provider's own (`id` is taken to).
"""

from __future__ import annotations

import ast
import functools
import json
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.deploy import environments

BINDINGS = "cdktf-cdktf-provider-google==16.12.1"
PACKAGE = "cdktf_cdktf_provider_google"
PROVIDER_VERSION = "6.50.0"

Block = dict[str, Any]  # {"attributes": {name: {type, required | optional | computed}}, "blocks": {name: ...}}

_TYPES = {"builtins.str": "string", "jsii.Number": "number", "builtins.bool": "bool", "IResolvable": "bool"}
_META = ("connection", "count", "depends_on", "for_each", "lifecycle", "provider", "provisioners")


def schemas(resources: frozenset[str]) -> dict[str, Block]:
    """Return the schema of the provider ("provider") and of each of `resources` (google_...), 49 MB at the first call.

    Raises:
        KeyError: The provider has no such resource.
    """
    return {name: _schema(name) for name in ("provider", *sorted(resources))}


@functools.cache
def _schema(name: str) -> Block:
    module = f"{PACKAGE}/{name.removeprefix('google_')}/__init__.py"
    with zipfile.ZipFile(_wheel()) as wheel:
        classes = {node.name: node for node in ast.parse(wheel.read(module)).body if isinstance(node, ast.ClassDef)}
    config = next(node for node in classes.values() if node.name.endswith("Config") and _is_root(node, name))
    block = _block(config, classes)
    if name != "provider":
        resource = classes[config.name.removesuffix("Config")]
        computed = {known: {"type": kind, "computed": True} for known, kind in _known(resource)}
        block["attributes"] = computed | block["attributes"]
        block["attributes"]["id"] = {"type": "string", "optional": True, "computed": True}
    return block


def _is_root(node: ast.ClassDef, name: str) -> bool:
    return name == "provider" or any("TerraformMetaArguments" in ast.unparse(base) for base in node.bases)


def _block(struct: ast.ClassDef, classes: dict[str, ast.ClassDef]) -> Block:
    """The arguments of a struct's constructor: with a default they are optional."""
    init = next(node for node in struct.body if isinstance(node, ast.FunctionDef) and node.name == "__init__")
    block: Block = {"attributes": {}, "blocks": {}}
    for argument, default in zip(init.args.kwonlyargs, init.args.kw_defaults, strict=True):
        if argument.arg in _META or argument.annotation is None:
            continue
        necessity = {"required": True} if default is None else {"optional": True}
        kind = _kind(argument.annotation, classes)
        if isinstance(kind, dict):
            nested = _block(classes[kind["struct"]], classes)
            block["blocks"][argument.arg] = nested | {"many": kind["many"], **necessity}
        else:
            block["attributes"][argument.arg] = {"type": kind, **necessity}
    return block


def _kind(annotation: ast.expr, classes: dict[str, ast.ClassDef]) -> Any:
    """A type as Terraform writes it in JSON, or the struct of a block."""
    text = ast.unparse(annotation)
    names = [getattr(node, "value", getattr(node, "id", None)) for node in ast.walk(annotation)]
    structs = [name for name in names if isinstance(name, str) and name in classes]
    if structs:
        return {"struct": structs[0], "many": "typing.Sequence" in text}
    scalar = next(
        kind for python, kind in _TYPES.items() if python in text.replace("typing.Mapping[builtins.str, ", "")
    )
    if "typing.Mapping" in text:
        return ["map", scalar]
    return ["list", scalar] if "typing.Sequence" in text else scalar


def _known(resource: ast.ClassDef) -> Iterator[tuple[str, Any]]:
    """The attributes that can be read, of plain types."""
    for node in resource.body:
        if not isinstance(node, ast.FunctionDef) or node.returns is None or node.name.endswith("_input"):
            continue
        if any("builtins.property" in ast.unparse(decorator) for decorator in node.decorator_list):
            text = ast.unparse(node.returns)
            if "StringMap" in text:
                yield node.name, ["map", "string"]
            elif text in ("builtins.str", "jsii.Number") or text.endswith("IResolvable"):
                yield node.name, next(kind for python, kind in _TYPES.items() if python in text)


@functools.cache
def _wheel() -> Path:
    place = environments.cache() / f"{PACKAGE}-{BINDINGS.rpartition('=')[2]}.whl"
    with environments.locked(place):
        if not place.exists():
            with tempfile.TemporaryDirectory(dir=place.parent) as folder:
                pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--disable-pip-version-check"]
                subprocess.run([*pip, "--dest", folder, BINDINGS], check=True)
                (made,) = Path(folder).glob("*.whl")
                made.rename(place)
    return place


if __name__ == "__main__":
    print(json.dumps(schemas(frozenset(sys.argv[1:])), indent=1))
