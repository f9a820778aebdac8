"""What people read of the results: the figures in Markdown tables, and the bars they are held against."""

from collections.abc import Iterator, Sequence
from typing import Any

Results = dict[str, Any]

CLASSES = {"amx": "AMX", "avx512_bf16": "AVX512-BF16 without AMX", "neither": "neither AMX nor AVX512-BF16"}
# Clips a second over the naive peer, by feature class, precision and clips.
THROUGHPUT_BARS = {
    "amx": {"float32": {"10 s FLAC": 1.4, "10 s WAV": 1.6}, "bfloat16": {"10 s FLAC": 2.4, "10 s WAV": 3.2}},
    "avx512_bf16": {"float32": {"10 s FLAC": 1.35, "10 s WAV": 1.45}, "bfloat16": {"10 s FLAC": 1.9, "10 s WAV": 2.3}},
}
OVERLAP = "clips/s from a bucket that takes 50 ms an object, over one that does not"
AT_LEAST, AT_MOST = ">=", "<="
QUIET = 0.97  # of the wall time that a process must have been running for its times to be trusted


def bars(results: Results) -> list[dict[str, Any]]:
    """Every bar that was measured: figure, value, sense, bound, and whether it is met."""
    rows: list[tuple[str, float, str, float]] = []
    by_precision = THROUGHPUT_BARS.get(results["machine"]["feature_class"], {})
    for precision, by_clips in by_precision.items():
        for name, bound in by_clips.items():
            if found := results["contests"].get(name, {}).get(precision):
                label = f"clips/s over the naive peer, {name}, {precision}"
                rows.append((label, found["over_naive"]["median"], AT_LEAST, bound))
    if found := results.get("processes"):
        rows.append(("two processes over one", found["ratio"]["median"], AT_LEAST, 1.7))
    if found := results.get("memory"):
        rows.append(("worker memory, GB", found["clips_of_10_s_mb"] / 1e3, AT_MOST, 1.0))
        longest = list(found["recording_adds_mb"])[-1]
        rows.append((f"a recording of {longest} adds, MB", found["recording_adds_mb"][longest], AT_MOST, 256))
    if found := results.get("overlap"):
        rows.append((OVERLAP, found["throughput_ratio"]["median"], AT_LEAST, 0.9))
        undisturbed = found["throughput_ratio_undisturbed"]["median"]
        rows.append(("the same by processor time and waiting", undisturbed, AT_LEAST, 0.9))
    for found in results["planning"]:
        if found["clips"] == 200_000:
            rows.append(("seconds of a night of 200,000 unchanged clips", found["seconds"], AT_MOST, 30))
            rows.append(("its memory, GB", found["peak_mb"] / 1e3, AT_MOST, 1.0))
    if found := results.get("growth"):
        rows.append(("time per clip, largest over smallest run", found["ratio"], AT_MOST, 1.1))
    for name, precision, ours in _ours(results):
        rows.append((f"stages over wall time, {name}, {precision}", ours["explained"], AT_LEAST, 0.9))
    return [
        {
            "figure": figure,
            "value": value,
            "sense": sense,
            "bound": bound,
            "met": value >= bound if sense == AT_LEAST else value <= bound,
        }
        for figure, value, sense, bound in rows
    ]


def markdown(results: Results) -> str:
    """The whole report."""
    sections = [
        _machine,
        _bars,
        _contests,
        _stages,
        _network,
        _processes,
        _memory,
        _storage,
        _encoder,
        _growth,
        _accuracy,
    ]
    return "\n\n".join(text for section in sections if (text := section(results))) + "\n"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table, aligned for reading as text; all columns but the first to the right."""
    widths = [max(len(row[column]) for row in (head, *rows)) for column in range(len(head))]
    rule = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]

    def line(cells: Sequence[str]) -> str:
        first = cells[0].ljust(widths[0])
        return "| " + " | ".join([first, *map(str.rjust, cells[1:], widths[1:])]) + " |"

    return "\n".join(map(line, (head, rule, *rows)))


def ranged(spread: dict[str, Any], digits: int = 1) -> str:
    """A median with its range, if it has one."""
    text = f"{spread['median']:.{digits}f}"
    if len(spread["values"]) == 1:
        return text
    return f"{text} ({spread['low']:.{digits}f}-{spread['high']:.{digits}f})"


def quietness(results: Results) -> float:
    """The least part of its wall time that a pinned process was running; others took the rest."""
    return min(
        who["cpu_ms"]["median"] / who["wall_ms"]["median"]
        for contest in results["contests"].values()
        for who in contest.values()
    )


def _ours(results: Results) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Clips, precision and figures of every contest of ours."""
    for name, contest in results["contests"].items():
        for who, figures in contest.items():
            if who != "naive":
                yield name, who, figures


