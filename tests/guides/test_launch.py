"""Launch recipes: scripts run against stand-ins of Slurm and ssh, YAML held against schemas.

Whatever command they come to is parsed by torchrun's own parser and by the command line's.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import typer
import yaml
from torch.distributed.run import get_args_parser

from vicinal.cli import app

LAUNCH = Path(__file__).parents[2] / "docs" / "launch"
DATA = "folder:/my photos/a"  # a blank, which quoting must survive

# What is used of a pod, and nothing else, so that a misspelt field is an error.
VOLUME = {
    "type": "object",
    "required": ["name"],
    "properties": {
        "name": {"type": "string"},
        "persistentVolumeClaim": {
            "type": "object",
            "required": ["claimName"],
            "properties": {"claimName": {"type": "string"}},
            "additionalProperties": False,
        },
        "emptyDir": {
            "type": "object",
            "properties": {"medium": {"enum": ["", "Memory"]}},
            "additionalProperties": False,
        },
    },
    "additionalProperties": False,
}
CONTAINER = {
    "type": "object",
    "required": ["name", "image"],
    "properties": {
        "name": {"type": "string", "pattern": "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"},
        "image": {"type": "string"},
        "command": {"type": "array", "items": {"type": "string"}},
        "resources": {
            "type": "object",
            "properties": {
                "limits": {
                    "type": "object",
                    "additionalProperties": {"type": ["integer", "string"]},
                }
            },
            "additionalProperties": False,
        },
        "volumeMounts": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["name", "mountPath"],
                "properties": {"name": {"type": "string"}, "mountPath": {"type": "string"}},
                "additionalProperties": False,
            },
        },
    },
    "additionalProperties": False,
}
TEMPLATE = {
    "type": "object",
    "required": ["spec"],
    "properties": {
        "spec": {
            "type": "object",
            "required": ["containers"],
            "properties": {
                "containers": {"type": "array", "minItems": 1, "items": CONTAINER},
                "volumes": {"type": "array", "items": VOLUME},
            },
            "additionalProperties": False,
        }
    },
    "additionalProperties": False,
}
COUNT = {"type": "integer", "minimum": 0}


def resource(version: str, kind: str, spec: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "required": ["apiVersion", "kind", "metadata", "spec"],
        "properties": {
            "apiVersion": {"const": version},
            "kind": {"const": kind},
            "metadata": {
                "type": "object",
                "required": ["name"],
                "properties": {"name": {"type": "string", "pattern": "^[a-z0-9-]{1,63}$"}},
                "additionalProperties": False,
            },
            "spec": {"type": "object", "additionalProperties": False} | spec,
        },
        "additionalProperties": False,
    }


# Fields of the training operator's kubeflow.org/v1 PyTorchJob.
PYTORCH_JOB = resource(
    "kubeflow.org/v1",
    "PyTorchJob",
    {
        "required": ["pytorchReplicaSpecs"],
        "properties": {
            "nprocPerNode": {"type": "string"},
            "elasticPolicy": {
                "type": "object",
                "properties": {
                    "minReplicas": COUNT,
                    "maxReplicas": COUNT,
                    "maxRestarts": COUNT,
                    "rdzvBackend": {"enum": ["c10d", "etcd", "etcd-v2"]},
                },
                "additionalProperties": False,
            },
            "runPolicy": {
                "type": "object",
                "properties": {"cleanPodPolicy": {"enum": ["All", "Running", "None"]}},
                "additionalProperties": False,
            },
            "pytorchReplicaSpecs": {
                "type": "object",
                "properties": {
                    "Worker": {
                        "type": "object",
                        "required": ["template"],
                        "properties": {
                            "replicas": COUNT,
                            "restartPolicy": {"enum": ["Always", "OnFailure", "Never", "ExitCode"]},
                            "template": TEMPLATE,
                        },
                        "additionalProperties": False,
                    }
                },
                "additionalProperties": False,
            },
        },
    },
)
PARAMETERS = {"type": "object", "additionalProperties": {"type": "string"}}
# Fields of KubeRay's ray.io/v1 RayJob.
RAY_JOB = resource(
    "ray.io/v1",
    "RayJob",
    {
        "required": ["entrypoint", "rayClusterSpec"],
        "properties": {
            "entrypoint": {"type": "string"},
            "shutdownAfterJobFinishes": {"type": "boolean"},
            "ttlSecondsAfterFinished": COUNT,
            "backoffLimit": COUNT,
            "rayClusterSpec": {
                "type": "object",
                "required": ["headGroupSpec"],
                "properties": {
                    "headGroupSpec": {
                        "type": "object",
                        "required": ["template"],
                        "properties": {"rayStartParams": PARAMETERS, "template": TEMPLATE},
                        "additionalProperties": False,
                    },
                    "workerGroupSpecs": {
                        "type": "array",
                        "items": {
                            "type": "object",
                            "required": ["groupName", "template"],
                            "properties": {
                                "groupName": {"type": "string"},
                                "replicas": COUNT,
                                "minReplicas": COUNT,
                                "maxReplicas": COUNT,
                                "rayStartParams": PARAMETERS,
                                "template": TEMPLATE,
                            },
                            "additionalProperties": False,
                        },
                    },
                },
                "additionalProperties": False,
            },
        },
    },
)


def parsed(command: list[str]) -> dict[str, Any]:
    """What the command line makes of ``vicinal COMMAND …``; a wrong option raises."""
    assert command[0] == "vicinal"
    group = typer.main.get_command(app)
    verb = group.commands[command[1]]  # type: ignore[attr-defined]
    found: dict[str, Any] = verb.make_context(command[1], list(command[2:])).params
    return found


def launched(arguments: list[str]) -> tuple[Any, dict[str, Any]]:
    """What torchrun and then the command line make of torchrun's arguments."""
    agent = get_args_parser().parse_args(arguments)
    assert agent.module
    return agent, parsed([agent.training_script, *agent.training_script_args])


