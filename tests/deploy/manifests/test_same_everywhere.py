"""What compose.yaml and deploy/k8s both say is the same: images, Redis' users and settings, Grafana's folders."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.deploy.manifests.kustomization import containers_of
from tests.support.checkout import ROOT

K8S = ROOT / "deploy/k8s"
COMPOSE = ROOT / "deploy/compose/redis"
SERVICES: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text())["services"]


def lines(*files: Path) -> set[str]:
    """Without comments, and with secrets named as on Kubernetes."""
    text = "\n".join(file.read_text() for file in files).replace("_password@", "-password@")
    return {line for line in text.splitlines() if line and not line.startswith("#")}


def test_images_are_the_same() -> None:
    # Given the images of all that runs on Kubernetes
    parts = ("base", "run", "records", "components/sentinel", "components/observability")
    tags = [yaml.safe_load((K8S / part / "kustomization.yaml").read_text()).get("images", []) for part in parts]
    images = {f"{image['name']}:{image['newTag']}" for listed in tags for image in listed}
    # Then they are those of the containers
    assert images == {service["image"] for service in SERVICES.values()}


def test_redis_has_the_same_users() -> None:
    users = lines(K8S / "base/redis/users.acl", K8S / "components/sentinel/redis/users-nodes.acl")

    assert users == lines(COMPOSE / "users.acl")


def test_redis_has_the_same_settings() -> None:
    own, other = lines(K8S / "base/redis/redis.conf"), lines(COMPOSE / "redis.conf")

    assert {line for line in own ^ other if not line.startswith("include ")} == set()


def test_a_sentinel_lets_clients_do_the_same() -> None:
    [own], [other] = (
        [line for line in lines(script) if line.startswith("user default ")]
        for script in (K8S / "components/sentinel/redis/start-sentinel.sh", COMPOSE / "sentinel.sh")
    )

    assert own == other


def test_the_health_check_is_in_the_image() -> None:
    assert "/usr/local/bin/robots-healthy" in (ROOT / "deploy/Dockerfile").read_text()


@pytest.mark.parametrize("service", ["prometheus", "grafana"])
def test_configuration_is_mounted_at_the_same_places(service: str) -> None:
    # Given where a container finds its files
    mounts = [mount.split(":")[1] for mount in SERVICES[service]["volumes"] if mount.startswith("./")]
    # Then a pod finds them there, too
    text = (K8S / f"components/observability/{service}.yaml").read_text()
    [deployment] = [one for one in yaml.safe_load_all(text) if one["kind"] == "Deployment"]
    places = [Path(mount["mountPath"]) for one in containers_of(deployment) for mount in one["volumeMounts"]]
    missing = [mount for mount in mounts if not any(_holds(place, Path(mount)) for place in places)]
    assert missing == []


def _holds(place: Path, mount: Path) -> bool:
    """A folder of one is a folder of the other, or a part of it."""
    return mount.is_relative_to(place) or place.is_relative_to(mount)
