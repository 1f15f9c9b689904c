"""The docker files hold what they promise. No engine is needed: they are read, and run as far as that goes without."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import SplitResult, quote, unquote, urlsplit

import pytest
import yaml

from nautilus_ext import cli
from nautilus_ext.app import main
from nautilus_ext.config.env import SECRET_NAME
from nautilus_ext.config.suite import MAX_STOP_S
from nautilus_ext.embedded.binaries import bin_folder
from nautilus_ext.schema.upgrade import upgrade

if TYPE_CHECKING:
    from subprocess import CompletedProcess

ROOT = Path(__file__).resolve().parents[2]
DOCKER = ROOT / "docker"
COMPOSE_TEXT = (DOCKER / "compose.yaml").read_text(encoding="utf-8")
COMPOSE: dict[str, Any] = yaml.safe_load(COMPOSE_TEXT)
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
LIVE = {"node", "migrate", "postgres", "redis"}
LONG_RUNNING = {"node", "postgres", "redis"}
OURS = {"node", "migrate", "backtest"}
ROLE_SQL = DOCKER / "initdb" / "10-application-role.sql"
TIMEOUT_S = 10.0

VARIABLE = re.compile(r"(?<!\$)\$\{([A-Z_]+)(?:(:[-?])([^}]*))?\}")

each_service = pytest.mark.parametrize("name", sorted(SERVICES))
each_long_running = pytest.mark.parametrize("name", sorted(LONG_RUNNING))
each_of_ours = pytest.mark.parametrize("name", sorted(OURS))


def _instructions() -> list[tuple[str, str]]:
    """The Dockerfile, one instruction an entry."""
    text = (DOCKER / "Dockerfile").read_text(encoding="utf-8").replace("\\\n", " ")
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return [(word, rest.strip()) for word, _, rest in (line.partition(" ") for line in lines)]


def _final_stage() -> list[tuple[str, str]]:
    instructions = _instructions()
    start = max(index for index, (word, _) in enumerate(instructions) if word == "FROM")
    return instructions[start:]


def _the(word: str) -> str:
    """The last instruction of a kind in the final stage: the one that counts."""
    return [rest for found, rest in _final_stage() if found == word][-1]


def _environment() -> dict[str, str]:
    pairs = (pair for word, rest in _final_stage() if word == "ENV" for pair in shlex.split(rest))
    return dict(pair.split("=", 1) for pair in pairs)


def _filled(text: str) -> str:
    """What Compose makes of a text when nothing is set: the default, or as a value the variable's name."""
    return VARIABLE.sub(lambda match: match[3] if match[2] == ":-" else match[1].lower(), text).replace("$$", "$")


def _command(service: dict[str, Any]) -> list[str]:
    entrypoint = service.get("entrypoint", json.loads(_the("ENTRYPOINT")))
    return [_filled(word) for word in [*entrypoint, *service.get("command", json.loads(_the("CMD")))]]


def _parsed(command: list[str]) -> Any:
    """The command as our own parser reads it; one that it refuses ends the test with SystemExit."""
    assert command[:2] == ["python", "-m"]
    parser = {"nautilus_ext.run": main._parser, "nautilus_ext": cli._parser}[command[2]]()
    return parser.parse_args(command[3:])


def _seconds(duration: str) -> float:
    number, unit = re.fullmatch(r"(\d+)(s|m)", duration).groups()
    return float(number) * {"s": 1, "m": 60}[unit]


def _bytes(size: str) -> int:
    number, unit = re.fullmatch(r"(\d+)(m|g)", size).groups()
    return int(number) * {"m": 2**20, "g": 2**30}[unit]


def _volumes(service: dict[str, Any]) -> set[str]:
    return {source for source, *_ in (entry.split(":") for entry in service["volumes"]) if not source.startswith(".")}


def _documented() -> dict[str, str]:
    lines = (ROOT / ".env.example").read_text(encoding="utf-8").splitlines()
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


