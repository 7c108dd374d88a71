"""How fast the relay is, as ratios of what was measured side by side in one run.

Run it by hand: `python tests/benchmarks/benchmark_relay.py`.

Not collected by pytest: a busy machine must not fail a test. Every figure is the median of alternating rounds over the
same envelopes, on a private server.

    bare      XREADGROUP → XADD to the inboxes + XACK, by the relay's own sender, and nothing else
    ordinary  the same by redis-py's own pipeline
    relay     the relay as it runs: loss, duplicates and delay decided, fates recorded, trace contexts carried,
              leases renewed; copies go out at once, as at the end of a run
    two       two relays in two processes, on two shards with half of the envelopes each
    latency   from the XADD into an outbox to the XREAD from the inbox, without faults, at a steady rate
"""

from __future__ import annotations

import argparse
import json
import os
import secrets
import signal
import statistics
import struct
import time
from collections.abc import Callable, Sequence
from functools import partial
from itertools import count
from typing import Any

from broker.control_entries import PlanChange, Planned
from broker.envelope import Envelope, decode, encode
from broker.parent_death import die_with_parent
from broker.ports.run import RunSpec
from broker.relay.core import BATCH, Relay
from broker.streams import keys
from broker.streams.connection import connect
from broker.streams.embedded import EmbeddedServer
from broker.streams.keys import Keys
from broker.streams.relay.driver import RelayDriver
from broker.streams.relay.wire import GROUP, BulkLine, pack
from broker.streams.run.control import StreamRunControl

ROBOTS = tuple(f"r{number:02d}" for number in range(25))
FAULTS = ("loss 0.1", "duplicate 0.1", "delay 5ms..20ms")
BODY = 100  # bytes
SEED = 7
_runs = count()
_stamp = struct.Struct(">q")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--envelopes", type=int, default=30_000, help="in each round [default: 30000]")
    parser.add_argument("--rounds", type=int, default=5, help="of which the median counts [default: 5]")
    parser.add_argument("--rate", type=int, default=1000, help="envelopes a second, for latency [default: 1000]")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args()
    with EmbeddedServer() as server:
        figures = measure(server.url, options.envelopes, options.rounds) | latency(server.url, options.rate)
    print(json.dumps(figures) if options.json else "\n".join(f"{name:24} {value}" for name, value in figures.items()))


def measure(url: str, envelopes: int, rounds: int) -> dict[str, float]:
    """Envelopes a second of each kind, and what they are of each other."""
    kinds: dict[str, Callable[[str, int], float]] = {
        "bare": lambda url, size: _timed(url, size, 1, _bare),
        "ordinary": lambda url, size: _timed(url, size, 1, _ordinary),
        "relay": lambda url, size: _timed(url, size, 1, _relay),
        "two": lambda url, size: _timed(url, size, 2, _relay),
    }
    rates: dict[str, list[float]] = {kind: [] for kind in kinds}
    for kind in kinds:
        kinds[kind](url, 2 * BATCH)  # once, to have everything warm
    for _ in range(rounds):
        for kind, run in kinds.items():
            rates[kind].append(envelopes / run(url, envelopes))
    medians = {kind: statistics.median(values) for kind, values in rates.items()}
    figures: dict[str, float] = {f"{kind}_per_s": round(rate) for kind, rate in medians.items()}
    figures |= {
        f"{one}_of_{other}": round(statistics.median(a / b for a, b in zip(rates[one], rates[other], strict=True)), 2)
        for one, other in (("relay", "bare"), ("relay", "ordinary"), ("two", "relay"))
    }
    return figures


