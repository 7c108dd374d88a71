"""The record: one folder per run, from which the verdict is judged, and nothing else.

Here are the names and the formats, and how a record is written and found. What stands in a record:

    settings.json   run, version, mode (live, simulated), robots, copies, seed, exhibit (what was broken on purpose, or
                    null), preset, tick_us, quiet_period_us, for_us, limit_us, shards, plan (the lines' own text at the
                    start), instances (the number of each line's dice), ended (complete, limit, stopped, interrupted,
                    lost), again (the command that runs it again), anomalies (the thresholds that differ
                    from the defaults), seconds {born, total} since the command's start (of a
                    run without a parent: since the deal)
    deal.json       sha256 of the secret's bytes, bytes, parts (how many), salt (hex), indices: [{index, holders,
                    digest}] with digest = BLAKE2b-128 keyed with the salt over "<index>:<1 if last else 0>:<word>", hex
    plan.jsonl      every control entry, in the order of its outbox: {shard, id, control: "plan", faults: [{instance,
                    fault}], request_id, request, refusal} (fault = its own text, without times: `loss 0.2 r00..r02`;
                    request = what a person asked for by the request of that id, both empty when it was in the plan;
                    refusal = why that was not done, empty when it was) or {shard, id, control: "born", robot,
                    incarnation}
    fates.jsonl     what the relays decided: {row: "fate", shard, id, stored, sender, incarnation, receiver, sequence,
                    exchange, kind, fate, faults: [{instance, fault}], deliveries, body, wire} with fate "delivered"
                    (deliveries = microseconds of delay, one per copy, from the entry's id on), "corrupt" (likewise,
                    each copy damaged), "lost", "stale" (an older life) or "refused" (garbage: then sender … kind are
                    null); faults = those that changed something of it, in their order; stored = when the fate was
                    recorded; body and wire are sizes in bytes. What a partition keeps back has no fate before its
                    release. And {row: "redo", shard, stored, redo: [ids]} when a relay began to redo pending entries
    journals.jsonl  every journal entry: {robot, id: "<incarnation>-<n>", entry, …} with entry "header" {origin: dealt |
                    joined}, "part" {index, word, last, cause: [sender, incarnation, sequence, copy] | null}, "born"
                    {nonce}, "complete" {at_us}, "quiet" {ticks, exchange, at_us}; a lost journal: {robot, entry:
                    "lost"}
    register.json   {exists, writes: [{id, robot, incarnation, nonce, text}], births: {robot: [{id, entry: "born" |
                    "attempt", nonce, at_us}]}}: writes = every entry that the register accepted after the dealer's, in
                    order; at_us is null where the entry has no time
    streams.json    {outboxes: {shard: {added, last}}, inboxes: {robot: {added, left}}, contradictions: {robot: n},
                    orders: [{id, order, reason}]}: added = entries-added, the server's own counter; contradictions =
                    copies that the lab put there itself; reason: why to stop, which worker is to crash, or who
                    joined (of that a lost reply may have left a second order)
    fleet.jsonl     what happened to the fleet's processes, in one order. {id, row: "injection", verb, target, victim}:
                    a process fault that is about to be injected (`kill`, `robot`; victim = r03, rq:r03, relay:1,
                    supervisor, redis or r03/secret_merger). {id, row: "death", victim, robot, incarnation, how,
                    status}: the robot that the victim ran ("": none), its last life that was claimed in its journal (0:
                    none), how = "exit", "signal", "silent" (its loop did not beat: killed) or "lease" (it was not
                    renewed). {id, row: "acknowledgement", request_id, request, refusal}: a person's request that
                    concerned process faults alone (refusal as in plan.jsonl); an acknowledgement excuses nothing
    events.jsonl    telemetry.events.Stamped, one a line
    manifest.json   {file: SHA-256 in hex} of every evidence file (those above, and secret.txt if there is one), written
                    last: what was changed afterwards is no evidence any more. It guards against accidents, not
                    against a person who seals it anew
    verdict.json    the result, as `--json` prints it
    counters.json   {events: {name: count}, failed_handlers: {handler: count}}, of a live run
    live.json       {url, pid}, readable by its owner alone, and only while the run goes on
    logs/           what the fleet's processes printed
    secret.txt      the accepted write, byte for byte (of several, the one that nothing can follow, or else the first);
                    absent when nothing was written

Ids are `<milliseconds>-<n>` of the server's clock, except in journals and births.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

Row = Mapping[str, Any]

EVIDENCE = (
    *("settings.json", "deal.json", "plan.jsonl", "fates.jsonl", "journals.jsonl", "register.json", "streams.json"),
    *("fleet.jsonl", "events.jsonl", "secret.txt"),
)
"""The files that a manifest names, where they are there."""


class NoSuchRun(Exception):
    """No record has that name or prefix, or more than one has."""


class Record:
    """One run's folder, for writing. `place` is where it will stand in the end, if that is elsewhere."""

    def __init__(self, folder: Path, place: Path | None = None) -> None:
        self.folder = folder
        self.place = place or folder

    @classmethod
    def create(cls, runs: Path, run: str) -> Record:
        """Make `runs/<run>` and point `runs/latest` at it. Raises FileExistsError if the run is there already."""
        folder = runs / run
        folder.mkdir(parents=True)
        _point_latest(runs, run)
        return cls(folder)

    @classmethod
    @contextmanager
    def draft(cls, runs: Path, run: str) -> Iterator[Record]:
        """A record that cannot be found before it is complete: at the end of the block it is moved into its place, and
        is then like one made by `create`. An error in the block leaves nothing; a process that is killed leaves a
        hidden folder, which does no harm. Raises FileExistsError when there is such a run by then."""
        record = cls(runs / f".{run}-{secrets.token_hex(4)}", runs / run)
        record.folder.mkdir(parents=True)
        try:
            yield record
            record._settle()
        except BaseException:
            shutil.rmtree(record.folder, ignore_errors=True)
            raise
        _point_latest(runs, run)

    def _settle(self) -> None:
        try:
            self.folder.rename(self.place)
        except OSError:
            if not self.place.exists():
                raise
            raise FileExistsError(f"{self.place} exists") from None

    def write(self, name: str, value: Any) -> None:
        """Put `value` into `<name>.json`, whole or not at all."""
        self._replace(f"{name}.json", (json.dumps(value, ensure_ascii=False, indent=1) + "\n").encode())

    def write_rows(self, name: str, rows: Iterable[Row]) -> None:
        """Put `rows` into `<name>.jsonl`, one a line."""
        with (self.folder / f"{name}.jsonl").open("w", encoding="utf-8") as file:
            for row in rows:
                file.write(json.dumps(row, ensure_ascii=False, separators=(",", ":")))
                file.write("\n")

    def write_bytes(self, name: str, content: bytes) -> None:
        """Put `content` into the file `name`, whole or not at all."""
        self._replace(name, content)

    def seal(self) -> None:
        """Put the manifest of the evidence as it stands now. To be called when all of it is there."""
        files = [self.folder / name for name in EVIDENCE]
        self.write("manifest", {file.name: _sha256(file) for file in files if file.is_file()})

    def _replace(self, name: str, content: bytes) -> None:
        draft = self.folder / f".{name}.draft"
        draft.write_bytes(content)
        draft.replace(self.folder / name)