@pytest.mark.parametrize(
    ("profile", "expected"), [("live", LIVE), ("backtest", {"backtest"}), ("both", LIVE | {"backtest"})]
)
def test_a_profile_starts_exactly_its_services(profile, expected):
    """The profile live has the node and what it stands on, backtest itself alone, both has all."""
    started = {name for name, service in SERVICES.items() if profile in service["profiles"]}
    assert expected == started


@each_service
def test_nothing_starts_without_a_profile(name):
    """A service without a profile would start with any of them."""
    assert SERVICES[name]["profiles"]


@each_service
def test_a_service_is_bounded(name):
    """Processor, memory, processes and log have a limit, so that no service can take the machine."""
    service = SERVICES[name]
    assert 0 < service["cpus"] <= 2
    assert 0 < _bytes(service["mem_limit"]) <= 2 * 2**30
    assert 0 < service["pids_limit"] <= 256
    assert {"max-size", "max-file"} == set(service["logging"]["options"])


@each_service
def test_a_service_has_no_privilege(name):
    """A process that is taken over can neither write its image nor gain a right."""
    service = SERVICES[name]
    assert service["read_only"] is True
    assert ["ALL"] == service["cap_drop"]
    assert "cap_add" not in service
    assert "privileged" not in service
    assert "no-new-privileges:true" in service["security_opt"]
    assert name in OURS or service["user"] not in {"root", "0"}


@each_service
def test_ports_are_for_this_machine_only(name):
    """A port without an address would be open to the network, past a host's firewall."""
    for port in SERVICES[name].get("ports", []):
        assert port.startswith("127.0.0.1:")


@each_service
def test_a_services_volumes_and_networks_are_declared(name):
    """A name with a typing error would be refused at the start."""
    service = SERVICES[name]
    assert _volumes(service) <= set(COMPOSE["volumes"])
    assert set(service["networks"]) <= set(COMPOSE["networks"])


@each_long_running
def test_a_long_running_service_is_watched_and_restarted(name):
    """Each has its own health check and its own restart policy."""
    service = SERVICES[name]
    assert service["healthcheck"]["test"][0] in {"CMD", "CMD-SHELL"}
    assert {"interval", "timeout", "retries", "start_period"} < set(service["healthcheck"])
    assert re.fullmatch(r"unless-stopped|on-failure:\d", service["restart"])


@pytest.mark.parametrize("name", sorted(set(SERVICES) - LONG_RUNNING))
def test_a_service_that_ends_by_itself_stays_ended(name):
    """A migration or a backtest runs once, and is never called unhealthy by the image's check of a node."""
    assert SERVICES[name]["restart"] == "no"
    assert {"disable": True} == SERVICES[name]["healthcheck"]


def test_the_node_has_time_to_stop():
    """The grace is longer than the node's own bound, and SIGTERM reaches it."""
    assert _seconds(SERVICES["node"]["stop_grace_period"]) >= MAX_STOP_S + 5
    assert SERVICES["node"]["init"] is True
    assert _the("STOPSIGNAL") == "SIGTERM"


def test_the_node_starts_after_its_tables_are_current():
    """The migration waits for a healthy server, the node for a migration that succeeded."""
    assert "service_healthy" == SERVICES["migrate"]["depends_on"]["postgres"]["condition"]
    assert "service_completed_successfully" == SERVICES["node"]["depends_on"]["migrate"]["condition"]


def test_a_backtest_shares_nothing_with_live():
    """No network, no volume, no dependency, no key: it can neither reach nor wait for a live service."""
    backtest = SERVICES["backtest"]
    assert "depends_on" not in backtest
    assert "env_file" not in backtest
    assert "DATABASE_URL" not in backtest["environment"]
    for name in LIVE:
        assert not set(backtest["networks"]) & set(SERVICES[name]["networks"])
        assert not _volumes(backtest) & _volumes(SERVICES[name])


def test_a_backtest_yields_the_processor_to_live():
    """When both want it, each live service gets a multiple of the backtest's share."""
    shares = SERVICES["backtest"]["cpu_shares"]
    assert all(SERVICES[name]["cpu_shares"] >= 8 * shares for name in LIVE)
    assert SERVICES["backtest"]["oom_score_adj"] > 0
    assert all("oom_score_adj" not in SERVICES[name] for name in LIVE)


