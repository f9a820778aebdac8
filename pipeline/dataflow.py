"""What Dataflow asks of a run: safe defaults, and what it cannot do, refused before anything is sent.

A vCPU costs the same on every family of machines (cloud.google.com/dataflow/docs/guides/configure-worker-vm), so the
cheapest is the one that does most in an hour. With --precision=bfloat16 the network runs three times as fast on a
processor with AMX (c3: Sapphire Rapids, c4: Emerald and Granite Rapids) and 1.9 times with AVX512-BF16 (c3d: Genoa,
c4d and n4d: Turin), which halves the bill. The older families (n1, n2, n2d, e2, c2, c2d, t2d) have neither.
"""

import contextlib
import hashlib
import importlib.metadata
import re
import uuid
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from apache_beam.options.pipeline_options import GoogleCloudOptions, PipelineOptions, StandardOptions

from pipeline.options import EmbedOptions
from transforms import errors, storage

RUNNER = "DataflowRunner"

# What both have: one SDK process a vCPU is Beam's default, and TensorFlow has one thread in each; two harness threads
# keep it busy while one waits for storage (Dataflow's default of 12 would hold 12 bundles of sound in memory).
_COMMON = (
    f"--runner={RUNNER}",
    "--autoscaling_algorithm=THROUGHPUT_BASED",
    "--number_of_worker_harness_threads=2",
    "--disk_size_gb=50",  # the image, and recordings too large for memory; the default of 25 is tight
    "--sdk_location=container",
)
PROFILES: Mapping[str, tuple[str, ...]] = {
    "none": (),
    # Up to some 100,000 clips; a machine that every region and every new project has.
    "dataflow-small": (*_COMMON, "--machine_type=n2-standard-4", "--max_num_workers=8"),
    # Millions of clips: 1000 vCPUs with AMX. 125 public addresses are more than a project usually may have.
    "dataflow-large": (*_COMMON, "--machine_type=c3-standard-8", "--max_num_workers=125", "--no_use_public_ips"),
}

_BUILD = (
    "workers need this package in their container image. Build it: docker build --file deploy/Dockerfile "
    "--tag REGION-docker.pkg.dev/PROJECT/REPOSITORY/yamnet-beam:TAG . && docker push that, "
    "then --sdk_container_image=REGION-docker.pkg.dev/PROJECT/REPOSITORY/yamnet-beam:TAG"
)
_NEEDED = {
    "project": "--project=MY-PROJECT is missing: the one that runs and pays for the job",
    "region": "--region=REGION is missing: the one that the buckets are in, such as europe-west4",
    "temp_location": "--temp_location=gs://BUCKET/tmp is missing: Dataflow keeps its files there while the job runs",
    "sdk_container_image": f"--sdk_container_image=IMAGE is missing: {_BUILD}",
}
_FORMS = {
    "project": (r"[a-z][-a-z0-9:.]{4,}[a-z0-9]", "give the project's id, such as my-project, not its number or title"),
    "region": (r"[a-z]+(-[a-z]+)+\d+", "give a region, such as europe-west4, and a zone of it with --worker_zone"),
    "worker_region": (r"[a-z]+(-[a-z]+)+\d+", "give a region, such as europe-west4"),
    "worker_zone": (r"[a-z]+(-[a-z]+)+\d+-[a-z]", "give a zone, such as europe-west4-a"),
    "temp_location": (r"gs://[a-z0-9][-_.a-z0-9]+/.*", "give a folder in a bucket: gs://BUCKET/tmp"),
    "staging_location": (r"gs://[a-z0-9][-_.a-z0-9]+/.*", "give a folder in a bucket: gs://BUCKET/staging"),
    "job_name": (r"[a-z]([-a-z0-9]*[a-z0-9])?", "use small letters, digits and dashes"),
    "service_account_email": (r"[^@\s]+@[^@\s]+", "give its address: NAME@PROJECT.iam.gserviceaccount.com"),
    "subnetwork": (
        r"(https://\S+/projects/[^/]+/)?regions/(?P<region>[^/]+)/subnetworks/[^/]+",
        "give regions/REGION/subnetworks/NAME, or its whole address",
    ),
    "dataflow_kms_key": (
        r"projects/[^/]+/locations/(?P<region>[^/]+)/keyRings/[^/]+/cryptoKeys/[^/]+",
        "give projects/PROJECT/locations/REGION/keyRings/RING/cryptoKeys/KEY",
    ),
}
_SHARED_CORE = ("e2-micro", "e2-small", "e2-medium", "f1-micro", "g1-small")
_ARM = ("t2a", "c4a", "n4a")
_WITHOUT_BFLOAT16 = ("n1", "n2", "n2d", "e2", "c2", "c2d", "t2d")
_IMAGE_OF_BEAM = r"(docker\.io/)?apache/beam_|gcr\.io/cloud-dataflow/"


