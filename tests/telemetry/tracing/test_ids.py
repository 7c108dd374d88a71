"""The ids of traces and spans: the same everywhere, and different for different things."""

from __future__ import annotations

from telemetry.tracing.ids import exchange_trace_id, run_trace_id, span_id


def test_ids_have_their_size_and_are_never_zero() -> None:
    traces = [exchange_trace_id("7b08e1", seed, f"{seed:016x}") for seed in range(500)]

    assert all(0 < trace < 2**128 for trace in traces)
    assert max(traces) > 2**120
    assert all(0 < span_id(trace, "send", "r00", 1) < 2**64 for trace in traces)


def test_every_part_of_a_name_counts() -> None:
    # Given names that differ in one part, or in where a part ends
    traces = {
        exchange_trace_id("7b08e1", 7, "00"),
        exchange_trace_id("7b08e2", 7, "00"),
        exchange_trace_id("7b08e1", 8, "00"),
        exchange_trace_id("7b08e1", 7, "01"),
        run_trace_id("7b08e1", 7),
        run_trace_id("7b08e1", 8),
    }
    spans = {
        span_id(1, "send", "r01", 1, "r02", 3),
        span_id(2, "send", "r01", 1, "r02", 3),
        span_id(1, "relay", "r01", 1, "r02", 3),
        span_id(1, "send", "r01", 11, "r02", 3),
        span_id(1, "send", "r011", 1, "r02", 3),
        span_id(1, "send", "r01", 1, "r02", 3, 0),
    }
    # Then all ids differ
    assert (len(traces), len(spans)) == (6, 6)


def test_ids_are_fixed() -> None:
    # Given that other processes, and other people, compute them too
    trace = exchange_trace_id("7b08e1", 7, "0000040001000007")
    # Then they must never change
    assert f"{trace:032x}" == "9e36b5bdcfbcbbf2b6370da17d332782"
    assert f"{span_id(trace, 'exchange'):016x}" == "bd1c7a2e367785c2"
