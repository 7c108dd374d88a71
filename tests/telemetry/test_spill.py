"""Files of events: written by a process whose memory is full, read by itself or, after its death, by the parent."""

import asyncio
import os
import resource
import signal
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from deploy.instrumentation import publish_until
from telemetry.events import RobotStarted, Stamped
from telemetry.stream.feed import EventFeed
from telemetry.stream.publisher import Publisher, encode_events
from telemetry.stream.spill import LONGEST, FileSpill, SpilledBatches, collecting, frames_in, spill_for

RUN = "abc123"


class Janitor:
    """A janitor that keeps the folders it gets."""

    def __init__(self) -> None:
        self.folders: list[Path] = []

    def folder(self, path: Path) -> None:
        self.folders.append(path)


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The temporary folder."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


@pytest.fixture
def left(temporary: Path) -> Iterator[SpilledBatches]:
    """What the run's processes have left; its parent collects it."""
    with collecting(RUN, Janitor()) as left:
        yield left


@pytest.fixture
def folder(temporary: Path, left: SpilledBatches) -> Path:
    """Where they leave it."""
    return only_file(temporary)


def read_file(path: Path) -> list[bytes]:
    with path.open("rb") as file:
        return list(frames_in(file.fileno()))


def only_file(folder: Path) -> Path:
    [path] = folder.iterdir()
    return path


def test_no_file_is_made_before_it_is_needed_and_none_is_left_when_it_is_empty(folder: Path) -> None:
    # Given a spill that was not needed yet
    spill = spill_for(RUN, "r00")
    assert list(spill.frames()) == []
    assert list(folder.iterdir()) == []
    # When frames are put there
    assert spill.put(b"one")
    assert spill.put(b"two")
    # Then they are in a file that is its owner's alone,
    path = only_file(folder)
    assert path.stat().st_mode & 0o777 == 0o600
    assert read_file(path) == [b"one", b"two"]
    # which is gone when they were taken out
    assert list(spill.frames()) == [b"one", b"two"]
    assert list(folder.iterdir()) == []
    # and comes again when it is needed again
    assert spill.put(b"three")
    assert list(spill.frames()) == [b"three"]


def test_a_frame_is_kept_until_the_next_one_is_requested(folder: Path) -> None:
    # Given two frames, of which the first was stored and the second was not
    spill = spill_for(RUN, "r00")
    spill.put(b"one")
    spill.put(b"two")
    frames = spill.frames()
    assert [next(frames), next(frames)] == [b"one", b"two"]
    frames.close()
    # When more comes
    spill.put(b"three")
    # Then the second is the first now
    assert list(spill.frames()) == [b"two", b"three"]


def test_two_processes_of_the_same_name_share_no_file(folder: Path) -> None:
    spills = [spill_for(RUN, "relay:0"), spill_for(RUN, "relay:0")]
    for number, spill in enumerate(spills):
        spill.put(b"%d" % number)

    assert len(list(folder.iterdir())) == 2
    assert [list(spill.frames()) for spill in spills] == [[b"0"], [b"1"]]


def test_a_spill_takes_so_many_bytes_and_no_frame_that_no_server_would(temporary: Path) -> None:
    # Given room for two frames of six bytes, with their lengths
    spill = FileSpill(tempfile.mkstemp, limit=20)
    # When / Then
    assert [spill.put(b"abcdef") for _ in range(3)] == [True, True, False]
    assert list(spill.frames()) == [b"abcdef", b"abcdef"]
    assert spill.put(b"abcdef")
    assert not FileSpill(tempfile.mkstemp).put(bytes(LONGEST + 1))


def test_where_no_file_can_be_made_nothing_is_kept(temporary: Path) -> None:
    spill = FileSpill(partial(tempfile.mkstemp, dir=temporary / "nowhere"))

    assert not spill.put(b"one")
    assert list(spill.frames()) == []


def test_a_disk_that_is_full_costs_the_last_frame_alone(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Given a file with a frame in it, and a disk with room for five bytes more
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        spill = spill_for(RUN, "r00")
        spill.put(b"one")
        resource.setrlimit(resource.RLIMIT_FSIZE, (7 + 5, hard))
        # When another frame would need more
        assert not spill.put(b"too long")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, before)
    # Then nothing of it is left, and the next one has its place
    assert only_file(folder).stat().st_size == 7
    assert spill.put(b"two")
    assert list(spill.frames()) == [b"one", b"two"]


DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "torn in a frame": lambda content: content[:-1],
    "torn in a length": lambda content: content + b"\0\0",
    "a frame of an impossible length": lambda content: content + b"\xff" * 9,
    "a hole": lambda content: content + bytes(1 << 20),
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_file_is_read_as_far_as_it_is_whole(
    folder: Path, left: SpilledBatches, damage: Callable[[bytes], bytes]
) -> None:
    # Given a file that its process was killed over, or that another process wrote to
    spill = spill_for(RUN, "r00")
    spill.put(b"one")
    spill.put(b"two")
    path = only_file(folder)
    path.write_bytes(damage(path.read_bytes()))
    # When / Then what is whole is read
    assert list(left()) in ([b"one"], [b"one", b"two"])


def test_a_process_whose_file_was_damaged_begins_a_new_one(folder: Path) -> None:
    spill = spill_for(RUN, "r00")
    spill.put(b"one")
    only_file(folder).write_bytes(b"?")

    assert list(spill.frames()) == []
    assert spill.put(b"two")
    assert list(spill.frames()) == [b"two"]
    assert list(folder.iterdir()) == []


