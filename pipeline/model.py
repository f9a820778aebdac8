"""The model command: fetch, info, verify, export."""

import argparse
import json

from transforms import errors, model_store, storage
from transforms.precision import chosen_precision


def command(arguments: argparse.Namespace) -> int:
    """Runs one action and returns the exit code.

    Raises:
      YamnetBeamError: the model cannot be had or used.
    """
    if arguments.action == "fetch":
        directory = storage.normalise(arguments.output or model_store.default_directory())
        if model_store.is_there(directory) and not arguments.force:
            raise errors.UsageError(f"{directory} has a model already; --force fetches it again")
        description = model_store.fetch(arguments.source, directory, class_map=arguments.class_map)
        published = "Google's published weights" if description["published"] else "not the published weights"
        print(f"{directory}: YAMNet {description['fingerprint'][:12]}, {published}")
        return 0
    directory = model_store.resolve(arguments.model)
    if arguments.action == "info":
        print(json.dumps({"directory": directory, **model_store.describe(directory)}, indent=1))
    elif arguments.action == "verify":
        model = model_store.load(directory, precision=chosen_precision(arguments.precision))
        print(f"{directory}: YAMNet {model.version[:12]} is whole and gives its known answers in {model.precision}")
    else:
        from transforms import export

        model_store.load(directory)
        export.export(directory, arguments.output)
        print(f"{arguments.output}: SavedModel of {directory}, signatures waveform and patches")
    return 0
