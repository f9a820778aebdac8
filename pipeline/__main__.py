"""The command line: one subcommand each, every module imported when its command runs."""

import argparse
import json
import sys
from collections.abc import Sequence

from pipeline import flags
from transforms import errors

EPILOG = """exit codes: 0 done, 1 error, 2 usage, 3 not committed: no clip at all, or more dead letters than allowed.
Beam's own flags, such as --direct_num_workers=4 --direct_running_mode=multi_processing, pass through."""


def parsers() -> tuple[argparse.ArgumentParser, dict[str, argparse.ArgumentParser]]:
    """The whole command line, and the parser of each subcommand."""
    top = argparse.ArgumentParser(
        prog="yamnet-beam",
        description="Turn audio collections into embedding datasets: batched YAMNet on Apache Beam.",
        allow_abbrev=False,
    )
    commands = top.add_subparsers(dest="command", metavar="COMMAND", required=True)
    embed = commands.add_parser(
        "embed",
        help="embed clips into a dataset",
        description="Embeds clips: one row a clip, and a dead letter for each that has none.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    flags.add_embed_arguments(embed)
    model = commands.add_parser("model", help="fetch, describe, check or export a model directory", allow_abbrev=False)
    flags.add_model_arguments(model)
    demo = commands.add_parser("demo", help="make a few sounds, embed them, show the result", allow_abbrev=False)
    demo.add_argument("--output", default="demo-output", metavar="DIR", help="where to (default demo-output)")
    info = commands.add_parser("info", help="say what a dataset holds", allow_abbrev=False)
    compact = commands.add_parser(
        "compact", help="rewrite the runs of a dataset as one: the newest row of each clip", allow_abbrev=False
    )
    compact.add_argument("--remove_old", action="store_true", help="remove the runs that went into it")
    for command in (info, compact):
        command.add_argument("dataset", metavar="DATASET", help="the --output of embed")
    return top, {"embed": embed, "model": model, "demo": demo, "info": info, "compact": compact}


def main(argv: Sequence[str] | None = None) -> int:
    """Runs a command and returns its exit code."""
    top, commands = parsers()
    arguments, unknown = top.parse_known_args(argv)
    command = arguments.command
    try:
        return _run(command, arguments, unknown, flags.flags_of(commands[command]))
    except errors.YamnetBeamError as problem:
        print(f"yamnet-beam {command}: {problem}", file=sys.stderr)
        return 2 if isinstance(problem, errors.UsageError) else 1
    except KeyboardInterrupt as interrupt:
        said = str(interrupt) or "Interrupted: nothing is committed, and the next run does the work."
        print(f"\n{said}", file=sys.stderr)
        return 130


def _run(command: str, arguments: argparse.Namespace, unknown: list[str], known: list[str]) -> int:
    if command == "embed":
        from pipeline import run

        return run.embed(flags.embed_options(vars(arguments)), flags.beam_flags(unknown, known))
    flags.refuse_unknown(unknown, known)
    match command:
        case "model":
            from pipeline import model

            code = model.command(arguments)
        case "info":
            from pipeline import dataset

            print(json.dumps(dataset.Dataset.open(arguments.dataset).info(), indent=1))
            code = 0
        case "compact":
            from pipeline import compact

            code = compact.command(arguments.dataset, remove_old=arguments.remove_old)
        case _:
            from pipeline import demo

            code = demo.command(arguments.output)
    return code


if __name__ == "__main__":
    sys.exit(main())