def batch(source: str, incarnation: int, *numbers: int) -> bytes:
    return encode_events([Stamped(RUN, source, incarnation, n, 0, 0, RobotStarted()) for n in numbers])


def received(feed: EventFeed, left: SpilledBatches) -> list[tuple[str, int, int]]:
    return [(event.source, event.incarnation, event.number) for event in feed.receive(left())]


def test_what_dead_processes_left_is_read_once_and_in_order(folder: Path, left: SpilledBatches) -> None:
    # Given a robot that died when some of what it had spilled was stored, its next life that did too, and garbage
    feed = EventFeed()
    assert len(list(feed.receive([batch("r00", 1, 1, 2), batch("r00", 1, 3)]))) == 3
    for number, frames in enumerate(
        [[batch("r00", 1, 2, 3), b"garbage", batch("r00", 1, 4, 5)], [batch("r00", 2, 1, 2), batch("r00", 2, 4)]]
    ):
        spill = spill_for(RUN, "r00")
        for frame in frames:
            spill.put(frame)
        newest = max(folder.iterdir(), key=lambda path: path.stat().st_mtime_ns)
        os.utime(newest, (number, number))
    # When all is read that was left
    events = received(feed, left)
    # Then each event is there once, and the one that is nowhere is missed
    assert events == [("r00", 1, 4), ("r00", 1, 5), ("r00", 2, 1), ("r00", 2, 2), ("r00", 2, 4)]
    assert feed.missed == 1


class Away:
    """A stream of events on a server that is away; `tried` is set at the first append."""

    def __init__(self, tried: asyncio.Event) -> None:
        self._tried = tried

    async def append(self, frame: bytes) -> bool:
        self._tried.set()
        return False


def test_the_last_events_of_a_robot_that_ends_while_the_server_is_away_are_read(left: SpilledBatches) -> None:
    # Given a robot's process that has events to publish, and a server that is away
    publisher = Publisher(spill_for(RUN, "r00"))
    for number in (1, 2):
        publisher.handle(Stamped(RUN, "r00", 1, number, 0, 0, RobotStarted()), lambda _stamped: None)

    async def end_after_a_try() -> None:
        over = asyncio.Event()
        await publish_until(publisher, Away(over), over)

    # When it ends
    asyncio.run(end_after_a_try())
    # Then the events that it could not publish are found
    assert received(EventFeed(), left) == [("r00", 1, 1), ("r00", 1, 2)]


def test_only_whole_files_are_read(folder: Path, left: SpilledBatches) -> None:
    # Given things that are no files of that kind
    (folder.parent / "precious").write_bytes(b"\0\0\0\3one")
    (folder / "r00.1").symlink_to(folder.parent / "precious")
    (folder / "r00.2").mkdir()
    os.mkfifo(folder / "r00.3")
    # When / Then
    assert list(left()) == []


def test_what_is_collected_is_gone_afterwards_and_the_janitor_knows_of_it(temporary: Path) -> None:
    # Given a parent that collects
    janitor = Janitor()
    with collecting(RUN, janitor):
        # When a process has spilled
        spill_for(RUN, "r00").put(b"one")
        # Then the janitor knows where,
        [folder] = janitor.folders
        assert only_file(temporary) == folder
        assert folder.stat().st_mode & 0o777 == 0o700
        assert only_file(folder).read_bytes()
    # and nothing is left in the end
    assert list(temporary.iterdir()) == []


def others(temporary: Path) -> None:
    (temporary / f"robots.{RUN}").mkdir(mode=0o777)
    (temporary / f"robots.{RUN}").chmod(0o777)


def elsewhere(temporary: Path) -> None:
    (temporary / "elsewhere").mkdir(mode=0o700)
    (temporary / f"robots.{RUN}").symlink_to(temporary / "elsewhere")


@pytest.mark.parametrize("there", [lambda _: None, others, elsewhere])
def test_where_no_parent_collects_a_spill_works_and_leaves_nothing(
    temporary: Path, there: Callable[[Path], None]
) -> None:
    # Given a run without a parent here, and in the place of its folder nothing, or what another user has put there
    there(temporary)
    before = sorted(temporary.rglob("*"))
    # When a process spills
    spill = spill_for(RUN, "r00")
    assert spill.put(b"one")
    assert spill.put(b"two")
    # Then no file is visible, whenever it dies,
    assert sorted(temporary.rglob("*")) == before
    # and it has what it spilled
    assert list(spill.frames()) == [b"one", b"two"]


def test_nothing_is_spilled_into_another_users_folder(
    temporary: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)

    assert spill_for(RUN, "r00").put(b"one")
    assert list(folder.iterdir()) == []


def test_a_parent_that_finds_its_place_taken_collects_nothing_and_removes_nothing(temporary: Path) -> None:
    # Given something in the place of the folder
    others(temporary)
    janitor = Janitor()
    # When / Then
    with collecting(RUN, janitor) as left:
        assert list(left()) == []
    assert janitor.folders == []
    assert only_file(temporary).is_dir()


def test_a_name_from_the_network_leads_nowhere_else(temporary: Path) -> None:
    # Given a robot, and a run, whose names mean something in a path
    (temporary / "inner").mkdir()
    tempfile.tempdir = str(temporary / "inner")
    with collecting("../..", Janitor()) as left:
        # When a process spills under them
        spill_for("../..", "../../r00").put(b"one")
        # Then its file lies where it belongs
        assert only_file(only_file(temporary / "inner")).name.startswith("------r00.")
        assert list(left()) == [b"one"]
    assert list(temporary.rglob("*")) == [temporary / "inner"]