def _machine(results: Results) -> str:
    machine = results["machine"]
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
    lines = [
        "# Benchmark",
        "",
        f"{machine['processor']} (family/model/stepping {machine['family_model_stepping']}), {machine['cores']} cores, "
        f"{machine['memory_gb']:.0f} GB; features {', '.join(machine['features'])}: "
        f"{CLASSES[machine['feature_class']]}. "
        f"Python {machine['python']}, {versions}. {results['started_at']}, effort {results['effort']}, "
        f"{results['took_s'] / 60:.1f} min; the naive peer's SavedModel: {results['peer_model']}.",
        "",
        "One core and one thread unless it says otherwise; set-up taken off; medians (lowest-highest).",
    ]
    if (quiet := quietness(results)) < QUIET:
        lines += [
            "",
            f"**The machine was not quiet**: a pinned process ran for only {quiet:.0%} of its wall time. "
            "Trust the ratios by processor time rather than those by wall time.",
        ]
    return "\n".join(lines)


def _bars(results: Results) -> str:
    rows = [
        (bar["figure"], f"{bar['value']:.2f}", f"{bar['sense']} {bar['bound']:g}", "pass" if bar["met"] else "MISS")
        for bar in results["bars"]
    ]
    return "## Bars\n\n" + table(("figure", "value", "bar", ""), rows)


def _contests(results: Results) -> str:
    rows = []
    for name, contest in results["contests"].items():
        rows.append((name, "naive", ranged(contest["naive"]["wall_ms"]), "1", "1", _setup(contest["naive"])))
        for precision, ours in contest.items():
            if precision != "naive":
                ratio, by_cpu = ranged(ours["over_naive"], 2), ranged(ours["over_naive_by_cpu_time"], 2)
                rows.append((name, precision, ranged(ours["wall_ms"]), ratio, by_cpu, _setup(ours)))
    head = ("clips", "who", "ms a clip", "clips/s over naive", "by processor time", "set-up s")
    reasons = [f"\n\n{who} is refused here: {why}" for who, why in results["refused"].items() if why]
    return "## Against the naive peer\n\n" + table(head, rows) + "".join(reasons)


def _setup(who: dict[str, Any]) -> str:
    return f"{who['setup_s']['median']:.1f}"


def _stages(results: Results) -> str:
    columns = [(f"{name}, {precision}", ours) for name, precision, ours in _ours(results)]
    stages = list(dict.fromkeys(stage for _, ours in columns for stage in ours["stages_ms"]))
    rows = [
        (stage, *(_ms(ours["stages_ms"][stage]) if stage in ours["stages_ms"] else "" for _, ours in columns))
        for stage in stages
    ]
    unexplained = [(1 - ours["explained"]) * ours["wall_ms"]["median"] for _, ours in columns]
    rows.append(("unexplained", *(f"{ms:.2f}" for ms in unexplained)))
    rows.append(("wall", *(_ms(ours["wall_ms"]) for _, ours in columns)))
    rows.append(("stages / wall", *(f"{ours['explained']:.2f}" for _, ours in columns)))
    lines = [
        "## Stages, ms a clip",
        "",
        "`fetch` is waiting for bytes, `read` processor time of the threads that bring them, beside the others.",
        "",
        table(("stage", *(name for name, _ in columns)), rows),
    ]
    return "\n".join(lines)


def _ms(spread: dict[str, Any]) -> str:
    return f"{spread['median']:.2f}"


