"""The scripts by which Redis starts on Kubernetes: users from passwords, and the role that the Sentinels say."""

from __future__ import annotations

import hashlib
import os
import subprocess
from pathlib import Path

import pytest

from tests.support.checkout import ROOT

BASE = ROOT / "deploy/k8s/base/redis"
SENTINEL = ROOT / "deploy/k8s/components/sentinel/redis"


class Node:
    """A node's files below a folder, with programs in the place of Redis' own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name in ("etc/redis", "run/redis", "run/secrets/redis", "data", "bin"):
            (folder / name).mkdir(parents=True)
        self.has("redis-server", 'echo "server $*"')

    def has(self, program: str, body: str) -> None:
        path = self.folder / "bin" / program
        path.write_text(f"#!/bin/sh\n{body}\n")
        path.chmod(0o755)

    def knows(self, password: str, text: str) -> None:
        (self.folder / "run/secrets/redis" / password).write_text(text)

    def installs(self, *files: Path) -> None:
        """The files as they are mounted; absolute paths lead into the folder."""
        for file in files:
            text = file.read_text()
            for root in ("/etc/redis", "/run/redis", "/run/secrets/redis", "/data"):
                text = text.replace(root, f"{self.folder}{root}")
            (self.folder / "etc/redis" / file.name).write_text(text)

    def run(self, script: str, host: str = "redis-0") -> subprocess.CompletedProcess[str]:
        environment = {"PATH": f"{self.folder}/bin:{os.environ['PATH']}", "HOSTNAME": host}
        command = ["sh", str(self.folder / "etc/redis" / script)]
        return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=30, check=True)

    def read(self, name: str) -> str:
        return (self.folder / name).read_text()


@pytest.fixture
def node(tmp_path: Path) -> Node:
    return Node(tmp_path)


def digest(password: str) -> str:
    return hashlib.sha256(password.encode()).hexdigest()


@pytest.mark.parametrize("written", ["s3cret/&", "s3cret/&\n", "s3cret/&\r\nanother line\n"])
def test_redis_gets_the_hash_of_the_password_and_never_the_password(node: Node, written: str) -> None:
    # Given a password, whose file ends as editors end it
    node.knows("redis-password", written)
    node.installs(BASE / "start.sh", BASE / "users.acl")
    # When the node starts
    done = node.run("start.sh")
    # Then it becomes a server whose user has that password
    assert done.stdout == f"server {node.folder}/etc/redis/redis.conf\n"
    users = node.read("run/redis/users.acl")
    assert f"user robots on #{digest('s3cret/&')} " in users
    assert "s3cret" not in users
    assert "@" not in users.replace("+@", "").replace("-@", "")
    # And nothing but its owner reads its users
    assert (node.folder / "run/redis/users.acl").stat().st_mode & 0o077 == 0


def of_several(node: Node, answers: str) -> None:
    """Install a node of several. `answers`: a program that is asked as redis-cli, where $2 is the host."""
    node.knows("redis-password", "one\n")
    node.knows("nodes-password", "two\n")
    node.installs(BASE / "start.sh", BASE / "users.acl", *SENTINEL.iterdir())
    node.has("redis-cli", answers)


def test_a_node_becomes_a_replica_of_the_master_that_the_other_sentinels_name(node: Node) -> None:
    # Given Sentinels that were there all the time, and an own one that knows an old master
    answer = "case $2 in redis-0.*) echo redis-0.redis-nodes;; *) echo redis-2.redis-nodes;; esac; echo 6379"
    of_several(node, answer)
    # When the node starts again
    node.run("start.sh", "redis-0")
    # Then it follows the new master
    role = node.read("run/redis/role.conf").splitlines()
    assert role[:2] == ["replicaof redis-2.redis-nodes 6379", "replica-announce-ip redis-0.redis-nodes"]
    assert "masterauth two" in role
    assert f"user replica on #{digest('two')} " in node.read("run/redis/users.acl")


def test_the_master_follows_no_node(node: Node) -> None:
    of_several(node, "echo redis-1.redis-nodes; echo 6379")

    node.run("start.sh", "redis-1")

    assert "replicaof" not in node.read("run/redis/role.conf")
    assert "min-replicas-to-write 1" in node.read("run/redis/role.conf")


def test_a_node_waits_until_a_sentinel_answers(node: Node) -> None:
    # Given Sentinels that do not answer at first, and one that knows no master
    asked = node.folder / "asked"
    of_several(node, f"echo x >>{asked}; [ $(wc -l <{asked}) -gt 4 ] || exit 1; echo redis-1.redis-nodes; echo 6379")
    # When the node starts
    done = node.run("start.sh", "redis-2")
    # Then it asked all of them again
    assert "no Sentinel answers yet" in done.stderr
    assert "replicaof redis-1.redis-nodes 6379" in node.read("run/redis/role.conf")


def test_a_sentinel_keeps_what_it_has_learnt_and_takes_a_new_password(node: Node) -> None:
    # Given a Sentinel that has started once, and has learnt of a failover
    of_several(node, "exit 1")
    assert node.run("start-sentinel.sh").stdout == f"server {node.folder}/data/sentinel.conf --sentinel\n"
    first = node.read("data/sentinel.conf")
    assert "sentinel monitor robots redis-0.redis-nodes 6379 2" in first
    learnt = first.replace("monitor robots redis-0.", "monitor robots redis-2.")
    (node.folder / "data/sentinel.conf").write_text(learnt)
    # When it starts again, after the password was changed
    node.knows("nodes-password", "three\n")
    node.run("start-sentinel.sh")
    # Then only the password is another one
    again = node.read("data/sentinel.conf")
    assert again == learnt.replace("auth-pass robots two", "auth-pass robots three")
