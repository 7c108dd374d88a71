"""A name that is no setting is named with the nearest one that is."""

from __future__ import annotations

import pytest

from deploy.config.settings import setting_names
from deploy.config.unknown import unknown_keys, unknown_variables

KNOWN = setting_names()


@pytest.mark.parametrize(
    ("variable", "line"),
    [
        ("ROBOTS_ROBOT", "ROBOTS_ROBOT is no setting; do you mean ROBOTS_ROBOTS?"),
        ("ROBOTS_REDISURL", "ROBOTS_REDISURL is no setting; do you mean ROBOTS_REDIS_URL?"),
        ("ROBOTS_los", "ROBOTS_los is no setting; do you mean ROBOTS_LOSS?"),
        ("ROBOTS_ZZZ", "ROBOTS_ZZZ is no setting; `robots config` lists all"),
    ],
)
def test_an_unknown_variable_is_named_with_the_nearest_one(variable: str, line: str) -> None:
    assert list(unknown_variables({"ROBOTS_LOSS": ".1", variable: "x", "PATH": "/bin"}, KNOWN)) == [line]


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        *((f"ROBOTS_{name.upper()}", "x") for name in sorted(KNOWN)),
        ("ROBOTS_for", "3s"),
        ("ROBOTS_ROBOT", ""),
        ("MY_ROBOTS_ROBOT", "x"),
        ("robots_dir", "x"),
        # What Kubernetes sets for the services `robots` and `robots-redis`
        ("ROBOTS_SERVICE_HOST", "10.0.0.3"),
        ("ROBOTS_SERVICE_PORT_METRICS", "9464"),
        ("ROBOTS_PORT", "tcp://10.0.0.3:9464"),
        ("ROBOTS_PORT_9464_TCP", "tcp://10.0.0.3:9464"),
        ("ROBOTS_REDIS_SERVICE_PORT", "6379"),
        ("ROBOTS_REDIS_PORT", "tcp://10.0.0.2:6379"),
        ("ROBOTS_REDIS_PORT_6379_TCP_ADDR", "10.0.0.2"),
    ],
)
def test_a_variable_that_is_known_or_not_ours_is_passed_over(variable: str, value: str) -> None:
    assert list(unknown_variables({variable: value}, KNOWN)) == []


def test_a_port_that_a_person_set_is_no_variable_of_kubernetes() -> None:
    assert len(list(unknown_variables({"ROBOTS_PORT": "9464"}, KNOWN))) == 1


@pytest.mark.parametrize(
    ("keys", "complaint"),
    [
        (["loss", "quiet-period"], ""),
        (["los"], "'los' is no setting; do you mean loss?"),
        (["quiet-periode"], "'quiet-periode' is no setting; do you mean quiet_period?"),
        (["los", "loss", "limits"], "'los', 'limits' are no settings; do you mean loss, limit?"),
        (["network"], "'network' is no setting; `robots config` lists all"),
    ],
)
def test_an_unknown_key_of_a_file_is_named_with_the_nearest_one(keys: list[str], complaint: str) -> None:
    assert unknown_keys(keys, KNOWN) == complaint