def _network(results: Results) -> str:
    gflops = results["gflops"]
    text = "## Ceilings of one core\n\n" + table(
        ("matrix product", "GFLOP/s"), [(name.replace("_", " "), f"{value:.0f}") for name, value in gflops.items()]
    )
    if not results["network"]:
        return text
    rows = [
        (precision, f"{found['gflops']:.0f}", f"{found['ceiling_gflops']:.0f}", f"{found['of_ceiling']:.0%}")
        for precision, found in results["network"].items()
    ]
    return text + "\n\n" + table(("network", "GFLOP/s", "ceiling", "reached"), rows)


def _processes(results: Results) -> str:
    start = results["start_up"]
    lines = [
        "## Processes and start-up",
        "",
        f"One clip, one core: the first row {start['first_row_s']:.1f} s after the start, the end at "
        f"{start['end_s']:.1f} s.",
    ]
    if found := results.get("processes"):
        rows = [
            ("one, clips/s", ranged(found["one_clips_per_s"])),
            ("two, clips/s", ranged(found["two_clips_per_s"])),
            ("two over one", ranged(found["ratio"], 2)),
        ]
        lines += ["", table(("processes, while all work", ""), rows)]
    return "\n".join(lines)


def _memory(results: Results) -> str:
    if not (found := results.get("memory")):
        return ""
    rows = [
        ("Python alone", found["python_mb"]),
        ("import tensorflow", found["tensorflow_import_mb"]),
        ("clips of 10 s, launcher and worker in one process", found["clips_of_10_s_mb"]),
        *((f"a recording of {name}", mb) for name, mb in found["recordings_mb"].items()),
    ]
    if two := found.get("two_processes_mb"):
        rows.append(("two processes: launcher", two["launcher"]))
        rows += [("two processes: worker", mb) for mb in two["workers"]]
    shown = [(name, f"{mb:.0f}", f"{mb - found['tensorflow_import_mb']:+.0f}") for name, mb in rows]
    return "## Memory\n\n" + table(("peak resident size", "MB", "over TensorFlow's import"), shown)


def _storage(results: Results) -> str:
    tables = []
    if found := results.get("overlap"):
        rows = [
            (name, ranged(found[f"{word}_ms"]), ranged(found[f"{word}_wait_ms"]), *left)
            for name, word, left in (
                ("at once", "fast", ("1", "1")),
                (
                    "after 50 ms",
                    "slow",
                    (ranged(found["throughput_ratio"], 2), ranged(found["throughput_ratio_undisturbed"], 2)),
                ),
            )
        ]
        head = ("10 s FLAC from a bucket", "ms a clip", "of waiting", "throughput", "by processor time and waiting")
        tables.append(table(head, rows))
    if results["planning"]:
        rows = [
            (f"{night['clips']:,}", *(f"{night[key]:.0f}" for key in ("seconds", "cpu_seconds", "peak_mb")))
            for night in results["planning"]
        ]
        tables.append(table(("clips of a night without changes", "s", "processor s", "peak MB"), rows))
    return "\n\n".join(["## Storage", *tables]) if tables else ""


def _encoder(results: Results) -> str:
    found = results["encoder"]
    rows = [(name, f"{rate:.1f}") for name, rate in found["clips_per_s"].items()]
    rows.append(("bulk_encode over the loop", f"{found['bulk_over_loop']:.2f}"))
    return "## The in-process API\n\n" + table((f"{found['clips']}, one core", "clips/s"), rows)


def _growth(results: Results) -> str:
    if not (found := results.get("growth")):
        return ""
    rows = [(f"{int(count):,}", f"{ms:.2f}") for count, ms in found["wall_ms"].items()]
    rows.append(("ratio", f"{found['ratio']:.2f}"))
    return "## Growth\n\n" + table(("clips of 1 s in a run", "ms a clip"), rows)


def _accuracy(results: Results) -> str:
    if not (found := results.get("accuracy")):
        return ""
    rows = [
        (
            name,
            f"{worst['clips']}",
            f"{worst['score']:.3f}",
            f"{worst['mean_score']:.3f}",
            f"{worst['cosine']:.4f}",
            f"{worst['mean_cosine']:.4f}",
            f"{worst['same_top_class']}",
        )
        for name, worst in found.items()
    ]
    head = ("golden clips", "number", "score of a patch", "mean score", "cosine of a patch", "of the mean", "same top")
    return "## bfloat16 against float32, the worst of\n\n" + table(head, rows)
