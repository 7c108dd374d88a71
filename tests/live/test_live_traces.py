"""The traces of a live run whose robots and relay are killed: each has a root, and every span has its parent."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

from telemetry.record.reader import RecordReader
from telemetry.tracing.exchanges import traces_of
from telemetry.tracing.run_trace import run_trace
from tests.support.live_place import END_S, LIVE, Place
from tests.support.waiting import await_true

pytestmark = LIVE


def listed(place: Place) -> dict[str, Any]:
    """What `robots traces` shows of the run that goes on."""
    process = place.start("traces", "--json", "--limit", "100000")
    out, err = process.communicate(timeout=END_S)
    return dict(json.loads(out)) if out else {"total": 0, "err": err}


def test_every_exchange_of_a_run_with_kills_has_one_root_and_no_orphan(place: Place) -> None:
    # Given a live run whose robots are killed every half second, and its relay once
    chaos = ("--chaos", "kill robot every 500ms", "--kill", "relay@2s")
    process = place.start("run", "-n", "6", "--loss", ".3", "--for", "5s", "--json", *chaos)
    # When it is looked at while it goes on
    await_true(lambda: listed(place)["total"] > 20)
    out, err = process.communicate(timeout=END_S)
    assert process.returncode in (0, 3), err
    result = json.loads(out)
    # Then afterwards every exchange has one root, and every span its parent
    history = RecordReader(place.folder / result["record"]).history()
    traces = list(traces_of(history))
    assert len(traces) > 20
    for trace in [*traces, run_trace(history, result)]:
        spans = {span.span: span for span in trace.spans}
        assert [span.name for span in trace.spans if span.parent is None] == [trace.spans[0].name]
        for span in trace.spans[1:]:
            assert span.parent is not None
            assert spans[span.parent].start_us <= span.start_us <= span.end_us
    ids = Counter(span.span for trace in traces for span in trace.spans)
    assert max(ids.values()) == 1
    # and what killed robots could not report any more is drawn all the same
    assert sum(span.error == "killed" for span in run_trace(history).spans) >= 5
