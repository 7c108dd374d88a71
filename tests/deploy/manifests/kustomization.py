"""What `kustomize build` makes of deploy/k8s, read by a small reading of our own. No tests here.

It knows what our files use and refuses the rest, so that the tests of the manifests need no program. Generated names
get no hash. Where `kubectl` or `kustomize` is on PATH, test_kubernetes.py compares it with the real build.
"""

from __future__ import annotations

import base64
import copy
import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

Resource = dict[str, Any]
HASH = "[bcdfghkmt24-9]{10}"
"""How kustomize ends a generated name."""

_KNOWN = {
    *("apiVersion", "kind", "namespace", "resources", "components", "labels", "images", "patches"),
    *("configMapGenerator", "secretGenerator"),
}
_WITHOUT_NAMESPACE = {"Namespace"}


def real_build(folder: Path) -> list[Resource] | None:
    """What the real kustomize makes of it; None where there is none."""
    for command in (["kubectl", "kustomize"], ["kustomize", "build"]):
        if shutil.which(command[0]):
            built = subprocess.run([*command, str(folder)], capture_output=True, text=True, timeout=50, check=True)
            return [resource for resource in yaml.safe_load_all(built.stdout) if resource]
    return None


def build(folder: Path) -> list[Resource]:
    """The resources of a kustomization. Raises FileNotFoundError for a file that is missing."""
    found: list[Resource] = []
    _apply(folder, found)
    return found


def containers_of(resource: Resource) -> list[dict[str, Any]]:
    """Those of its pods."""
    spec = pod_spec_of(resource)
    return [] if spec is None else [*spec.get("initContainers", []), *spec["containers"]]


def pod_spec_of(resource: Resource) -> dict[str, Any] | None:
    """The specification of its pods; None when it has none."""
    if resource["kind"] == "Pod":
        return dict(resource["spec"])
    template = resource.get("spec", {}).get("template")
    return None if template is None else dict(template["spec"])


def pod_labels_of(resource: Resource) -> dict[str, str]:
    """The labels of its pods."""
    place = resource if resource["kind"] == "Pod" else resource["spec"]["template"]
    return dict(place["metadata"]["labels"])


def name_of(resource: Resource) -> str:
    """Kind and name, without the hash of what was generated."""
    name = re.sub(f"-{HASH}$", "", resource["metadata"]["name"])
    return f"{resource['kind']}/{name}"


def copy_of(resource: Resource) -> Resource:
    """A copy in which nothing is shared: an alias in YAML is the same object twice."""
    return dict(json.loads(json.dumps(resource)))


def _apply(folder: Path, found: list[Resource]) -> None:
    own = yaml.safe_load((folder / "kustomization.yaml").read_text())
    assert own.keys() <= _KNOWN, f"{folder}: this reading does not know {own.keys() - _KNOWN}"
    mine: list[Resource] = [] if own["kind"] == "Kustomization" else found
    for name in own.get("resources", ()):
        path = folder / name
        if path.is_dir():
            _apply(path, mine)
        else:
            mine += [copy_of(resource) for resource in yaml.safe_load_all(path.read_text()) if resource]
    _generate(folder, own, mine)
    for name in own.get("components", ()):
        _apply(folder / name, mine)
    for patch in own.get("patches", ()):
        _patch(folder, patch, mine)
    for resource in mine:
        _transform(own, resource)
    if mine is not found:
        found += mine


def _generate(folder: Path, own: dict[str, Any], found: list[Resource]) -> None:
    for key, kind in (("configMapGenerator", "ConfigMap"), ("secretGenerator", "Secret")):
        for generator in own.get(key, ()):
            data = dict(_generated(folder, generator))
            if kind == "Secret":
                data = {name: base64.b64encode(value.encode()).decode() for name, value in data.items()}
            if generator.get("behavior") == "merge":
                [target] = [one for one in found if name_of(one) == f"{kind}/{generator['name']}"]
                target["data"] |= data
            else:
                resource = {"apiVersion": "v1", "kind": kind, "metadata": {"name": generator["name"]}, "data": data}
                found.append(resource | ({"type": "Opaque"} if kind == "Secret" else {}))


def _generated(folder: Path, generator: dict[str, Any]) -> Iterator[tuple[str, str]]:
    for name in generator.get("files", ()):
        yield Path(name).name, (folder / name).read_text()
    lines = [line for name in generator.get("envs", ()) for line in (folder / name).read_text().splitlines()]
    for line in [*lines, *generator.get("literals", ())]:
        if line.strip() and not line.startswith("#"):
            name, _, value = line.partition("=")
            yield name, value


def _patch(folder: Path, patch: dict[str, Any], found: list[Resource]) -> None:
    if "path" in patch:
        wanted = yaml.safe_load((folder / patch["path"]).read_text())
        [target] = [one for one in found if name_of(one) == name_of(wanted)]
        if wanted.pop("$patch", None) == "delete":
            found.remove(target)
        else:
            _merge(target, wanted)
        return
    kind, name = patch["target"]["kind"], patch["target"].get("name", ".*")
    for resource in found:
        if resource["kind"] == kind and re.fullmatch(name, resource["metadata"]["name"]):
            for step in yaml.safe_load(patch["patch"]):
                *folders, last = [int(key) if key.isdigit() else key for key in step["path"].split("/")[1:]]
                place: Any = resource
                for key in folders:
                    place = place[key]
                assert step["op"] == "replace", step
                assert last in place, step
                place[last] = step["value"]


def _merge(target: dict[str, Any], wanted: dict[str, Any]) -> None:
    """Kubernetes' strategic merge, as far as lists go by `name`: what a patch names comes first, in its order."""
    for key, value in wanted.items():
        old = target.get(key)
        if isinstance(old, dict) and isinstance(value, dict):
            _merge(old, value)
        elif isinstance(old, list) and all(isinstance(item, dict) and "name" in item for item in [*old, *value]):
            known = {item["name"]: item for item in old}
            patched = [known.pop(item["name"], {}) for item in value]
            for place, item in zip(patched, value, strict=True):
                _merge(place, item)
            target[key] = [*patched, *known.values()]
        else:
            target[key] = copy.deepcopy(value)


def _transform(own: dict[str, Any], resource: Resource) -> None:
    metadata = resource["metadata"]
    if "namespace" in own and resource["kind"] not in _WITHOUT_NAMESPACE:
        metadata["namespace"] = own["namespace"]
    for rule in own.get("labels", ()):
        metadata.setdefault("labels", {}).update(rule["pairs"])
        spec = resource.get("spec", {})
        if rule.get("includeTemplates") and "template" in spec:
            for template in (spec["template"], *spec.get("volumeClaimTemplates", ())):
                template["metadata"].setdefault("labels", {}).update(rule["pairs"])
    tags = {image["name"]: image["newTag"] for image in own.get("images", ())}
    for container in containers_of(resource):
        name = container["image"].partition(":")[0]
        if name in tags:
            container["image"] = f"{name}:{tags[name]}"
