"""The shape of the graph: one fused stage from reading to scoring, and one model per process."""

from pathlib import Path

import apache_beam as beam
import pytest
from apache_beam.portability import common_urns
from results import Embed

from pipeline import run
from pipeline.build import Job, build
from pipeline.options import EmbedOptions
from transforms import model_store
from transforms.commit import RunInfo
from transforms.embed import YamnetModelHandler

pytestmark = pytest.mark.slow

VERBS = ("ReadClips/Fetch", "DecodeClips", "EmbedSegments", "PoolClips/PoolWhole", "ScoreClips/Score0")
SHUFFLES = {
    common_urns.primitives.GROUP_BY_KEY.urn,
    common_urns.primitives.FLATTEN.urn,
    common_urns.composites.RESHUFFLE.urn,
    common_urns.composites.COMBINE_PER_KEY.urn,
}


@pytest.fixture(scope="module")
def graph(model_directory: str, tmp_path_factory: pytest.TempPathFactory):
    output = str(tmp_path_factory.mktemp("graph"))
    options = EmbedOptions(input=("/nowhere/*",), output=output, sink=("parquet", "tfrecord"), model=model_directory)
    info = RunInfo("r", "a", output, "", "m", "p", {}, 0.5, options.sink)
    root = beam.Pipeline(runner="FnApiRunner")
    build(root, Job(options, info, YamnetModelHandler(model_directory, "m"), model_store.classes(model_directory)))
    return root.to_runner_api()


def test_no_shuffle_lies_between_reading_and_the_files(graph) -> None:
    """Walks back from the clip files to the reader: every step on the way is a plain ParDo."""
    components = graph.components
    producers = {
        output: transform
        for transform in components.transforms.values()
        if not transform.subtransforms
        for output in transform.outputs.values()
    }
    (writer,) = (
        transform
        for transform in components.transforms.values()
        if transform.unique_name == "Write_clips_parquet/WriteBundle0"
    )
    step, way = writer, []
    while step.unique_name != "ReadClips/Fetch":
        while step.subtransforms:
            step = components.transforms[step.subtransforms[-1]]
        assert step.spec.urn not in SHUFFLES, step.unique_name
        (source,) = set(step.inputs.values())
        step = producers[source]
        way.append(step.unique_name)
        if step.unique_name.startswith("ReadClips/Fetch"):
            break
    for verb in VERBS:
        assert any(name.startswith(verb) for name in way), f"{verb} is not on the way: {way}"


def test_step_labels_are_the_words_of_the_design(graph) -> None:
    (root,) = (graph.components.transforms[name] for name in graph.root_transform_ids)
    labels = [graph.components.transforms[name].unique_name for name in root.subtransforms]
    assert labels[:8] == [
        "ListClips", "PlanWork", "LogPlan", "ReadClips", "DecodeClips", "EmbedSegments", "PoolClips", "ScoreClips",
    ]  # fmt: skip


def test_threads_of_one_process_share_one_model(few_files: Path, embed: Embed, monkeypatch: pytest.MonkeyPatch) -> None:
    loads = []
    load = model_store.load
    monkeypatch.setattr(model_store, "load", lambda *args, **more: loads.append(1) or load(*args, **more))
    result = embed([f"{few_files}/0*"], beam=["--direct_running_mode=multi_threading", "--direct_num_workers=2"])
    assert result.code == run.DONE
    assert len(loads) == 1
