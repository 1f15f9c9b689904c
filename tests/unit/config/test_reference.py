"""The generated schema, the key reference and the list of variables keep up with the code."""

import json
import re
import typing
from pathlib import Path

import msgspec
import pytest
from nautilus_trader.live.config import TradingNodeConfig

from nautilus_ext.config.keys import NAUTILUS_KEYS
from nautilus_ext.config.risk import KINDS, MessageLimit
from nautilus_ext.config.schema import json_schema
from nautilus_ext.config.suite import Suite
from nautilus_ext.simulation.client.config import ListingConfig, SimulatedDataClientConfig, SimulatedExecClientConfig
from nautilus_ext.simulation.replay.config import CatalogReplayDataClientConfig
from nautilus_ext.simulation.sandbox.config import RememberingSandboxConfig

ROOT = Path(__file__).resolve().parents[3]
CONFIGS = sorted((ROOT / "node_configs").glob("*.json"))
SHIPPED = [path for path in CONFIGS if path.name != "schema.json"]
REFERENCE = (ROOT / "node_configs" / "README.md").read_text()


def test_the_shipped_schema_is_the_generated_one():
    """`make schema` writes it."""
    assert json_schema() == json.loads((ROOT / "node_configs" / "schema.json").read_text())


def test_every_top_level_key_of_nautilus_has_its_line():
    """A new Nautilus key must not go unexplained."""
    assert set(TradingNodeConfig.__struct_fields__) == set(NAUTILUS_KEYS)


def test_the_reference_explains_every_key_that_the_suite_has():
    """One line each, in the words of the schema."""
    lines = dict(described(Suite, "")) | NAUTILUS_KEYS
    assert len(lines) > 50
    assert [] == [key for key, line in lines.items() if f"| `{key}` | {line} |" not in REFERENCE]


def described(cls, prefix):
    """Each field of a section and of the sections in it, with the description that its type carries."""
    for name, hint in typing.get_type_hints(cls, include_extras=True).items():
        inner = [part for part in (hint, *typing.get_args(hint)) if isinstance(part, type)]
        inner += [part for member in typing.get_args(hint) for part in typing.get_args(member)]
        section = next((part for part in inner if isinstance(part, type) and issubclass(part, msgspec.Struct)), None)
        if section is not None:
            yield from described(section, f"{prefix}{name}.")
        else:
            yield prefix + name, next(meta.description for meta in hint.__metadata__ if meta.description)


@pytest.mark.parametrize(
    "config",
    [
        SimulatedDataClientConfig,
        SimulatedExecClientConfig,
        CatalogReplayDataClientConfig,
        RememberingSandboxConfig,
    ],
    ids=lambda config: config.__name__,
)
def test_the_reference_explains_every_key_of_our_own_clients(config):
    """In the table of the clients, whatever the class declares itself."""
    table = REFERENCE.split("\n## Clients\n")[1].split("\n## ")[0]
    named = set(re.findall(r"`config\.(\w+)", table))
    own = set(vars(config)["__annotations__"])
    assert own
    assert set() == own - named


def test_the_reference_explains_every_key_of_a_listing():
    """In the paragraph about entries of `listings`."""
    (paragraph,) = (part for part in REFERENCE.split("\n\n") if part.startswith("An entry of `backtest.synthetic.l"))
    assert set() == set(ListingConfig.__struct_fields__) - set(re.findall(r"`(\w+)`", paragraph))


def test_the_reference_explains_every_key_of_a_limit_of_messages():
    """In the paragraph about entries of `messages`."""
    (paragraph,) = (part for part in REFERENCE.split("\n\n") if part.startswith("An entry of `risk.limits"))
    assert set() == set(MessageLimit.__struct_fields__) - set(re.findall(r"`(\w+)`", paragraph))


def keys_in(value, names):
    if isinstance(value, dict):
        for key, item in value.items():
            names.add(key)
            keys_in(item, names)
    elif isinstance(value, list):
        for item in value:
            keys_in(item, names)
    return names


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.name)
def test_the_reference_explains_every_key_that_a_shipped_file_uses(path):
    """Whatever a newcomer reads in a file stands in the README beside it."""
    document = json.loads(path.read_text())
    named = set(re.findall(r"\w+", " ".join(re.findall(r"`([^`]*)`", REFERENCE))))
    used = keys_in(document, set())
    clients = {name for section in ("data_clients", "exec_clients") for name in document[section]}
    weights = {name for name in used if "." in name}
    scopes = {name for name in used if name.partition("=")[0] in KINDS}
    unexplained = used - named - clients - weights - scopes
    assert set() == unexplained - {"$schema"}


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.name)
def test_each_shipped_file_satisfies_the_shipped_schema(path):
    """Every key of the file is a property there; editors complain otherwise."""
    schema = json_schema()
    assert set(json.loads(path.read_text())) <= set(schema["properties"])
    assert not schema["additionalProperties"]
    assert "description" in json.dumps(schema["$defs"]["Database"])