def test_the_node_does_not_learn_the_owners_password():
    """Its address is the application's; what the shared .env says of the owner is blanked."""
    environment = SERVICES["node"]["environment"]
    role = SERVICES["postgres"]["environment"]["POSTGRES_APP_USER"]
    assert urlsplit(_filled(environment["DATABASE_URL"])).username == role
    assert "" == environment["MIGRATE_URL"] == environment["POSTGRES_PASSWORD"]
    assert "POSTGRES_PASSWORD" not in environment["DATABASE_URL"]


def test_the_addresses_name_what_postgres_makes():
    """Host, port, database and both users of the addresses are those of the postgres service."""
    made = SERVICES["postgres"]["environment"]
    migrate = SERVICES["migrate"]["environment"]
    application, owner = (urlsplit(_filled(migrate[key])) for key in ("DATABASE_URL", "MIGRATE_URL"))
    assert ("postgres", 5432, f"/{made['POSTGRES_DB']}", made["POSTGRES_APP_USER"]) == (
        application.hostname, application.port, application.path, application.username,
    )  # fmt: skip
    assert application._replace(netloc="") == owner._replace(netloc="")
    assert made["POSTGRES_USER"] == owner.username
    assert SERVICES["node"]["environment"]["DATABASE_URL"] == migrate["DATABASE_URL"]


@each_of_ours
def test_our_parser_accepts_the_command(name):
    """The command line is one of ours and names a config that exists."""
    options = _parsed(_command(SERVICES[name]))
    assert (ROOT / options.config).is_file()
    assert getattr(options, "backtest", False) == (name == "backtest")


def test_the_health_check_asks_for_the_config_that_runs():
    """Another config would be another book: healthy or not, it would say nothing about this node."""
    check = [_filled(word) for word in SERVICES["node"]["healthcheck"]["test"]]
    assert check[0] == "CMD"
    options = _parsed(check[1:])
    assert "status" == options.verb.__name__
    assert options.config == _parsed(_command(SERVICES["node"])).config


def test_every_secret_of_compose_is_a_variable_without_default():
    """No value of a secret stands in the file, and a missing one stops the start."""
    for name, service in SERVICES.items():
        for key, value in service.get("environment", {}).items():
            if value and (SECRET_NAME.search(key) or key == "REDISCLI_AUTH"):
                assert VARIABLE.fullmatch(value), f"{name}.{key}"
    for name, kind, _ in VARIABLE.findall(COMPOSE_TEXT):
        assert (kind == ":?") == bool(SECRET_NAME.search(name)), name


def test_the_image_runs_as_a_fixed_user_who_owns_the_data():
    """Not root, the same number on every build, and the data folder is his."""
    user, group = _the("USER").split(":")
    assert int(user) >= 10000
    assert int(group) >= 10000
    setup = _the("RUN")
    assert f"--uid {user}" in setup
    assert f"--gid {group}" in setup
    assert f"-o suite -g suite -m 0700 {_the('VOLUME')}" in setup
    assert _the("VOLUME") == _environment()["NAUTILUS_EXT_DATA"]


@pytest.mark.parametrize("variable", ["PYTHONSAFEPATH", "PYTHONDONTWRITEBYTECODE", "PYTHONUNBUFFERED"])
def test_the_image_sets_python_up(variable):
    """PYTHONSAFEPATH above all: a file in the current folder cannot pose as one of our packages."""
    assert _environment()[variable] == "1"


def test_the_image_runs_paper_trading_and_is_checked_by_status():
    """Without Compose too the image is complete: no shell in between, and its health is the node's."""
    command = [*json.loads(_the("ENTRYPOINT")), *json.loads(_the("CMD"))]
    check = json.loads(_the("HEALTHCHECK").partition("CMD")[2])
    assert (ROOT / _parsed(command).config).is_file()
    assert _parsed(check).config == _parsed(command).config
    assert "status" == _parsed(check).verb.__name__


