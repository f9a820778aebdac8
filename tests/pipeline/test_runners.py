"""What a runner cannot do is refused before anything is sent, and the refusal names the cure."""

import pytest
from apache_beam.options.pipeline_options import PipelineOptions

from pipeline import runners
from pipeline.options import EmbedOptions
from tests.servers.processes import free_port
from transforms import errors, model_store

pytestmark = pytest.mark.slow

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
