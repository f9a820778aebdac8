"""The command line: one subcommand each, every module imported when its command runs."""

import argparse
import sys
from collections.abc import Sequence

from pipeline import options
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
    options.add_embed_arguments(embed)
    model = commands.add_parser("model", help="fetch, describe, check or export a model directory", allow_abbrev=False)
    options.add_model_arguments(model)
    demo = commands.add_parser("demo", help="make a few sounds, embed them, show the result", allow_abbrev=False)
    demo.add_argument("--output", default="demo-output", metavar="DIR", help="where to (default demo-output)")
    return top, {"embed": embed, "model": model, "demo": demo}


def main(argv: Sequence[str] | None = None) -> int:
    """Runs a command and returns its exit code."""
    top, commands = parsers()
    arguments, unknown = top.parse_known_args(argv)
    command = arguments.command
    known = options.flags_of(commands[command])
    try:
        if command == "embed":
            from pipeline import run

            return run.embed(options.embed_options(vars(arguments)), options.beam_flags(unknown, known))
        options.refuse_unknown(unknown, known)
        if command == "model":
            from pipeline import model

            return model.command(arguments)
        from pipeline import demo

        return demo.command(arguments.output)
    except errors.YamnetBeamError as problem:
        print(f"yamnet-beam {command}: {problem}", file=sys.stderr)
        return 2 if isinstance(problem, errors.UsageError) else 1
    except KeyboardInterrupt:
        print("\nInterrupted: nothing is committed, and the next run does the work.", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
