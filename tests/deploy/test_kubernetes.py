"""Kubernetes, which cannot be run here: every resource against the schema of its kind, nothing unknown in it."""

from __future__ import annotations

import re
from functools import cache
from importlib import resources
from pathlib import Path

import pytest
import yaml

FOLDER = Path(__file__).parents[2] / "deploy" / "kubernetes"
ROOT = FOLDER.parents[1]
RESOURCES = ("cluster.yaml", "job.yaml", "network-policy.yaml", "volume.yaml")

pytestmark = pytest.mark.skipif(not FOLDER.exists(), reason="the folder deploy is not beside the tests")


def documents(name):
    """Return the resources of a file."""
    return list(yaml.safe_load_all((FOLDER / name).read_text()))


@cache
def operator_schemas():
    """Return the schemas that the operator publishes, by kind, with every pod spelled out."""
    pytest.importorskip("dask_kubernetes", reason="the operator's schemas come with dask-kubernetes")
    folder = resources.files("dask_kubernetes") / "operator/deployment/helm/dask-kubernetes-operator/crds"
    found = {}
    for file in folder.iterdir():
        for crd in yaml.load_all(file.read_text(), Loader=yaml.CSafeLoader):
            found[crd["spec"]["names"]["kind"]] = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    return {kind: strict(schema) for kind, schema in found.items()}


