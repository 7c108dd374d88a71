"""The manifests of deploy/k8s: valid for Kubernetes, restricted as its own standard wants it, and true of this lab."""

from __future__ import annotations

import base64
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import kubernetes_validate
import pytest
import yaml

from deploy.config.settings import load_settings
from tests.deploy.manifests.commands import demand_command, unknown_variables
from tests.deploy.manifests.kustomization import (
    HASH,
    Resource,
    build,
    containers_of,
    name_of,
    pod_labels_of,
    pod_spec_of,
    real_build,
)
from tests.support.checkout import ROOT

K8S = ROOT / "deploy/k8s"
OVERLAYS = ("overlays/dev", "overlays/ha", "overlays/observability")
PARTS = (*OVERLAYS, "base", "run", "records")
WHOLE = {  # a lab, and what is applied to it later
    overlay: (overlay, "run", "records") for overlay in OVERLAYS
}
PASSWORDS = {
    "base/redis-password": "the-users-own-password",
    "components/sentinel/nodes-password": "the-nodes-own-password",
}
VERSIONS = ("1.31", "1.37")  # the oldest that has all that is used, and the newest whose schemas are there
LAB_IMAGE = "robots-lab"
FAILOVER_S = 30  # a server that is away so long ends no process of the lab


@pytest.fixture(scope="module")
def k8s(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The manifests, with passwords as a user makes them."""
    deploy = tmp_path_factory.mktemp("checkout") / "deploy"
    for name in ("k8s", "prometheus", "grafana"):
        shutil.copytree(ROOT / "deploy" / name, deploy / name, ignore=shutil.ignore_patterns("*-password"))
    for name, password in PASSWORDS.items():
        (deploy / "k8s" / name).write_text(f"{password}\n")
    return deploy / "k8s"


def pods(resources: list[Resource]) -> Iterator[tuple[Resource, dict[str, Any]]]:
    for resource in resources:
        spec = pod_spec_of(resource)
        if spec is not None:
            yield resource, spec


def all_containers(k8s: Path) -> Iterator[tuple[str, Resource, dict[str, Any]]]:
    for part in PARTS:
        for resource in build(k8s / part):
            for container in containers_of(resource):
                yield f"{part}: {name_of(resource)} {container['name']}", resource, container


def matches(selector: dict[str, Any], labels: dict[str, str]) -> bool:
    assert selector.keys() <= {"matchLabels"}, "this test reads matchLabels alone"
    return selector.get("matchLabels", {}).items() <= labels.items()


# Valid


@pytest.mark.parametrize("version", VERSIONS)
def test_every_resource_is_valid_for_kubernetes(k8s: Path, version: str) -> None:
    # Given every resource, by the real kustomize where there is one
    resources = [one for part in PARTS for one in real_build(k8s / part) or build(k8s / part)]
    # Then its schema allows each of its fields
    for resource in {yaml.safe_dump(one): one for one in resources}.values():
        kubernetes_validate.validate(resource, version, strict=True)


@pytest.mark.parametrize("part", PARTS)
def test_the_real_kustomize_builds_what_these_tests_read(k8s: Path, part: str) -> None:
    # Given what kustomize itself makes of it
    real = real_build(k8s / part)
    if real is None:
        pytest.skip("neither `kubectl` nor `kustomize` is on PATH: the tests' own reading is not compared")
    # Then the tests' own reading differs in the hashes of generated names alone
    text = re.sub(rf"\b([a-z-]+)-{HASH}\b", r"\1", yaml.safe_dump(real))
    assert {name_of(one): one for one in yaml.safe_load(text)} == {name_of(one): one for one in build(k8s / part)}


def test_a_lab_without_a_password_is_not_built(k8s: Path, tmp_path: Path) -> None:
    # Given a checkout in which no password was made
    shutil.copytree(K8S, tmp_path / "k8s", ignore=shutil.ignore_patterns("*-password"))
    # Then its build names the missing file
    with pytest.raises(FileNotFoundError, match="redis-password"):
        build(tmp_path / "k8s/base")


# Secrets


@pytest.mark.parametrize("part", PARTS)
def test_a_password_stands_in_its_secret_and_nowhere_else(k8s: Path, part: str) -> None:
    hidden = [base64.b64encode(f"{password}\n".encode()).decode() for password in PASSWORDS.values()]
    for resource in build(k8s / part):
        text = yaml.safe_dump(resource)
        assert [password for password in PASSWORDS.values() if password in text] == [], name_of(resource)
        assert (resource["kind"] == "Secret") == any(word in text for word in hidden), name_of(resource)


def test_no_file_of_the_repository_holds_a_secret_and_git_ignores_what_does() -> None:
    kept = [
        path for path in K8S.rglob("*.yaml") if re.search(r"^kind: Secret|stringData", path.read_text(), re.MULTILINE)
    ]

    assert kept == []
    assert "deploy/k8s/**/*-password" in (ROOT / ".gitignore").read_text().splitlines()


# Pods


def test_pods_are_restricted(k8s: Path) -> None:
    for part in PARTS:
        for resource, spec in pods(build(k8s / part)):
            where, context = name_of(resource), spec["securityContext"]
            assert context["runAsNonRoot"] is True, where
            assert context["runAsUser"] >= 400, where
            assert context["seccompProfile"] == {"type": "RuntimeDefault"}, where
            assert spec["automountServiceAccountToken"] is False, where
            assert spec["enableServiceLinks"] is False, where  # else Services become variables of the lab
            assert spec["terminationGracePeriodSeconds"] >= 1, where
            assert spec.keys().isdisjoint({"hostNetwork", "hostPID", "hostIPC"}), where
            assert not any("hostPath" in volume for volume in spec["volumes"]), where


def test_containers_are_restricted_and_bounded(k8s: Path) -> None:
    for where, _, container in all_containers(k8s):
        context, resources = container["securityContext"], container["resources"]
        assert context["allowPrivilegeEscalation"] is False, where
        assert context["readOnlyRootFilesystem"] is True, where
        assert context["capabilities"] == {"drop": ["ALL"]}, where
        assert resources["requests"].keys() == {"cpu", "memory"}, where
        assert "memory" in resources["limits"], where
        assert "cpu" not in resources["limits"], where  # a throttled robot looks like a slow one


def test_every_service_is_asked_whether_it_lives_and_a_failover_ends_no_process_of_the_lab(k8s: Path) -> None:
    for where, resource, container in all_containers(k8s):
        if resource["kind"] in ("Job", "Pod"):  # they end by themselves, by their deadline at the latest
            deadline = resource["spec"].get("activeDeadlineSeconds")
            assert deadline is not None, where
            continue
        probe = container["livenessProbe"]
        assert probe["timeoutSeconds"] < probe["periodSeconds"], where
        if container["image"].startswith(LAB_IMAGE):
            assert probe["exec"]["command"] == ["robots-healthy"], where
            assert probe["periodSeconds"] * probe["failureThreshold"] >= FAILOVER_S, where
            assert "readinessProbe" not in container, where
            assert any(mount["mountPath"] == "/run/robots" for mount in container["volumeMounts"]), where
        else:
            assert "readinessProbe" in container, where


def test_images_are_pinned(k8s: Path) -> None:
    images = {container["image"] for _, _, container in all_containers(k8s)}

    assert [image for image in images if not re.fullmatch(r"[\w./-]+:v?\d+\.\d+\.\d+(-\w+)?", image)] == []
    assert f"{LAB_IMAGE}:{project_version()}" in images
    assert len({image.partition(":")[0] for image in images}) == len(images)  # no program in two versions


def project_version() -> str:
    [version] = re.findall(r'^version = "(.+)"$', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    return str(version)


def test_containers_mount_volumes_that_their_pod_has(k8s: Path) -> None:
    for where, resource, container in all_containers(k8s):
        spec = pod_spec_of(resource)
        assert spec is not None
        claimed = [claim["metadata"]["name"] for claim in resource["spec"].get("volumeClaimTemplates", ())]
        volumes = {volume["name"] for volume in spec["volumes"]} | set(claimed)
        assert {mount["name"] for mount in container["volumeMounts"]} <= volumes, where


# Names and labels


@pytest.mark.parametrize("parts", WHOLE.values(), ids=WHOLE)
def test_what_is_named_is_there(k8s: Path, parts: tuple[str, ...]) -> None:
    resources = [resource for part in parts for resource in build(k8s / part)]
    there = {name_of(resource) for resource in resources}
    named = {}
    for resource, spec in pods(resources):
        for container in containers_of(resource):
            for source in container.get("envFrom", ()):
                if not source["configMapRef"].get("optional"):
                    named[f"ConfigMap/{source['configMapRef']['name']}"] = name_of(resource)
        for volume in spec["volumes"]:
            sources = volume.get("projected", {}).get("sources", [volume])
            for source in sources:
                for key, kind, name in (
                    ("configMap", "ConfigMap", "name"),
                    ("secret", "Secret", "name" if "projected" in volume else "secretName"),
                    ("persistentVolumeClaim", "PersistentVolumeClaim", "claimName"),
                ):
                    if key in source:
                        named[f"{kind}/{source[key][name]}"] = name_of(resource)

    assert len(named) >= 4
    assert {name: user for name, user in named.items() if name not in there} == {}


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_selectors_match_the_pods_that_they_mean_and_hold_nothing_that_may_change(k8s: Path, overlay: str) -> None:
    resources = build(k8s / overlay)
    stable = {"app.kubernetes.io/name", "app.kubernetes.io/component"}
    labels = [pod_labels_of(resource) for resource, _ in pods(resources)]
    for resource in resources:
        where, spec = name_of(resource), resource.get("spec", {})
        if resource["kind"] in ("Deployment", "StatefulSet"):
            assert spec["selector"]["matchLabels"].keys() == stable, where
            assert matches(spec["selector"], pod_labels_of(resource)), where
            assert [one for one in labels if matches(spec["selector"], one)] == [pod_labels_of(resource)], where
            for spread in spec["template"]["spec"].get("topologySpreadConstraints", ()):
                assert spread["labelSelector"] == spec["selector"], where
        elif resource["kind"] == "PodDisruptionBudget":
            assert sum(matches(spec["selector"], one) for one in labels) == 1, where
        elif resource["kind"] == "Service":
            served = [one for one, _ in pods(resources) if spec["selector"].items() <= pod_labels_of(one).items()]
            assert len(served) == 1, where
            ports = {port["name"] for one in containers_of(served[0]) for port in one["ports"]}
            assert {port["targetPort"] for port in spec["ports"]} <= ports, where


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_a_budget_never_forbids_to_drain_a_node(k8s: Path, overlay: str) -> None:
    resources = build(k8s / overlay)
    for resource in resources:
        if resource["kind"] == "PodDisruptionBudget":
            assert "minAvailable" not in resource["spec"], name_of(resource)
            assert resource["spec"]["maxUnavailable"] not in (0, "0%"), name_of(resource)


# Network


@pytest.mark.parametrize("parts", WHOLE.values(), ids=WHOLE)
def test_the_network_is_closed_and_its_doors_lead_to_pods_and_ports_that_exist(
    k8s: Path, parts: tuple[str, ...]
) -> None:
    resources = [resource for part in parts for resource in build(k8s / part)]
    policies = [resource for resource in resources if resource["kind"] == "NetworkPolicy"]
    # Given a policy that forbids everything, and one that allows names to all
    closed = {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    assert closed in [policy["spec"] for policy in policies]
    [dns] = [policy["spec"] for policy in policies if policy["metadata"]["name"] == "dns"]
    assert {port["protocol"] for port in dns["egress"][0]["ports"]} == {"UDP", "TCP"}
    # When each other rule is read
    for policy in policies:
        for direction, far in (("ingress", "from"), ("egress", "to")):
            for rule in policy["spec"].get(direction, ()):
                peers = [peer["podSelector"] for peer in rule[far] if "podSelector" in peer]
                near = [policy["spec"]["podSelector"]]
                # Then both of its ends are pods of ours,
                for selector in [*near, *peers]:
                    assert pods_by(resources, selector), (name_of(policy), selector)
                # and the receiving end has its ports
                for selector in near if direction == "ingress" else peers:
                    missing = {port["port"] for port in rule["ports"]} - ports_by(resources, selector)
                    assert missing == set(), (name_of(policy), missing)


def pods_by(resources: list[Resource], selector: dict[str, Any]) -> list[Resource]:
    return [resource for resource, _ in pods(resources) if matches(selector, pod_labels_of(resource))]


def ports_by(resources: list[Resource], selector: dict[str, Any]) -> set[str]:
    selected = [container for one in pods_by(resources, selector) for container in containers_of(one)]
    return {port["name"] for container in selected for port in container.get("ports", ())}


@pytest.mark.parametrize("parts", WHOLE.values(), ids=WHOLE)
def test_who_has_the_password_may_reach_redis_and_the_others_may_not(k8s: Path, parts: tuple[str, ...]) -> None:
    resources = [resource for part in parts for resource in build(k8s / part)]
    for resource, spec in pods(resources):
        has_password = any(volume.get("secret", {}).get("secretName") == "redis-password" for volume in spec["volumes"])
        assert has_password == ("redis-client" in pod_labels_of(resource)), name_of(resource)


# The lab


def test_every_command_is_one_of_the_lab(k8s: Path) -> None:
    commands = {}
    for where, _, container in all_containers(k8s):
        if container["image"].startswith(LAB_IMAGE) and "command" not in container:
            demand_command(container["args"])
            commands[container["args"][0]] = where

    assert commands.keys() == {"worker", "relay", "supervise", "deal", "verify", "metrics"}


def test_every_variable_is_a_setting(k8s: Path) -> None:
    names = {variable["name"] for _, _, container in all_containers(k8s) for variable in container.get("env", ())}
    for part in PARTS:
        names |= {key for one in build(k8s / part) if one["kind"] == "ConfigMap" for key in one["data"]}

    assert {"ROBOTS_REDIS_URL", "ROBOTS_REDIS_PASSWORD_FILE", "ROBOTS_ROBOTS"} <= names
    assert unknown_variables(names) == []


def test_the_run_has_settings_that_the_lab_accepts(k8s: Path, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Given the variables of the run
    [run] = [one["data"] for one in build(k8s / "run") if one["kind"] == "ConfigMap"]
    for name, value in run.items():
        monkeypatch.setenv(name, value)
    # Then they are a run's settings, with as many relays as stand ready and one more
    settings = load_settings({})
    [relays] = [one["spec"]["replicas"] for one in build(k8s / "base") if name_of(one) == "Deployment/relay"]
    assert relays == settings.relays + 1


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_the_servers_url_leads_to_redis_as_a_user_that_it_knows(k8s: Path, overlay: str) -> None:
    resources = {name_of(resource): resource for resource in build(k8s / overlay)}
    url = urlsplit(resources["ConfigMap/lab"]["data"]["ROBOTS_REDIS_URL"])
    user, _, hosts = url.netloc.rpartition("@")
    users = resources["ConfigMap/redis"]["data"]["users.acl"]
    assert f"user {user} on #@redis-password@" in users
    assert users.startswith("user default off resetpass ")
    if url.scheme == "redis":
        assert hosts.split(":")[0] == resources["Service/redis"]["metadata"]["name"]
    else:
        redis = resources["StatefulSet/redis"]["spec"]
        nodes = [f"redis-{number}.{redis['serviceName']}:26379" for number in range(redis["replicas"])]
        assert hosts.split(",") == nodes
        assert "Service/redis" not in resources  # it would lead to replicas, too
        script = resources["ConfigMap/redis"]["data"]["start-sentinel.sh"]
        assert f"sentinel monitor {url.path.strip('/')} redis-0." in script


def test_the_number_of_robots_is_the_users(k8s: Path) -> None:
    # Given the RQ workers of the lab
    for overlay in OVERLAYS:
        resources = build(k8s / overlay)
        [robots] = [resource["spec"] for resource in resources if name_of(resource) == "Deployment/robots"]
        # Then nothing but `kubectl scale` says how many there are, and an update starts none too many
        assert "replicas" not in robots
        assert robots["strategy"]["rollingUpdate"]["maxSurge"] == 0
        assert not any(resource["kind"] == "HorizontalPodAutoscaler" for resource in resources)


def test_to_apply_a_lab_deals_no_run(k8s: Path) -> None:
    for overlay in OVERLAYS:
        assert [name_of(one) for one in build(k8s / overlay) if one["kind"] in ("Job", "CronJob")] == []

    jobs = {name_of(one): one["spec"] for one in build(k8s / "run") if one["kind"] == "Job"}
    assert jobs.keys() == {"Job/deal", "Job/verdict"}
    assert all(job["ttlSecondsAfterFinished"] > 0 for job in jobs.values())


def test_a_job_is_tried_again_when_the_server_was_away_and_not_when_it_has_judged(k8s: Path) -> None:
    for one in build(k8s / "run"):
        if one["kind"] == "Job":
            rules = one["spec"]["podFailurePolicy"]["rules"]
            [codes] = [rule["onExitCodes"] for rule in rules if rule["action"] == "FailJob"]
            assert (codes["operator"], codes["values"]) == ("NotIn", [4])
            assert one["spec"]["template"]["spec"]["restartPolicy"] == "Never"