def test_the_image_has_our_python_and_names_no_registry():
    """Two stages on the Python that the project pins; the host that serves the image is the operator's choice."""
    stages = [rest.split()[0] for word, rest in _instructions() if word == "FROM"]
    python = (ROOT / ".python-version").read_text(encoding="utf-8").strip()
    images = [*stages, *(service["image"] for service in SERVICES.values())]
    assert [f"python:{python}-slim-bookworm"] * 2 == stages
    assert all("/" not in image for image in images)


def test_the_image_is_built_from_hashed_pins_alone():
    """The lock is checked by hash, and nothing after that may ask an index."""
    installs = [line for word, rest in _instructions() if word == "RUN" for line in rest.split("&&") if " pip " in line]
    fetching = [line for line in installs if " download " in line]
    assert len(fetching) == 1
    assert "--require-hashes" in fetching[0]
    assert "-r requirements.lock" in fetching[0]
    for line in installs:
        assert line in fetching or "--no-index" in line or ("--no-deps" in line and "--no-build-isolation" in line)


def test_the_build_sees_what_it_copies_and_no_secret():
    """The build context is a list of what may go in, and the Dockerfile copies nothing that is not on it."""
    lines = (DOCKER / "Dockerfile.dockerignore").read_text(encoding="utf-8").split()
    allowed = {line[1:] for line in lines if line.startswith("!")}
    copied = {source for word, rest in _instructions() if word == "COPY" and "--from" not in rest
              for source in rest.split()[:-1]}  # fmt: skip
    assert "*" in lines
    assert copied == allowed
    assert all((ROOT / source).exists() for source in copied)
    assert not any(SECRET_NAME.search(rest) for word, rest in _instructions() if word in {"ARG", "ENV"})


def test_every_variable_is_explained():
    """.env.example names what the configs, Compose and the suite read, and nothing else."""
    configs = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "node_configs").glob("*.json"))
    source = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "nautilus_ext").rglob("*.py"))
    read = {name for name, _, _ in VARIABLE.findall(configs + COMPOSE_TEXT)}
    read |= set(re.findall(r"\bNAUTILUS_EXT_[A-Z_]+", source))
    assert read | {"MIGRATE_URL"} == set(_documented())


def test_every_explanation_is_one_line_and_no_secret_has_a_value():
    """A comment stands above each variable; whoever copies the file starts without a password."""
    text = (ROOT / ".env.example").read_text(encoding="utf-8")
    for name, value in _documented().items():
        assert re.search(rf"^# \w.*\n{name}=", text, re.MULTILINE), name
        assert not value or not (SECRET_NAME.search(name) or name.endswith("_URL")), name


def test_the_role_script_makes_a_role_that_owns_nothing(postgres_server, empty_database):
    """Run as Docker's image runs it: then `migrate` as the owner works, and the role reads but cannot create."""
    role, password = f"app_{empty_database.name}", "it's a pass:word"
    admin = urlsplit(postgres_server.admin_url)._replace(path=f"/{empty_database.name}")
    made = _psql(admin, "-f", ROLE_SQL, environment={"POSTGRES_APP_USER": role, "POSTGRES_APP_PASSWORD": password})
    assert (made.returncode, made.stderr) == (0, "")

    application = admin._replace(netloc=f"{role}:{quote(password)}@{admin.hostname}:{admin.port}")
    upgrade(admin.geturl(), application.geturl(), timeout_s=TIMEOUT_S)
    assert _psql(application, "-c", "SELECT count(*) FROM books").returncode == 0
    assert "permission denied" in _psql(application, "-c", "CREATE TABLE mine (id int)").stderr


def _psql(url: SplitResult, *arguments: str | Path, environment: dict[str, str] | None = None) -> CompletedProcess[str]:
    address = {"PGHOST": url.hostname, "PGPORT": str(url.port), "PGPASSWORD": unquote(url.password)}
    flags = ["-v", "ON_ERROR_STOP=1", "--no-password", "--no-psqlrc"]
    return subprocess.run(
        [bin_folder() / "psql", *flags, "--username", url.username, "--dbname", url.path[1:], *arguments],
        env={**(environment or {}), **address}, capture_output=True, text=True, timeout=TIMEOUT_S, check=False,
    )  # fmt: skip