def stand_in(place: Path, name: str, script: str) -> None:
    file = place / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(f"#!{sys.executable}\n{script}")
    file.chmod(0o755)


# One write a line: two agents share the pipe.
RECORD = (
    "import json, os, sys\n"
    "line = json.dumps([os.environ.get('ON'), *sys.argv[1:]])\n"
    "os.write(1, (line + chr(10)).encode())\n"
)


def run(script: str, *arguments: str, place: Path, **environment: str) -> list[list[str]]:
    """The lines that stand-ins printed, each an agent's node and arguments."""
    path = f"{place}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", LAUNCH / script, *arguments],
        env=os.environ | {"PATH": path, "HOME": str(place)} | environment,
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.mark.parametrize("script", ["ssh.sh", "train.sbatch"])
def test_scripts_are_sound(script: str) -> None:
    shellcheck = Path(sys.executable).with_name("shellcheck")
    found = str(shellcheck) if shellcheck.is_file() else shutil.which("shellcheck")
    subprocess.run(["bash", "-n", LAUNCH / script], check=True)
    if found is None:
        pytest.skip("shellcheck is not installed")
    subprocess.run([found, "--severity=style", LAUNCH / script], check=True)


def test_the_slurm_script_starts_an_agent_on_every_node(tmp_path: Path) -> None:
    stand_in(tmp_path, "scontrol", "print('node7\\nnode8')\n")
    stand_in(
        tmp_path,
        "srun",
        "import os, sys\nassert sys.argv[1] == '--kill-on-bad-exit=1'\n"
        "os.execvp(sys.argv[2], sys.argv[2:])\n",
    )
    stand_in(tmp_path, "torchrun", RECORD)
    slurm = {"SLURM_JOB_NODELIST": "node[7-8]", "SLURM_JOB_NUM_NODES": "2", "SLURM_JOB_ID": "5"}
    (line,) = run("train.sbatch", DATA, "runs/a b", place=tmp_path, **slurm)
    agent, train = launched(line[1:])
    assert (agent.nnodes, agent.nproc_per_node, agent.max_restarts) == ("2", "8", 3)
    assert (agent.rdzv_backend, agent.rdzv_endpoint) == ("c10d", "node7:29500")
    assert (train["data"], str(train["run"]), train["resume"]) == (DATA, "runs/a b", True)
    header = (LAUNCH / "train.sbatch").read_text()
    assert "#SBATCH --ntasks-per-node=1" in header  # an agent a node, not a rank