def _timed(url: str, envelopes: int, shards: int, work: Callable[[str, str, int], None]) -> float:
    """Seconds that `work` takes for so many envelopes on so many shards, a process for each."""
    run = f"b{next(_runs)}"
    with connect(url) as client:
        run_control = StreamRunControl(client, run)
        _deal(run_control, run, shards, FAULTS)
        for shard in range(shards):
            _fill(url, run, shard, envelopes // shards)
        gates = [os.pipe() for _ in range(shards)]
        pids = [_fork(lambda shard=shard: work(url, run, shard), gates[shard][0]) for shard in range(shards)]
        began = time.monotonic()
        for _, gate in gates:
            os.write(gate, b"!")
        statuses = [os.waitpid(pid, 0)[1] for pid in pids]
        seconds = time.monotonic() - began
        for descriptor in (end for gate in gates for end in gate):
            os.close(descriptor)
        assert not any(statuses), "a process failed"
        for shard in range(shards):
            assert client.xpending(Keys(run).outbox(shard), GROUP)["pending"] == 0
        run_control.forget()
    return seconds


def _fork(body: Callable[[], None], gate: int) -> int:
    """A process that begins when the gate opens; its pid."""
    parent = os.getpid()
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            die_with_parent(parent)
            os.read(gate, 1)
            body()
            status = 0
        finally:
            os._exit(status)
    return pid


def _deal(run_control: StreamRunControl, run: str, shards: int, faults: Sequence[str]) -> None:
    plan = PlanChange(tuple(Planned(number, text) for number, text in enumerate(faults)))
    run_control.deal(RunSpec(run, shards, plan, {robot: [b"header"] for robot in ROBOTS}, b""))


def _fill(url: str, run: str, shard: int, envelopes: int) -> None:
    outbox = Keys(run).outbox(shard)
    with connect(url) as client, BulkLine(client) as line:
        for first in range(0, envelopes, 1000):
            frames = [_frame(run, number) for number in range(first, min(first + 1000, envelopes))]
            line.ask(*[("XADD", outbox, "*", keys.ENVELOPE, frame) for frame in frames])


def _frame(run: str, number: int, body: bytes = b"b" * BODY) -> bytes:
    sender, receiver = ROBOTS[number % len(ROBOTS)], ROBOTS[(number + 1) % len(ROBOTS)]
    return encode(Envelope(run, sender, 1, receiver, 1 + number // len(ROBOTS), b"exchange", "summary", body))


def _relay(url: str, run: str, shard: int) -> None:
    relay = RelayDriver(url, run, (shard,), partial(Relay, run, SEED), lambda _event: None, holder=secrets.token_hex(8))
    relay.run(lambda: True)


def _bare(url: str, run: str, shard: int) -> None:
    names = Keys(run)
    outbox, inboxes = names.outbox(shard), [names.inbox(robot) for robot in ROBOTS]
    opening = [pack(("XADD", inbox, "MAXLEN", "~", 100_000, "*", "copy", 0)).partition(b"\r\n")[2] for inbox in inboxes]
    reading = ("XREADGROUP", "GROUP", GROUP, "bare", "COUNT", BATCH, "STREAMS", outbox, ">")
    numbers = count()
    with connect(url) as client, BulkLine(client) as line:
        client.xgroup_create(outbox, GROUP, id="0")
        while reply := line.ask(reading)[0]:
            [entries] = reply.values()
            packed = []
            for _, fields in entries:
                start, frame, trace = opening[next(numbers) % len(opening)], fields[1], fields[-1]
                packed.append(
                    b"*12\r\n%b$1\r\ne\r\n$%d\r\n%b\r\n$1\r\nt\r\n$%d\r\n%b\r\n"
                    % (start, len(frame), frame, len(trace), trace)
                )
            packed.append(pack(("XACK", outbox, GROUP, *[entry for entry, _ in entries])))
            line.send(packed)
            line.receive(len(packed))


def _ordinary(url: str, run: str, shard: int) -> None:
    names = Keys(run)
    outbox, inboxes = names.outbox(shard), [names.inbox(robot) for robot in ROBOTS]
    numbers = count()
    with connect(url) as client:
        client.xgroup_create(outbox, GROUP, id="0")
        while reply := client.xreadgroup(GROUP, "ordinary", {outbox: ">"}, count=BATCH):
            [(_, entries)] = reply
            pipe = client.pipeline(transaction=False)
            for _, fields in entries:
                pipe.xadd(
                    inboxes[next(numbers) % len(inboxes)], {**fields, b"copy": 0}, maxlen=100_000, approximate=True
                )
            pipe.xack(outbox, GROUP, *[entry for entry, _ in entries])
            pipe.execute()


def latency(url: str, rate: int, seconds: float = 4.0) -> dict[str, float]:
    """Milliseconds that a relay adds at so many envelopes a second: median, 99th percentile."""
    run = f"b{next(_runs)}"
    with connect(url) as client:
        run_control = StreamRunControl(client, run)
        _deal(run_control, run, 1, ())
        done, gate = os.pipe()
        os.write(gate, b"!!")
        relay = _fork(lambda: _relay_on(url, run), done)
        sender = _fork(lambda: _send_steadily(url, run, rate, int(rate * seconds)), done)
        try:
            times = _receive_all(client, run, int(rate * seconds))
        finally:
            os.kill(relay, signal.SIGKILL)
            for pid in (relay, sender):
                os.waitpid(pid, 0)
            os.close(done)
            os.close(gate)
        run_control.forget()
    cuts = statistics.quantiles(times, n=100)
    return {"latency_p50_ms": round(cuts[49] / 1e6, 2), "latency_p99_ms": round(cuts[98] / 1e6, 2)}


def _relay_on(url: str, run: str) -> None:
    relay = RelayDriver(url, run, (0,), partial(Relay, run, SEED), lambda _event: None, holder=secrets.token_hex(8))
    relay.run(lambda: False)


def _send_steadily(url: str, run: str, rate: int, envelopes: int) -> None:
    outbox = Keys(run).outbox(0)
    with connect(url) as client, BulkLine(client) as line:
        began = time.monotonic() + 0.5
        for number in range(envelopes):
            time.sleep(max(0.0, began + number / rate - time.monotonic()))
            body = _stamp.pack(time.monotonic_ns())
            frame = encode(Envelope(run, "r00", 1, "r01", number + 1, b"exchange", "summary", body))
            line.ask(("XADD", outbox, "*", keys.ENVELOPE, frame))


def _receive_all(client: Any, run: str, envelopes: int) -> list[int]:
    """Nanoseconds on the way, of each."""
    inbox, cursor, times = Keys(run).inbox("r01"), b"0", []
    while len(times) < envelopes:
        reply = client.xread({inbox: cursor}, block=2000)
        now = time.monotonic_ns()
        assert reply, "nothing came for two seconds"
        for cursor, fields in reply[0][1]:  # noqa: B007  the last one is the next cursor
            envelope = decode(fields[keys.ENVELOPE])
            assert isinstance(envelope, Envelope)
            times.append(now - _stamp.unpack(envelope.body)[0])
    return times


if __name__ == "__main__":
    main()
