"""What a runner cannot do is refused before anything is sent, and the refusal names the cure."""

import typing

import pytest
from apache_beam.options.pipeline_options import PipelineOptions

from pipeline import dataflow, runners
from pipeline.options import EmbedOptions
from tests.servers.processes import free_port
from transforms import errors, model_store

pytestmark = pytest.mark.slow

DATAFLOW = [
    "--runner=DataflowRunner", "--project=my-project", "--region=us-east1", "--temp_location=gs://out/tmp",
    "--sdk_container_image=us-docker.pkg.dev/p/r/i:1", "--max_num_workers=9",
]  # fmt: skip
SPARK = ["--runner=SparkRunner", "--environment_config=image"]
PORTABLE = ["--runner=PortableRunner"]


def prepare(*flags: str, **settings: object) -> runners.Runner:
    defaults = {"input": ("gs://in/*.wav",), "output": "gs://out/d", "model": "gs://out/model"}
    return runners.prepare(EmbedOptions(**(defaults | settings)), PipelineOptions(list(flags)))


def test_without_a_name_the_local_runner_is_named() -> None:
    assert prepare(input=("/in/*.wav",), output="/out", model="/model") == runners.Runner(
        "FnApiRunner", is_local=True, is_one_process=True, shares_files=True, has_image=True
    )


@pytest.mark.parametrize(
    ("flags", "settings", "words"),
    [
        (["--runner=DaskRunner"], {}, "DaskRunner gives wrong results.*use FnApiRunner"),
        (["--save_main_session"], {}, "--save_main_session.*leave it out"),
        (SPARK, {"precision": "auto"}, "--precision=auto measures this machine.*take float32"),
        (["--streaming"], {}, "--streaming.*leave it out"),
        (SPARK, {"output": "out"}, r"--output=out is on this machine.*gs://.*--shared_filesystem"),
        (SPARK, {"input": ("gs://in/*", "/in/*.wav")}, r"--input=/in/\*.wav is on this machine"),
        (SPARK, {"input": ("@/lists/a.csv",)}, "--input=@/lists/a.csv is on this machine"),
        (SPARK, {"model": "/models/mine"}, "the model /models/mine is on this machine.*model fetch --output gs://"),
        (
            ["--runner=SparkRunner", "--environment_type=EXTERNAL", "--environment_config=localhost:50000"],
            {"model": model_store.default_directory()},
            "the model .* is on this",
        ),
        (["--runner=SparkRunner"], {}, "--environment_config=IMAGE is missing.*deploy/Dockerfile"),
        (["--runner=SparkRunner", "--environment_type=EXTERNAL"], {}, "--environment_config=HOST:PORT is missing"),
        (["--runner=SparkRunner", "--environment_type=PROCESS"], {}, '--environment_config={"command": PROGRAM} is'),
        ([*PORTABLE, "--environment_type=LOOPBACK"], {}, "--job_endpoint=HOST:PORT is missing"),
        ([*PORTABLE, "--environment_type=LOOPBACK", "--job_endpoint=8099"], {}, "=8099: .*HOST:PORT is needed"),
    ],
)
def test_what_cannot_work_is_refused_with_the_cure(flags: list[str], settings: dict[str, object], words: str) -> None:
    with pytest.raises(errors.UsageError, match=words):
        prepare(*flags, **settings)


def test_an_address_where_nobody_listens_is_refused_at_once() -> None:
    nobody = f"localhost:{free_port()}"
    with pytest.raises(errors.UsageError, match=f"--job_endpoint={nobody}: no job server answers"):
        prepare(*PORTABLE, "--environment_type=LOOPBACK", f"--job_endpoint={nobody}")
    with pytest.raises(errors.UsageError, match=f"--flink_master=http://{nobody}: no Flink answers there"):
        prepare("--runner=FlinkRunner", "--environment_type=LOOPBACK", f"--flink_master={nobody}")


@pytest.mark.parametrize(
    ("flags", "settings"),
    [
        (SPARK, {}),
        (DATAFLOW, {}),
        ([*DATAFLOW, "--autoscaling_algorithm=NONE", "--num_workers=5"], {}),
        (["--runner=apache_beam.runners.DataflowRunner", *DATAFLOW[1:]], {"model": model_store.default_directory()}),
        (SPARK, {"input": ("bq:SELECT uri FROM t",)}),
        (SPARK, {"model": model_store.default_directory()}),
        (["--runner=SparkRunner", "--environment_type=LOOPBACK"], {"output": "out", "model": "/models/mine"}),
        (["--runner=FlinkRunner"], {"output": "out", "model": "/models/mine"}),
        (
            ["--runner=SparkRunner", "--environment_type=EXTERNAL", "--environment_config=localhost:50000"],
            {"output": "/nfs/out", "model": "/nfs/m", "shared_filesystem": True},
        ),
    ],
)
def test_what_can_work_on_many_machines_passes(flags: list[str], settings: dict[str, object]) -> None:
    runner = prepare(*flags, **settings)
    assert not runner.is_local
    assert not runner.is_one_process


def notes(*flags: str, **settings: object) -> str:
    options = EmbedOptions(**({"input": ("gs://in/*",), "output": "gs://out/d"} | settings))
    beam_options = PipelineOptions(dataflow.with_profile(options.profile, [*DATAFLOW, *flags]))
    return "\n".join(dataflow.notes(options, beam_options))


def test_what_may_not_be_meant_is_said() -> None:
    assert not notes()
    assert "n2 machines have no instructions for --precision=bfloat16" in notes(
        "--machine_type=n2-standard-4", precision="bfloat16"
    )
    assert not notes("--machine_type=c3-standard-4", precision="bfloat16")
    assert "up to 6 hours" in notes("--flexrs_goal=COST_OPTIMIZED")
    assert "Private Google Access, and Cloud NAT" in notes("--no_use_public_ips", allow_http_host=("a.org",))


def test_jobs_are_named_after_their_run_and_their_dataset() -> None:
    name = dataflow.job_name("20261124T225754.123Z", "gs://out/d")
    assert name.startswith("yamnet-beam-20261124t225754-123z-")
    assert name != dataflow.job_name("20261124T225754.123Z", "gs://out/another")
    assert len(dataflow.job_name("x" * 500, "gs://out/d")) <= 80
    assert dataflow.labels("A.b")[0] == "yamnet-beam-run-id=a-b"


def test_every_profile_is_one_that_may_be_named() -> None:
    assert typing.get_args(typing.get_type_hints(EmbedOptions)["profile"]) == tuple(dataflow.PROFILES)
