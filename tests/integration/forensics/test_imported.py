"""Runs that were imported are asked about by their ids, beside those of the installation."""

from __future__ import annotations

from pandas.testing import assert_frame_equal

from flowforge import Client
from flowforge import forensics as fx
from flowforge.engine.engine import Endpoints
from flowforge.settings import Settings
from tests.integration.forensics.conftest import Incidents


def test_imported_runs_answer_by_id_and_are_never_counted(endpoints: Endpoints, incidents: Incidents):
    bad = incidents.played["retry_storm"].bad
    assert bad is not None
    settings = Settings(database_url=endpoints.database_url, redis_url=endpoints.redis_url)
    with Client(settings, endpoints=endpoints) as client:
        client.import_capsule(incidents.path)

    with fx.open_source(endpoints.database_url) as live:
        ids = incidents.played["retry_storm"].runs
        for ask in (fx.attempts, fx.latency, fx.retry_storms):
            assert_frame_equal(ask(runs=ids, source=live), ask(runs=ids, source=incidents.bundle))
        assert live.resolve(bad[-12:]) == bad
        assert fx.run(bad, source=live)._repr_html_() == fx.run(bad, source=incidents.bundle)._repr_html_()
        assert "failed_step" in set(fx.postmortem(bad, source=live)["cause"])
        assert fx.findings(runs=ids, source=live)["cause"].iloc[0] == "retry_storm"
        assert fx.runs(source=live).empty
        assert fx.findings(source=live)["cause"].tolist() == ["nothing"]