def _point_latest(runs: Path, run: str) -> None:
    latest, pointer = runs / "latest", runs / f".latest-{run}"
    pointer.symlink_to(run)
    if latest.is_symlink() or not latest.exists():
        pointer.replace(latest)
    else:
        pointer.unlink()  # a file of the user's stands there: leave it


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def new_run_id(runs: Path) -> str:
    """Six hex digits that are not the name of a folder in `runs` yet."""
    while True:
        run = secrets.token_hex(3)
        if not (runs / run).exists():
            return run


def find_run(runs: Path, name: str) -> Path:
    """The folder that `name` means: a run's id, its unique prefix, a folder (with a `/` in it), or `latest`.

    What is in the folder is not checked. Raises NoSuchRun.
    """
    if os.sep in name:
        if not Path(name).is_dir():
            raise NoSuchRun(f"there is no folder {name}")
        return Path(name).resolve()
    if name and (runs / name).is_dir():
        return (runs / name).resolve()
    if name == "latest":
        raise NoSuchRun(f"no run is recorded in {runs}/ yet")
    recorded = sorted(runs.iterdir()) if runs.is_dir() else []
    found = [path for path in recorded if path.name.startswith(name) and path.is_dir() and not path.is_symlink()]
    if len(found) == 1:
        return found[0].resolve()
    if found:
        raise NoSuchRun(f"{name!r} means {len(found)} runs: {', '.join(path.name for path in found)}")
    raise NoSuchRun(f"no run {name!r} is recorded in {runs}/; a folder elsewhere is named with a / in it")
