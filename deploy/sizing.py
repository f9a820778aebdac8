"""How large a run gets: core-hours, machines, requests, bytes and BigQuery, from what was measured.

python deploy/sizing.py                                                  # the first table of deploy/README.md
python deploy/sizing.py --clips 10000000 --price vcpu_hour=P --price class_b_10k=P ...     # and what it costs
python deploy/sizing.py --write                                          # puts the tables into deploy/README.md

Nothing here knows a price: those given are multiplied, the others are named as missing. Standard library only.
"""

import argparse
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

README = Path(__file__).parent / "README.md"
SIZES = (1_000, 1_000_000, 10_000_000, 100_000_000)

# Milliseconds of one core for a clip of 10 s, 44.1 kHz stereo, from its file to its row: tests/benchmarks, on one vCPU
# of a virtual machine with AVX512-BF16 (AMD EPYC).
CORE_MS: Mapping[tuple[str, str], float] = {
    ("flac", "float32"): 23.0,
    ("flac", "bfloat16"): 16.5,
    ("wav", "float32"): 19.5,
    ("wav", "bfloat16"): 13.0,
}
# Bytes of such a clip: FLAC as tests/benchmarks/clips.py makes it, three quarters of WAV.
CLIP_BYTES: Mapping[str, int] = {"flac": 1_312_000, "wav": 1_764_044}

# Bytes of a clip in what a run leaves. Mantissas of floats hardly shrink: zstd takes little off 2066 of 4 bytes.
ROW_BYTES = 8_400  # Parquet
INDEX_BYTES = 45  # Parquet
LOAD_BYTES = 8_000  # Avro, on the way to BigQuery
WAREHOUSE_BYTES = 17_100  # in BigQuery, which counts 8 bytes a FLOAT64

# Bytes of memory for a clip, by the resident set of processes that held 50,000 of them.
JOIN_MEMORY = 940  # PlanWork, of each clip in one partition, with what was done of it
DATASET_MEMORY = 1_070  # Dataset.open, info and compact, of each clip in the dataset

# Of the product.
PARTITIONS = 256  # transforms.plan.NUM_PARTITIONS
FILE_ROWS = 50_000  # MAX_FILE_ROWS of Parquet files
PAGE_OBJECTS = 1_000  # of Cloud Storage's listing

# Of Cloud Storage: reads a second that a bucket serves at once, and how fast it grows to more.
INITIAL_READS_PER_S = 5_000
DOUBLING_MINUTES = 20


class Thing(NamedTuple):
    """What has a price: the unit of it, and where the amount comes from."""

    unit: str
    why: str


PRICES: Mapping[str, Thing] = {
    "vcpu_hour": Thing("a vCPU for an hour", "clips times milliseconds of a core"),
    "memory_gb_hour": Thing("a GB of workers' memory for an hour", "4 GB a vCPU"),
    "disk_gb_hour": Thing("a GB of workers' disk for an hour", "50 GB a machine of 8 vCPUs"),
    "class_a_10k": Thing(
        "10,000 class A operations of Cloud Storage",
        "pages of 1,000 names, three files a bundle, and more by small bundles",
    ),
    "class_b_10k": Thing(
        "10,000 class B operations of Cloud Storage",
        "one GET a clip; two where a list without versions names it, which are asked for",
    ),
    "egress_gb": Thing("a GB read from another region", "nothing within one: put job, clips and dataset into the same"),
    "storage_gb_month": Thing(
        "a GB in Cloud Storage for a month", "Parquet and the index; TFRecord somewhat less, once more"
    ),
    "warehouse_gb_month": Thing("a GB in BigQuery for a month", "8 bytes a FLOAT64"),
    "query_tb": Thing("a TB that BigQuery's merge reads", "at most the table, a run; loading it costs nothing"),
}