def strict(schema):
    """Return a schema that allows no property it does not name: the server would drop it without a word."""
    if isinstance(schema, list):
        return [strict(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    made = {key: strict(value) for key, value in schema.items()}
    if isinstance(made.get("properties"), dict) and "additionalProperties" not in made:
        made["additionalProperties"] = False
    if made.get("x-kubernetes-int-or-string"):
        made.pop("type", None)
    return made


def whole(schema):
    """Return the schema of a resource: what every kind has beside its own."""
    own = {
        "apiVersion": {"const": "kubernetes.dask.org/v1"},
        "kind": {"type": "string"},
        "metadata": {"type": "object"},
    }
    return {
        **schema,
        "properties": {**schema["properties"], **own},
        "required": ["apiVersion", "kind", "metadata", "spec"],
    }


def validate(resource):
    """Raise jsonschema's error for a resource of the operator that its schema does not allow."""
    import jsonschema

    jsonschema.validate(resource, whole(operator_schemas()[resource["kind"]]))


def unknown(value, kind):
    """Return the first key of a resource of Kubernetes itself that its published model does not have."""
    client = pytest.importorskip("kubernetes.client", reason="the models come with the package kubernetes")
    if found := re.fullmatch(r"list\[(.*)\]", kind):
        return next((bad for part in value if (bad := unknown(part, found[1]))), None)
    model = getattr(client, kind, None)
    if model is None:  # a text, a number, or a table of them
        return None
    names = {json: attribute for attribute, json in model.attribute_map.items()}
    for key, part in value.items():
        if key not in names:
            return f"{kind}.{key}"
        if bad := unknown(part, model.openapi_types[names[key]]):
            return bad
    return None


OURS = [(name, k) for name in ("cluster.yaml", "job.yaml") for k in range(2 if name == "cluster.yaml" else 1)]


@pytest.mark.parametrize(("name", "number"), OURS)
def test_resources_of_the_operator_suit_its_schema(name, number):
    """Every key known, every type right."""
    validate(documents(name)[number])


@pytest.mark.parametrize(
    ("change", "word"),
    [
        (lambda r: r["spec"]["worker"].update(replica=3), "replica"),
        (lambda r: r["spec"]["worker"].update(replicas="three"), "three"),
        (lambda r: r["spec"]["worker"]["spec"]["containers"][0].update(arg=[]), "arg"),
        (lambda r: r["spec"].pop("scheduler"), "scheduler"),
    ],
)
def test_the_check_can_fail(change, word):
    """A slip of the pen is found at any depth."""
    import jsonschema

    resource = documents("cluster.yaml")[0]
    change(resource)
    with pytest.raises(jsonschema.ValidationError, match=word):
        validate(resource)


@pytest.mark.parametrize(
    ("name", "kind"),
    [("volume.yaml", "V1PersistentVolumeClaim"), ("network-policy.yaml", "V1NetworkPolicy")],
)
def test_resources_of_kubernetes_suit_their_models(name, kind):
    """Every key known; a wrong one is found."""
    (resource,) = documents(name)
    assert unknown(resource, kind) is None
    resource["spec"]["acessModes"] = []
    assert unknown(resource, kind).endswith("Spec.acessModes")


def test_the_pieces_fit_each_other():
    """One image; the service finds the scheduler; the claim is the volume's; the policy is the cluster's."""
    images = set(re.findall(r"image: (\S+)", "".join((FOLDER / f).read_text() for f in (*RESOURCES, "dask.yaml"))))
    assert images == {"registry.example.org/ipsdist:0.1.0"}
    assert (FOLDER / "Dockerfile").read_text().count("ipsdist:0.1.0") == 1
    (job,), (cluster, scaler), (volume,), (policy,) = (
        documents(n) for n in ("job.yaml", "cluster.yaml", "volume.yaml", "network-policy.yaml")
    )
    assert scaler["spec"]["cluster"] == cluster["metadata"]["name"]
    assert policy["spec"]["podSelector"]["matchLabels"]["dask.org/cluster-name"] == job["metadata"]["name"]
    for resource, spec in ((cluster, cluster["spec"]), (job, job["spec"]["cluster"]["spec"])):
        selector = spec["scheduler"]["service"]["selector"]
        assert selector == {"dask.org/cluster-name": resource["metadata"]["name"], "dask.org/component": "scheduler"}
        ports = {p["name"] for p in spec["scheduler"]["spec"]["containers"][0]["ports"]}
        assert {p["targetPort"] for p in spec["scheduler"]["service"]["ports"]} == ports
        worker = spec["worker"]["spec"]
        assert worker["volumes"][0]["persistentVolumeClaim"]["claimName"] == volume["metadata"]["name"]
        assert worker["containers"][0]["volumeMounts"][0]["name"] == worker["volumes"][0]["name"]


def test_a_worker_knows_the_memory_of_its_pod():
    """Dask would take that of the node for its own, and plan with it."""
    from dask.utils import parse_bytes

    for spec in (documents("cluster.yaml")[0]["spec"], documents("job.yaml")[0]["spec"]["cluster"]["spec"]):
        container = spec["worker"]["spec"]["containers"][0]
        words = container["args"]
        told = parse_bytes(words[words.index("--memory-limit") + 1])
        assert told == parse_bytes(container["resources"]["limits"]["memory"] + "B")
        assert words[words.index("--nthreads") + 1] == "1"


def test_the_words_of_every_container_are_understood():
    """`ipsdist`, `dask scheduler` and `dask worker` know their options."""
    from click.testing import CliRunner
    from distributed.cli.dask_scheduler import main as scheduler
    from distributed.cli.dask_worker import main as worker

    from ipsdist.cli.app import main

    job = documents("job.yaml")[0]["spec"]
    specs = documents("cluster.yaml")[0]["spec"], job["cluster"]["spec"]
    for spec in specs:
        for command, part in ((scheduler, "scheduler"), (worker, "worker")):
            words = spec[part]["spec"]["containers"][0]["args"]
            assert words[:2] == ["dask", part]
            done = CliRunner().invoke(command, [*words[2:], "--help"])
            assert done.exit_code == 0, done.output
    words = job["job"]["spec"]["containers"][0]["args"]
    assert words[0] == "ipsdist"
    assert main([*words[1:], "--help"]) == 0


def test_the_cluster_by_name_makes_such_resources_too():
    """What `--cluster kubernetes` asks of the operator with dask.yaml suits the schema."""
    module = pytest.importorskip("dask_kubernetes.operator", reason="dask-kubernetes is not installed")
    given = yaml.safe_load((FOLDER / "dask.yaml").read_text())["ipsdist"]["cluster"]["kubernetes"]
    known = {k: given[k] for k in ("image", "worker_command", "resources")}
    validate(module.make_cluster_spec(name="ipsdist", n_workers=given["workers"], env={"A": "b"}, **known))


def test_the_image_has_what_it_copies():
    """Every file that the recipe names is in the repository, and what it installs is an extra of the package."""
    import tomllib

    text = (FOLDER / "Dockerfile").read_text()
    for line in re.findall(r"^COPY (?!--)(.*)$", text, re.MULTILINE):
        for name in line.split()[:-1]:
            assert (ROOT / name).exists(), name
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    for extras in re.findall(r'\[([a-z0-9,]+)\]"', text):
        assert set(extras.split(",")) <= set(project["optional-dependencies"])
    assert f"ipsdist:{project['version']}" in text
    version = re.search(r"FROM python:(\d+\.\d+)-slim$", text, re.MULTILINE)[1]
    assert version in "".join(project["classifiers"])
