"""The nightly refresh, rehearsed."""

import pytest

from tests.deploy import workflow
from tests.deploy.nights import Night
from tests.engines.rehearsal import Rehearsal
from tests.servers import flink
from tests.servers.flink import Flink

pytestmark = pytest.mark.slow


@pytest.mark.needs(flink.unavailable())
@pytest.mark.needs(workflow.unavailable())
def test_three_nights_do_what_has_changed_and_a_date_is_done_once(services: Night, cluster: Flink) -> None:
    Rehearsal(services, cluster, flags=["--parallelism=1"]).three_nights()
