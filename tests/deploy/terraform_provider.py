"""Terraform's google provider on loopback: the real one's schema, and a cloud that agrees to everything.

Terraform attaches to it as to a provider under a debugger (TF_REATTACH_PROVIDERS) and speaks its plugin protocol,
version 6, over gRPC. So `terraform validate`, `plan`, `apply`, `output` and `destroy` run whole: arguments, types,
references, conditions and values are checked by Terraform itself. What Google would say to the values is not.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator
from concurrent import futures
from typing import Any

import grpc
import msgpack
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from tests.deploy.google_provider import Block, schemas

ADDRESS = "registry.terraform.io/hashicorp/google"
UNKNOWN = msgpack.ExtType(0, b"\x00")
_SINGLE, _LIST = 1, 2  # how a block nests

# The messages of tfplugin6 that are used, as "name number type"; * where there may be many.
_MESSAGES = {
    "DynamicValue": "msgpack 1 bytes, json 2 bytes",
    "RawState": "json 1 bytes",
    "Diagnostic": "severity 1 int64, summary 2 string, detail 3 string",
    "Attribute": "name 1 string, type 2 bytes, required 4 bool, optional 5 bool, computed 6 bool",
    "NestedBlock": "type_name 1 string, block 2 Block, nesting 3 int64, min_items 4 int64, max_items 5 int64",
    "Block": "version 1 int64, attributes 2 Attribute*, block_types 3 NestedBlock*",
    "Schema": "version 1 int64, block 2 Block",
    "NamedSchema": "key 1 string, value 2 Schema",  # an entry of a map
    "GetProviderSchemaResponse": "provider 1 Schema, resource_schemas 2 NamedSchema*",
    "ConfigureProviderRequest": "terraform_version 1 string, config 2 DynamicValue",
    "UpgradeResourceStateRequest": "type_name 1 string, version 2 int64, raw_state 3 RawState",
    "UpgradeResourceStateResponse": "upgraded_state 1 DynamicValue",
    "ReadResourceRequest": "type_name 1 string, current_state 2 DynamicValue",
    "ReadResourceResponse": "new_state 1 DynamicValue",
    "PlanResourceChangeRequest": "type_name 1 string, prior_state 2 DynamicValue, proposed_new_state 3 DynamicValue",
    "PlanResourceChangeResponse": "planned_state 1 DynamicValue, legacy_type_system 5 bool",
    "ApplyResourceChangeRequest": "type_name 1 string, prior_state 2 DynamicValue, planned_state 3 DynamicValue",
    "ApplyResourceChangeResponse": "new_state 1 DynamicValue, legacy_type_system 4 bool",
    "Empty": "",
}

# What the cloud gives to a new resource, from its own arguments; whatever else only the cloud knows is made up.
_GIVEN = {
    ("google_service_account", "email"): "{account_id}@{project}.iam.gserviceaccount.com",
    ("google_service_account", "member"): "serviceAccount:{account_id}@{project}.iam.gserviceaccount.com",
    (
        "google_service_account",
        "id",
    ): "projects/{project}/serviceAccounts/{account_id}@{project}.iam.gserviceaccount.com",
    (
        "google_service_account",
        "name",
    ): "projects/{project}/serviceAccounts/{account_id}@{project}.iam.gserviceaccount.com",
    ("google_workflows_workflow", "id"): "projects/{project}/locations/{region}/workflows/{name}",
}


@contextlib.contextmanager
def google_provider(resources: frozenset[str]) -> Iterator[dict[str, str]]:
    """Serve the provider for these types of resources.

    Yields:
        The variables that lead Terraform to it.
    """
    provider = _Provider(resources)
    server = grpc.server(futures.ThreadPoolExecutor(8))
    server.add_generic_rpc_handlers((provider,))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    attached = {
        "Protocol": "grpc",
        "ProtocolVersion": 6,
        "Pid": os.getpid(),
        "Test": True,
        "Addr": {"Network": "tcp", "String": f"127.0.0.1:{port}"},
    }
    try:
        yield {
            "TF_REATTACH_PROVIDERS": json.dumps({ADDRESS: attached}),
            "CHECKPOINT_DISABLE": "1",
            "TF_IN_AUTOMATION": "1",
        }
    finally:
        server.stop(None).wait()


class _Provider(grpc.GenericRpcHandler):  # type: ignore[misc]
    """Answers the calls of the service tfplugin6.Provider."""

    def __init__(self, resources: frozenset[str]) -> None:
        self._schemas = schemas(resources)
        self._project = ""

    def service(self, call: Any) -> Any:
        service, _, method = call.method.strip("/").partition("/")
        if service != "tfplugin6.Provider":
            return None  # go-plugin's own services, which it does without
        answer = getattr(self, f"_{method}", None)
        if answer is None:
            if not (method.startswith("Validate") or method == "StopProvider"):
                return None
            return grpc.unary_unary_rpc_method_handler(lambda _request, _context: b"")
        return grpc.unary_unary_rpc_method_handler(lambda request, _context: answer(request).SerializeToString())

    def _GetProviderSchema(self, _request: bytes) -> Any:  # noqa: N802
        blocks = {name: {"block": _block_message(block)} for name, block in self._schemas.items()}
        named = [{"key": name, "value": schema} for name, schema in blocks.items() if name != "provider"]
        return _message("GetProviderSchemaResponse", provider=blocks["provider"], resource_schemas=named)

    def _ConfigureProvider(self, request: bytes) -> Any:  # noqa: N802
        config = msgpack.unpackb(_read("ConfigureProviderRequest", request).config.msgpack)
        self._project = config["project"]
        return _message("Empty")

    def _UpgradeResourceState(self, request: bytes) -> Any:  # noqa: N802
        state = _read("UpgradeResourceStateRequest", request).raw_state.json
        return _message("UpgradeResourceStateResponse", upgraded_state={"json": state})

    def _ReadResource(self, request: bytes) -> Any:  # noqa: N802
        state = _read("ReadResourceRequest", request).current_state.msgpack
        return _message("ReadResourceResponse", new_state={"msgpack": state})

    def _PlanResourceChange(self, request: bytes) -> Any:  # noqa: N802
        asked = _read("PlanResourceChangeRequest", request)
        planned = _unpacked(asked.proposed_new_state.msgpack)
        for name, attribute in self._schemas[asked.type_name]["attributes"].items() if planned else ():
            if attribute.get("computed") and planned[name] is None:
                planned[name] = UNKNOWN
        state = {"msgpack": msgpack.packb(planned)}
        return _message("PlanResourceChangeResponse", planned_state=state, legacy_type_system=True)

    def _ApplyResourceChange(self, request: bytes) -> Any:  # noqa: N802
        asked = _read("ApplyResourceChangeRequest", request)
        state = _unpacked(asked.planned_state.msgpack)
        known = {name: value for name, value in (state or {}).items() if value not in (None, UNKNOWN)}
        for name, value in state.items() if state else ():
            if value == UNKNOWN:
                kind = self._schemas[asked.type_name]["attributes"][name]["type"]
                state[name] = self._given(asked.type_name, name, kind, known)
        return _message(
            "ApplyResourceChangeResponse", new_state={"msgpack": msgpack.packb(state)}, legacy_type_system=True
        )

    def _given(self, resource: str, name: str, kind: Any, known: dict[str, Any]) -> Any:
        if form := _GIVEN.get((resource, name)):
            return form.format(**{"project": self._project} | known)
        made_up = {"string": f"{resource}.{name}", "number": 1, "bool": False}
        return made_up[kind] if isinstance(kind, str) else {} if kind[0] == "map" else []


def _block_message(block: Block) -> dict[str, Any]:
    """A block as the protocol describes it."""
    attributes = [
        {"name": name, **attribute, "type": json.dumps(attribute["type"]).encode()}
        for name, attribute in block["attributes"].items()
    ]
    nested = [
        {
            "type_name": name,
            "block": _block_message(inner),
            "nesting": _SINGLE if name == "timeouts" else _LIST,
            "min_items": int("required" in inner),
            "max_items": 0 if inner["many"] or name == "timeouts" else 1,
        }
        for name, inner in block["blocks"].items()
    ]
    return {"attributes": attributes, "block_types": nested}


def _unpacked(value: bytes) -> Any:
    return msgpack.unpackb(value, ext_hook=msgpack.ExtType)


def _message(name: str, **fields: Any) -> Any:
    return _CLASSES[name](**fields)


def _read(name: str, content: bytes) -> Any:
    return _CLASSES[name].FromString(content)


def _classes() -> dict[str, Any]:
    """The classes of _MESSAGES."""
    field = descriptor_pb2.FieldDescriptorProto
    kinds = {"bytes": field.TYPE_BYTES, "string": field.TYPE_STRING, "bool": field.TYPE_BOOL, "int64": field.TYPE_INT64}
    file = descriptor_pb2.FileDescriptorProto(name="tfplugin6_used.proto", package="tfplugin6_used", syntax="proto3")
    for message, fields in _MESSAGES.items():
        made = file.message_type.add(name=message)
        for line in filter(None, fields.split(", ")):
            name, number, kind = line.split()
            one = made.field.add(name=name, number=int(number))
            one.label = field.LABEL_REPEATED if kind.endswith("*") else field.LABEL_OPTIONAL
            kind = kind.rstrip("*")
            one.type = kinds.get(kind, field.TYPE_MESSAGE)
            if kind not in kinds:
                one.type_name = f".tfplugin6_used.{kind}"
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return {
        name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"tfplugin6_used.{name}"))
        for name in _MESSAGES
    }


_CLASSES = _classes()