def with_profile(profile: str, beam_flags: Sequence[str]) -> list[str]:
    """Beam's flags: those of the profile, then those given, of which the last counts.

    Raises:
      UsageError: two of those given contradict each other.
    """
    if {"--use_public_ips", "--no_use_public_ips"} <= set(beam_flags):
        raise errors.UsageError("--use_public_ips and --no_use_public_ips contradict each other: give one")
    return [*PROFILES[profile], *beam_flags]


def prepare(options: EmbedOptions, beam_options: PipelineOptions) -> None:
    """Refuses what Dataflow cannot do; names and labels the job after the run. Other runners pass as they are.

    Raises:
      UsageError: names the flag and the cure.
    """
    runner = _runner(beam_options)
    if runner != RUNNER:
        if options.profile != "none":
            raise errors.UsageError(f"--profile={options.profile} is for {RUNNER}, and --runner={runner} was given")
        return
    google = beam_options.view_as(GoogleCloudOptions)
    google.job_name = google.job_name or job_name(str(options.run_id), options.output)
    google.labels = [*(google.labels or ()), *labels(str(options.run_id))]
    flags = beam_options.get_all_options()
    for problem in _problems(options, flags):
        raise errors.UsageError(problem)


def job_name(run_id: str, dataset: str) -> str:
    """The job of a run. Dataflow runs one job of a name at a time: a run that is started twice is done once."""
    return f"yamnet-beam-{_as_label(run_id)}-{hashlib.sha256(dataset.encode()).hexdigest()[:8]}"


def labels(run_id: str) -> list[str]:
    """By which a bill or an alert finds the jobs of a run and of a release."""
    version = importlib.metadata.version("yamnet-beam")
    return [f"yamnet-beam-run-id={_as_label(run_id)}", f"yamnet-beam-version={_as_label(version)}"]


def check_places(beam_options: PipelineOptions) -> None:
    """Tries the folders that Dataflow keeps its files in: Beam tries one that cannot be written for ten minutes.

    Raises:
      UsageError: there is no such bucket.
      AccessError: it may not be written; names the permission.
    """
    if _runner(beam_options) != RUNNER:
        return
    google = beam_options.view_as(GoogleCloudOptions)
    for name in ("temp_location", "staging_location"):
        if place := getattr(google, name):
            probe = storage.join(place, f"yamnet-beam-{uuid.uuid4().hex}")
            try:
                storage.write_bytes(probe, b"")
            except errors.NotFoundError as problem:
                raise errors.UsageError(f"--{name}={place}: there is no such bucket") from problem
            with contextlib.suppress(errors.AccessError):  # whoever may only add leaves an empty object
                storage.delete([probe])


def notes(options: EmbedOptions, beam_options: PipelineOptions) -> list[str]:
    """What to know before the job is sent: what the profile sets, and what works and may not be what was meant."""
    if _runner(beam_options) != RUNNER:
        return []
    flags = beam_options.get_all_options()
    family = _family(flags)
    found = []
    if options.profile != "none":
        found.append(f"--profile={options.profile} sets, unless given: {' '.join(PROFILES[options.profile][1:])}")
    if options.precision == "bfloat16" and family in _WITHOUT_BFLOAT16:
        found.append(
            f"{family} machines have no instructions for --precision=bfloat16: take c3 or c4 (AMX), c3d or c4d"
        )
    if flags["use_public_ips"] is False:
        found.append(
            "workers have private addresses: their subnetwork needs Private Google Access"
            + (", and Cloud NAT for the hosts of --allow_http_host" if options.allow_http_host else "")
        )
    if flags["flexrs_goal"] == "COST_OPTIMIZED":
        found.append("with --flexrs_goal=COST_OPTIMIZED the job waits up to 6 hours before it starts")
    return found


