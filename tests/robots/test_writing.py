"""When a robot writes the secret: complete, quiet for its period, and once."""

import asyncio

from broker.memory.server import MemoryRegister
from robots.journal import Quieted
from robots.messages import Answer, Summary, Update
from telemetry.events import EvidenceLost, PartsMerged, RobotQuiet, SecretRefused, SecretWritten
from tests.robots.robot_bench import PARTS, SECRET, Bench, be_an_equal_peer, born, missing, on_the_bench


def test_a_complete_and_quiet_robot_writes_once_and_has_journalled_why() -> None:
    async def scenario(bench: Bench) -> None:
        await bench.begin("r00")
        peer = asyncio.ensure_future(be_an_equal_peer(bench))
        bench.put("r00", "r01", Update(missing(bench)))
        await bench.eventually(lambda: bench.happened(SecretWritten))
        await asyncio.sleep(5)
        peer.cancel()

        assert bench.server.register is not None
        assert [row.secret.decode() for row in bench.server.register] == [SECRET]
        (quiet,) = [entry for _, entry in bench.journal("r00") if isinstance(entry, Quieted)]
        assert quiet.ticks >= bench.terms.quiet_ticks == 5
        assert len(quiet.exchange) == 16, "the exchange that answered equal"
        assert len(bench.happened(SecretWritten)) == 1

    on_the_bench(scenario)


def test_an_incomplete_robot_never_writes_however_quiet_it_is() -> None:
    async def scenario(bench: Bench) -> None:
        await bench.begin("r00")
        bench.put("r00", "r01", Update(missing(bench)[:-1]))
        await bench.eventually(lambda: bench.happened(RobotQuiet))
        await asyncio.sleep(60)

        assert bench.server.register == []
        assert not bench.happened(SecretWritten)

    on_the_bench(scenario)


def test_a_complete_robot_does_not_write_before_its_quiet_period() -> None:
    async def scenario(bench: Bench) -> None:
        await bench.begin("r00")
        peer = asyncio.ensure_future(be_an_equal_peer(bench))
        bench.put("r00", "r01", Update(missing(bench)))
        await bench.eventually(lambda: bench.happened(PartsMerged))
        complete_us = bench.clock.monotonic_us()
        await bench.eventually(lambda: bench.happened(SecretWritten))
        peer.cancel()

        assert bench.clock.monotonic_us() - complete_us >= 0.8 * 20 * 100_000, "20 ticks, each at least 80 ms"

    on_the_bench(scenario, quiet_us=2_000_000)


def test_refused_and_repeated_parts_do_not_disturb_the_quiet() -> None:
    async def scenario(bench: Bench) -> None:
        await bench.begin("r00")
        peer = asyncio.ensure_future(be_an_equal_peer(bench))
        bench.put("r00", "r01", Update(missing(bench)))
        await bench.eventually(lambda: bench.happened(PartsMerged))
        begun_us = bench.clock.monotonic_us()

        # When known parts come again and again, all through the quiet period
        while not bench.happened(SecretWritten):
            bench.put("r00", "r01", Update(tuple(PARTS)))
            await asyncio.sleep(0.05)
            assert bench.clock.monotonic_us() - begun_us < 3_000_000
        peer.cancel()

    on_the_bench(scenario)


def test_while_a_peer_is_believed_alive_silence_alone_is_not_quiet() -> None:
    async def scenario(bench: Bench) -> None:
        # Given a complete robot and a peer that answers, but never "equal"
        await bench.begin("r00")
        bench.put("r00", "r01", Update(missing(bench)))
        for _ in range(1000):
            for envelope, message in bench.sent():
                if isinstance(message, Summary):
                    bench.put("r00", envelope.receiver, Answer(attempt=message.attempt), exchange=envelope.exchange)
            await asyncio.sleep(0.01)

        assert not bench.happened(RobotQuiet)

        # When the peer falls silent for good, the robot is alone, and its own knowledge is enough
        await bench.eventually(lambda: bench.happened(SecretWritten), within_s=30)

    on_the_bench(scenario)


def test_the_first_refusal_is_final() -> None:
    async def scenario(bench: Bench) -> None:
        # Given a register that another robot has written
        other = bench.server.births["r01"]
        bench.give_birth("r01")
        await bench.eventually(lambda: other)
        register = MemoryRegister(bench.server, "r01", other[0].nonce)
        await register.announce_birth(1)
        assert await register.write(SECRET.encode()) == "memory"

        # When r00 is complete and quiet too
        bench.give_birth("r00")
        bench.run_control.order("go")
        await bench.eventually(born(bench, 2))
        bench.put("r00", "r01", Update(missing(bench)))
        await bench.eventually(lambda: bench.happened(SecretRefused), within_s=60)
        await asyncio.sleep(10)

        # Then it tried once, and the attempt stands in its birth stream
        assert [row.what for row in bench.server.births["r00"]].count("attempt") == 1
        assert not bench.happened(SecretWritten)

    on_the_bench(scenario)


def test_a_register_that_vanished_is_never_written_a_second_time() -> None:
    async def scenario(bench: Bench) -> None:
        bench.server.register = None
        await bench.begin("r00")
        bench.put("r00", "r01", Update(missing(bench)))
        await bench.eventually(lambda: bench.happened(EvidenceLost), within_s=60)

        assert bench.server.register is None
        assert bench.happened(EvidenceLost) == [EvidenceLost("register")]

    on_the_bench(scenario)
