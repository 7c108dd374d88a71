"""All checks of this host and its servers: made side by side, in bounded time; listed as people read them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Final, NamedTuple

from deploy.config.settings import LabSettings
from deploy.doctor.check import Check
from deploy.doctor.collector import check_collector
from deploy.doctor.deadline import within
from deploy.doctor.host_checks import (
    files_check,
    memory_check,
    program_check,
    python_check,
    runs_check,
    temporary_check,
    terminal_check,
)
from deploy.doctor.host_facts import (
    file_limits,
    memory_facts,
    program_facts,
    python_facts,
    runs_facts,
    temporary_facts,
    terminal_facts,
)
from deploy.doctor.server_checks import CHECKS
from deploy.doctor.servers import plane_checks, planes_of

LONGEST_S: Final = 10.0  # for everything together


class Job(NamedTuple):
    """Checks that are made together: their names, and the work."""

    names: Sequence[str]
    work: Callable[[], list[Check]]


def examine(settings: LabSettings, environment: Mapping[str, str], longest_s: float = LONGEST_S) -> list[Check]:
    """All checks, for a run of as many robots as the settings have."""
    return results_of(_jobs(settings, environment), longest_s)


def results_of(jobs: Sequence[Job], longest_s: float) -> list[Check]:
    """The checks of all jobs. Those of a job that did not end in time, or failed, are unknown."""
    done = within(longest_s, {str(number): job.work for number, job in enumerate(jobs)})
    checks: list[Check] = []
    for number, job in enumerate(jobs):
        result = done.get(str(number), TimeoutError(f"no answer within {longest_s:.0f} s"))
        if isinstance(result, Exception):
            checks += [Check(name, "unknown", f"{result}" or type(result).__name__) for name in job.names]
        else:
            checks += result
    return checks


def _jobs(settings: LabSettings, environment: Mapping[str, str]) -> list[Job]:
    robots, planes = settings.robots, planes_of(settings)
    is_private = not planes
    jobs = [_job("python", lambda: python_check(python_facts()))]
    if is_private:
        jobs.append(_job("server", lambda: program_check(program_facts())))
        jobs.append(_job("temporary", lambda: temporary_check(temporary_facts())))
    for plane in planes:
        names = [f"{plane.name} {name}".strip() for name in CHECKS]
        jobs.append(Job(names, partial(plane_checks, plane, robots)))
    jobs.append(_job("records", lambda: runs_check(runs_facts(settings.runs_dir))))
    jobs.append(_job("files", lambda: files_check(*file_limits(), robots, is_private)))
    jobs.append(_job("memory", lambda: memory_check(memory_facts(), robots)))
    jobs.append(_job("collector", lambda: check_collector(environment)))
    jobs.append(_job("terminal", lambda: terminal_check(terminal_facts())))
    return jobs


def _job(name: str, check: Callable[[], Check]) -> Job:
    return Job([name], lambda: [check()])