def _problems(options: EmbedOptions, flags: Mapping[str, Any]) -> Iterator[str]:
    """Why Dataflow cannot do this, the plainest first."""
    for name, why in _NEEDED.items():
        if not flags[name] and not (name == "sdk_container_image" and flags["worker_harness_container_image"]):
            yield why
    places: dict[str, str] = {}
    for name, (pattern, cure) in _FORMS.items():
        if value := flags[name]:
            if match := re.fullmatch(pattern, value):
                places |= {name: match["region"]} if "region" in match.groupdict() else {}
            else:
                yield f"--{name}={value}: {cure}"
    region, zone = flags["region"], flags["worker_zone"] or ""
    places |= {name: flags[name] for name in ("worker_region",) if flags[name]}
    places |= {"worker_zone": zone.rpartition("-")[0]} if zone else {}
    for name, place in places.items():
        if place != region:
            yield f"--{name}={flags[name]} is not in --region={region}, and must be"
    for text in _texts_of_labels(flags["labels"]):
        if text != text.lower() or not re.fullmatch(r"[\w-]{0,63}", text):
            yield f"--labels: {text!r} may hold small letters, digits, - and _, at most 63"
    for is_so, why in _contradictions(options, flags):
        if is_so:
            yield why


def _contradictions(options: EmbedOptions, flags: Mapping[str, Any]) -> Iterator[tuple[Any, str]]:
    family, machine, image = _family(flags), flags["machine_type"], flags["sdk_container_image"] or ""
    fixed = flags["autoscaling_algorithm"] == "NONE"
    most, first = flags["max_num_workers"], flags["num_workers"]
    experiments, services = flags["experiments"] or (), flags["dataflow_service_options"] or ()
    yield (
        most is None and not (fixed and first),
        "--max_num_workers=N is missing, and so is --profile: it bounds what a mistake can cost",
    )
    yield most is not None and most < 1, f"--max_num_workers={most}: it must be 1 or more"
    yield first is not None and first < 1, f"--num_workers={first}: it must be 1 or more"
    yield first and most and first > most, f"--num_workers={first} is more than --max_num_workers={most}"
    yield (
        flags["worker_harness_container_image"] and not image,
        "--worker_harness_container_image is the old name of --sdk_container_image: use that",
    )
    yield re.match(_IMAGE_OF_BEAM, image), f"--sdk_container_image={image} is Beam's own: {_BUILD}"
    yield "/" not in image, f"--sdk_container_image={image} names no registry that workers can pull from: {_BUILD}"
    yield (
        flags["environment_type"] not in (None, "DOCKER"),
        f"--environment_type={flags['environment_type']}: Dataflow's workers are containers; leave it out",
    )
    yield (
        options.shared_filesystem,
        "--shared_filesystem: Dataflow's workers share no file system with this machine; use gs://BUCKET/...",
    )
    yield (
        flags["update"] or flags["transform_name_mapping"] or flags["create_from_snapshot"],
        "--update is for jobs without an end, and a run has one; leave it out, cancel the old job if need be, "
        "and run the command again: it does what is not done yet",
    )
    yield flags["dry_run"], "--dry_run is for tests of Beam itself; leave it out"
    yield flags["zone"], f"--zone={flags['zone']} is the old name of --worker_zone: use that"
    yield (
        flags["worker_region"] and flags["worker_zone"],
        "--worker_region and --worker_zone contradict each other: give one",
    )
    yield (
        flags["flexrs_goal"] == "COST_OPTIMIZED" and fixed,
        "--flexrs_goal=COST_OPTIMIZED scales by itself: leave --autoscaling_algorithm=NONE out",
    )
    yield machine in _SHARED_CORE, f"--machine_type={machine} shares a core, which Dataflow does not support"
    yield family in _ARM, f"--machine_type={machine} is Arm, for which tfx-bsl has no wheels: take n2, c3 or c4"
    yield (
        machine and ("enable_prime" in services or "enable_prime" in experiments),
        "Dataflow Prime chooses machines itself: leave enable_prime out, or --machine_type and --profile",
    )
    yield (
        any(text.startswith("disable_") and "runner_v2" in text for text in experiments),
        "--experiments=disable_runner_v2: Beam's Python needs runner v2; leave it out",
    )


def _runner(beam_options: PipelineOptions) -> str:
    return (beam_options.view_as(StandardOptions).runner or "").rpartition(".")[2]


def _family(flags: Mapping[str, Any]) -> str:
    return (flags["machine_type"] or "").partition("-")[0]


def _texts_of_labels(given: Sequence[str] | None) -> Iterator[str]:
    """The keys and values, without the marks of the two forms that Beam reads: key=value, and a JSON object."""
    for label in given or ():
        if label.lstrip().startswith("{"):
            yield from re.findall(r"""["']([^"']*)["']""", label)
        else:
            yield from label.split("=", 1)


def _as_label(text: str) -> str:
    """Small letters, digits and dashes, at most 50: what names of jobs and values of labels may hold."""
    return re.sub("[^a-z0-9]+", "-", text.lower()).strip("-")[:50].rstrip("-")