@dataclass(frozen=True, kw_only=True)
class Fleet:
    """The machines of a run.

    Attributes:
      deadline_h: hours that it may take.
      vcpus, memory_gb, disk_gb: of a machine; by default those of --profile=dataflow-large.
      most_vcpus: as many as that profile may have.
      vcpu_speed: of a vCPU, relative to the core that was measured.
    """

    deadline_h: float = 6.0
    vcpus: int = 8
    memory_gb: float = 32.0
    disk_gb: float = 50.0
    most_vcpus: int = 1000
    vcpu_speed: float = 1.0


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A run over clips of one kind.

    Attributes:
      clips: all of them new.
      core_ms: of a clip.
      clip_bytes: of its file.
      fleet: that does it.
    """

    clips: int
    core_ms: float
    clip_bytes: int
    fleet: Fleet

    @property
    def core_hours(self) -> float:
        """Of the core that was measured."""
        return self.clips * self.core_ms / 3_600_000

    @property
    def vcpu_hours(self) -> float:
        """Of the fleet's vCPUs."""
        return self.core_hours / self.fleet.vcpu_speed

    @property
    def machines(self) -> int:
        """That keep the deadline, starting and listing left out."""
        return max(1, math.ceil(self.vcpu_hours / self.fleet.deadline_h / self.fleet.vcpus))

    @property
    def hours(self) -> float:
        """That those machines take."""
        return self.vcpu_hours / (self.machines * self.fleet.vcpus)

    @property
    def reads_per_s(self) -> float:
        """Of the source bucket, from those machines."""
        return self.clips_per_s(self.machines * self.fleet.vcpus)

    def clips_per_s(self, vcpus: int) -> float:
        """Which is also how many objects are read a second."""
        return vcpus * self.fleet.vcpu_speed * 1000 / self.core_ms

    def ramp_minutes(self, vcpus: int) -> float:
        """Minutes until Cloud Storage serves that many vCPUs, doubling from what it serves at once."""
        return DOUBLING_MINUTES * math.log2(max(1.0, self.clips_per_s(vcpus) / INITIAL_READS_PER_S))

    @property
    def read_bytes(self) -> int:
        """Of clips."""
        return self.clips * self.clip_bytes

    @property
    def list_pages(self) -> int:
        """Of a glob: asked for one after another, by one worker."""
        return math.ceil(self.clips / PAGE_OBJECTS)

    @property
    def files(self) -> int:
        """Of rows, if each is full; bundles are mostly smaller, and their files more."""
        return math.ceil(self.clips / FILE_ROWS)

    @property
    def partition_clips(self) -> int:
        """In one partition of the join that plans the work."""
        return math.ceil(self.clips / PARTITIONS)

    def needs(self) -> dict[str, float]:
        """How much of what PRICES names; reading from another region and a night's merge are counted once."""
        return {
            "vcpu_hour": self.vcpu_hours,
            "memory_gb_hour": self.machines * self.fleet.memory_gb * self.hours,
            "disk_gb_hour": self.machines * self.fleet.disk_gb * self.hours,
            "class_a_10k": (self.list_pages + 3 * self.files) / 10_000,
            "class_b_10k": self.clips / 10_000,
            "egress_gb": self.read_bytes / 1e9,
            "storage_gb_month": self.clips * (ROW_BYTES + INDEX_BYTES) / 1e9,
            "warehouse_gb_month": self.clips * WAREHOUSE_BYTES / 1e9,
            "query_tb": self.clips * WAREHOUSE_BYTES / 1e12,
        }


def plan(clips: int, fleet: Fleet, file_format: str = "flac", precision: str = "float32") -> Plan:
    """The plan for clips of 10 s."""
    return Plan(clips=clips, core_ms=CORE_MS[file_format, precision], clip_bytes=CLIP_BYTES[file_format], fleet=fleet)


def table(sizes: Sequence[int] = SIZES, fleet: Fleet = Fleet()) -> str:
    """The plans as Markdown, one column a size."""
    plans = [plan(clips, fleet) for clips in sizes]
    fast = [plan(clips, fleet, precision="bfloat16") for clips in sizes]
    most = fleet.most_vcpus

    def row(name: str, told: Callable[[Plan], str], of: Sequence[Plan] = plans) -> str:
        return f"| {name} | " + " | ".join(told(each) for each in of) + " |"

    hours = [
        row(
            f"core-hours: {file_format.upper()}, {precision} ({core_ms:g} ms a clip)",
            lambda each: figure(each.core_hours),
            [plan(clips, fleet, file_format, precision) for clips in sizes],
        )
        for (file_format, precision), core_ms in CORE_MS.items()
    ]
    deadline = f"in {fleet.deadline_h:g} h"
    return "\n".join(
        [
            "| clips of 10 s | " + " | ".join(short(clips) for clips in sizes) + " |",
            "|---|" + "---|" * len(sizes),
            row("hours of sound", lambda each: figure(each.clips * 10 / 3600)),
            *hours,
            row(f"machines of {fleet.vcpus} vCPUs, FLAC, float32, {deadline}", lambda each: f"{each.machines:,}"),
            row(f"the same, bfloat16, {deadline}", lambda each: f"{each.machines:,}", fast),
            row("reads a second by the former", lambda each: figure(each.reads_per_s)),
            row("Gbit a second by the former", lambda each: figure(each.reads_per_s * each.clip_bytes * 8 / 1e9)),
            row(f"minutes with {most:,} vCPUs, `dataflow-large`", lambda each: figure(each.vcpu_hours * 60 / most)),
            row("reads a second by those", lambda each: figure(each.clips_per_s(most))),
            row("Gbit a second by those", lambda each: figure(each.clips_per_s(most) * each.clip_bytes * 8 / 1e9)),
            row("minutes until a bucket serves so many reads", lambda each: figure(each.ramp_minutes(most))),
            row("bytes read, FLAC", lambda each: size(each.read_bytes)),
            row("bytes read, WAV", lambda each: size(each.clips * CLIP_BYTES["wav"])),
            row("pages of listing, one after another", lambda each: f"{each.list_pages:,}"),
            row("rows as Parquet", lambda each: size(each.clips * ROW_BYTES)),
            row(f"files of them, of at most {FILE_ROWS:,} rows", lambda each: f"{each.files:,} or more"),
            row("index", lambda each: size(each.clips * INDEX_BYTES)),
            row("memory to plan, of one of 256 partitions", lambda each: size(each.partition_clips * JOIN_MEMORY)),
            row("memory of `info`, `compact`, `Dataset.open`", lambda each: size(each.clips * DATASET_MEMORY)),
            row("Avro to load into BigQuery", lambda each: size(each.clips * LOAD_BYTES)),
            row("in BigQuery; a merge reads at most as much", lambda each: size(each.clips * WAREHOUSE_BYTES)),
        ]
    )  # fmt: skip