def test_the_ssh_script_starts_an_agent_on_every_host(tmp_path: Path) -> None:
    stand_in(
        tmp_path,
        "ssh",
        "import os, sys\nassert sys.argv[1] == '-tt'\nos.environ['ON'] = sys.argv[2]\n"
        f"os.chdir({str(tmp_path)!r})\nos.execvp('sh', ['sh', '-c', sys.argv[3]])\n",
    )
    stand_in(tmp_path, "vicinal/bin/torchrun", RECORD)
    lines = run("ssh.sh", DATA, "runs/a b", "alpha", "beta", place=tmp_path, RANKS_PER_HOST="4")
    assert sorted(line[0] for line in lines) == ["alpha", "beta"]
    for line in lines:
        agent, train = launched(line[1:])
        assert (agent.nnodes, agent.nproc_per_node) == ("2", "4")
        assert agent.rdzv_endpoint == "alpha:29500"
        assert (train["data"], str(train["run"]), train["resume"]) == (DATA, "runs/a b", True)


def mounted(template: dict[str, Any]) -> bool:
    """Whether every mount of a pod is of a volume that it has."""
    spec = template["spec"]
    volumes = {volume["name"] for volume in spec.get("volumes", [])}
    mounts = {m["name"] for c in spec["containers"] for m in c.get("volumeMounts", [])}
    return mounts == volumes


def test_the_pytorch_job_fits_its_schema_and_its_command_exists() -> None:
    job = yaml.safe_load((LAUNCH / "pytorchjob.yaml").read_text("utf-8"))
    jsonschema.validate(job, PYTORCH_JOB)
    worker = job["spec"]["pytorchReplicaSpecs"]["Worker"]
    assert mounted(worker["template"])
    (container,) = worker["template"]["spec"]["containers"]
    assert container["name"] == "pytorch"
    assert container["command"][0] == "torchrun"
    agent, train = launched(container["command"][1:])
    assert agent.nproc_per_node == job["spec"]["nprocPerNode"]
    assert container["resources"]["limits"]["nvidia.com/gpu"] == int(agent.nproc_per_node)
    elastic = job["spec"]["elasticPolicy"]
    assert elastic["minReplicas"] <= worker["replicas"] <= elastic["maxReplicas"]
    assert train["resume"]


def test_the_ray_job_fits_its_schema_and_its_command_exists() -> None:
    job = yaml.safe_load((LAUNCH / "rayjob.yaml").read_text("utf-8"))
    jsonschema.validate(job, RAY_JOB)
    cluster = job["spec"]["rayClusterSpec"]
    groups = [cluster["headGroupSpec"], *cluster["workerGroupSpecs"]]
    assert all(mounted(group["template"]) for group in groups)
    command = job["spec"]["entrypoint"].split()
    embed = typer.main.get_command(app).commands["embed"]  # type: ignore[attr-defined]
    if not any("--engine" in parameter.opts for parameter in embed.params):
        pytest.skip("this version's embed has no --engine")
    assert parsed(command)["engine"] == "ray"


def test_a_misspelt_field_would_be_found() -> None:
    job = yaml.safe_load((LAUNCH / "pytorchjob.yaml").read_text("utf-8"))
    job["spec"]["elasticPolicy"]["maxRestart"] = 3
    with pytest.raises(jsonschema.ValidationError, match="maxRestart"):
        jsonschema.validate(job, PYTORCH_JOB)