def bill(made: Plan, prices: Mapping[str, float]) -> str:
    """What a plan needs of each thing that has a price, as Markdown, and what that costs where prices are given."""
    rows = [[f"for {made.clips:,} clips", "needs", "where it comes from"]]
    rows += [[f"`{n}`: {PRICES[n].unit}", figure(amount), PRICES[n].why] for n, amount in made.needs().items()]
    if prices:
        costs = {name: amount * prices[name] for name, amount in made.needs().items() if name in prices}
        rows[0] += ["price", "cost"]
        for name, cells in zip(made.needs(), rows[1:], strict=True):
            cells.extend([f"{prices[name]:g}", f"{costs[name]:,.2f}"] if name in prices else ["not given", ""])
        rows.append(["sum of those given", "", "", "", f"{sum(costs.values()):,.2f}"])
    rows.insert(1, ["---"] * len(rows[0]))
    return "\n".join("|" + "|".join(row) + "|" if row[0] == "---" else f"| {' | '.join(row)} |" for row in rows)


def rendered(text: str) -> str:
    """deploy/README.md with fresh tables."""
    for name, made in {"sizing": table(), "bill": bill(plan(10_000_000, Fleet()), {})}.items():
        start, end = f"<!-- {name} -->\n", f"<!-- /{name} -->"
        before, _, rest = text.partition(start)
        text = f"{before}{start}{made}\n{end}{rest.partition(end)[2]}"
    return text


def figure(number: float) -> str:
    """Three digits, for people."""
    if number >= 100:
        return f"{round(number, 2 - math.floor(math.log10(number))):,.0f}"
    return f"{number:.3g}" if number >= 0.01 or not number else f"{number:.1g}"


def short(number: int) -> str:
    """1 k, 10 M."""
    for unit, word in ((1_000_000, " M"), (1_000, " k")):
        if number >= unit and number % unit == 0:
            return f"{number // unit}{word}"
    return f"{number:,}"


def size(num_bytes: float) -> str:
    """Bytes in decimal units."""
    for unit, word in ((1e15, "PB"), (1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if num_bytes >= unit:
            return f"{num_bytes / unit:.3g} {word}"
    return f"{num_bytes:.0f} B"


def main(argv: Sequence[str] | None = None) -> None:
    """Prints the table, or a bill, or writes both."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0], allow_abbrev=False)
    parser.add_argument("--clips", type=int, action="append", help="of 10 s; repeatable")
    parser.add_argument("--format", choices=tuple(CLIP_BYTES), default="flac", help="of the clips that are billed")
    parser.add_argument("--precision", choices=("float32", "bfloat16"), default="float32", help="of the same")
    parser.add_argument("--core_ms", type=float, help="milliseconds of a core that one of your clips took")
    parser.add_argument("--clip_bytes", type=int, help="of one of your clips")
    for name, default in vars(Fleet()).items():
        parser.add_argument(f"--{name}", type=type(default), default=default, help=f"default {default:g}")
    parser.add_argument(
        "--price", action="append", default=[], type=_price, metavar="NAME=PRICE",
        help="; ".join(f"{name}: of {thing.unit}" for name, thing in PRICES.items()),
    )  # fmt: skip
    parser.add_argument("--write", action="store_true", help="put the tables, of the defaults, into deploy/README.md")
    settings = parser.parse_args(argv)
    if settings.write:
        README.write_text(rendered(README.read_text()))
        return
    fleet = Fleet(**{name: getattr(settings, name) for name in vars(Fleet())})
    if not settings.price:
        print(table(settings.clips or SIZES, fleet))
        return
    for clips in settings.clips or SIZES:
        made = Plan(
            clips=clips,
            core_ms=settings.core_ms or CORE_MS[settings.format, settings.precision],
            clip_bytes=settings.clip_bytes or CLIP_BYTES[settings.format],
            fleet=fleet,
        )
        print(bill(made, dict(settings.price)))


def _price(text: str) -> tuple[str, float]:
    name, _, price = text.partition("=")
    if name not in PRICES:
        raise argparse.ArgumentTypeError(f"{name!r} is none of {', '.join(PRICES)}")
    return name, float(price)


if __name__ == "__main__":
    main()
