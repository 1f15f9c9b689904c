import copy
import json

import pytest
from nautilus_trader.adapters.sandbox.config import SandboxExecutionClientConfig

from nautilus_ext.config import load
from nautilus_ext.errors import ConfigError

SANDBOX = "nautilus_trader.adapters.sandbox"
BYBIT = "nautilus_trader.adapters.bybit"


class KeepingConfig(SandboxExecutionClientConfig, frozen=True, kw_only=True):
    """Of a client that keeps files."""

    data_dir: str | None = None
    book: str | None = None


def base():
    return {
        "environment": "sandbox",
        "trader_id": "TEST-001",
        "data_clients": {
            "SIM": {
                "path": "nautilus_ext.simulation:SimulatedDataClientConfig",
                "factory": {"path": "nautilus_ext.simulation:SimulatedDataClientFactory"},
                "config": {"seed": 1},
            }
        },
        "exec_clients": {
            "SIM1": {
                "path": f"{SANDBOX}.config:SandboxExecutionClientConfig",
                "factory": {"path": f"{SANDBOX}.factory:SandboxLiveExecClientFactory"},
                "config": {"venue": "SIM1", "starting_balances": ["1000 USDT"], "account_type": "CASH"},
            }
        },
        "strategies": [
            {
                "strategy_path": "nautilus_ext.strategies:Rebalancer",
                "config_path": "nautilus_ext.strategies:RebalancerConfig",
                "config": {"order_id_tag": "R", "weights": {"BTCUSDT.SIM1": "0.5"}},
            }
        ],
        "backtest": {
            "venues": [
                {"name": "SIM1", "oms_type": "NETTING", "account_type": "CASH", "starting_balances": ["1000 USDT"]}
            ],
            "synthetic": {"seed": 1, "minutes": 1},
        },
    }


@pytest.fixture
def write(tmp_path):
    def write(document):
        path = tmp_path / "config.json"
        path.write_text(document if isinstance(document, str) else json.dumps(document))
        return path

    return write


def problems_of(path, *, backtest=False, environ=None):
    with pytest.raises(ConfigError) as caught:
        load(path, backtest=backtest, environ=environ or {})
    return {problem.path: problem.message for problem in caught.value.problems}


def test_a_good_file_loads_in_both_worlds(write):
    """The same file, without an error in it."""
    path = write(base())
    assert "paper" == load(path, environ={}).world
    assert "backtest" == load(path, backtest=True, environ={}).world


def test_the_suites_actors_come_first_and_the_users_follow(write):
    """The order of the expansion is the order in which Nautilus builds them."""
    document = base()
    document["actors"] = [
        {"actor_path": "nautilus_ext.logs:EventLog", "config_path": "nautilus_ext.logs:EventLogConfig", "config": {}}
    ]
    actors = load(write(document), environ={}).tree["actors"]
    paths = [each["actor_path"].partition(":")[2] for each in actors]
    assert ["Restore", "Mirror", "PortfolioStore", "AlertDesk", "RiskGate", "EventLog", "EventLog"] == paths
    assert "event" == actors[1]["config"]["flush"]
    assert {"log_orders": True, "log_fills": True} == actors[5]["config"]
    assert {} == actors[6]["config"]


def test_a_backtest_mirrors_in_batches_and_a_file_may_do_without(write):
    """The policy follows the world; `enabled: false` leaves both actors out."""
    document = base()
    document["backtest"] = {"venues": [], "synthetic": {}}
    tree = load(write(document), backtest=True, environ={}).tree
    assert "batch" == tree["actors"][0]["config"]["flush"]
    document["persistence"] = {"enabled": False}
    document["risk"] = {"enabled": False}
    paths = [each["actor_path"] for each in load(write(document), environ={}).tree["actors"]]
    assert ["nautilus_ext.risk:AlertDesk", "nautilus_ext.logs:EventLog"] == paths


def test_every_engine_shuts_down_in_good_order(write):
    """An exception in a subscriber must not end the process silently."""
    tree = load(write(base()), environ={}).tree
    assert all(tree[name]["graceful_shutdown_on_exception"] for name in ("data_engine", "risk_engine", "exec_engine"))


def other_venue(document):
    client = copy.deepcopy(document["exec_clients"]["SIM1"])
    client["config"]["venue"] = "SIM9"
    return client


def exec_config(document):
    return document["exec_clients"]["SIM1"]["config"]


def strategy_config(document):
    return document["strategies"][0]["config"]


CASES = [
    (lambda d: strategy_config(d).update(order_id_tag="A-"), "strategies[0].config.order_id_tag", "hyphens"),
    (lambda d: strategy_config(d).update(oms_type="-"), "strategies[0].config.oms_type", "OmsType"),
    (lambda d: d.update(logging={"log_level": "VERBOSE"}), "logging.log_level", "no log level"),
    (lambda d: d.update(logging={"log_component_levels": {"a": "b"}}), "logging.log_component_levels", "no log level"),
    (lambda d: d.update(risk_engine={"max_order_submit_rate": "-1"}), "risk_engine.max_order_submit_rate", "no rate"),
    (
        lambda d: d["exec_clients"]["SIM1"]["config"].update(venue="-SIM1"),
        "exec_clients.SIM1.config.venue",
        "VenueName",
    ),
    (lambda d: d["exec_clients"].update(B=d["exec_clients"]["SIM1"]), "exec_clients.B.config.venue", "one account"),
    (lambda d: d.update(data_dir="~nobody-has-this-name/x"), "data_dir", "home"),
    (lambda d: strategy_config(d).update(tolerance="\ud800"), "", "half a character"),
    (lambda d: d.pop("trader_id"), "trader_id", "is missing"),
    (lambda d: d.update(trader_id="A"), "trader_id", "no TraderId"),
    (lambda d: d.update(trader_id=7), "trader_id", "expected"),
    (lambda d: d.update(environment="paper"), "environment", "no Environment"),
    (lambda d: d.update(environment="backtest"), "environment", "--backtest"),
    (lambda d: d.update(stratgies=[]), "stratgies", 'did you mean "strategies"?'),
    (lambda d: d.update(exec_engine={"reconcilation": True}), "exec_engine.reconcilation", '"reconciliation"'),
    (lambda d: d.update(database={"pool_size": "many"}), "database.pool_size", "found 'many'"),
    (lambda d: d.update(database={"pool_size": 0}), "database.pool_size", ">= 1"),
    (lambda d: d.update(logging_ext={"level": "LOUD"}), "logging_ext.level", "LOUD"),
    (lambda d: d.update(timeout_post_stop=9), "timeout_post_stop", "lower"),
    (lambda d: d.update(timeout_post_stop=10**400), "timeout_post_stop", "lower"),
    (
        lambda d: d.update(exec_engine={"graceful_shutdown_on_exception": False}),
        "exec_engine.graceful_shutdown_on_exception",
        "must stay true",
    ),
    (lambda d: d["data_clients"].update({"SIM-A": {}, "SIM-B": {}}), "data_clients.SIM-B", "clashes"),
    (lambda d: d["exec_clients"].update({"S M": other_venue(d)}), "exec_clients.S M", "ClientId"),
    (lambda d: d["exec_clients"]["SIM1"].pop("factory"), "exec_clients.SIM1.factory.path", "is missing"),
    (
        lambda d: d["exec_clients"]["SIM1"].update(path="nautilus_trader.nowhere:X"),
        "exec_clients.SIM1.path",
        "there is no module 'nautilus_trader.nowhere'",
    ),
    (
        lambda d: d["exec_clients"]["SIM1"].update(path=d["data_clients"]["SIM"]["path"]),
        "exec_clients.SIM1.path",
        "no subclass of LiveExecClientConfig",
    ),
    (
        lambda d: d["exec_clients"]["SIM1"]["config"].update(oms_type="NET"),
        "exec_clients.SIM1.config.oms_type",
        '"NETTING"',
    ),
    (
        lambda d: d["exec_clients"]["SIM1"]["config"].update(starting_balances=["x USDT"]),
        "exec_clients.SIM1.config.starting_balances",
        "no amount of money",
    ),
    (
        lambda d: d["strategies"][0].update(strategy_path="nautilus_ext.strategies:Rebalancr"),
        "strategies[0].strategy_path",
        'did you mean "nautilus_ext.strategies:Rebalancer"?',
    ),
    (lambda d: d["strategies"][0].update(strategy_path="Rebalancer"), "strategies[0].strategy_path", "no path"),
    (
        lambda d: d["strategies"][0]["config"].update(weights={"BTCUSDT": "0.5"}),
        "strategies[0].config",
        "BTCUSDT",
    ),
    (
        lambda d: d["strategies"][0]["config"].update(order_id_tag="é"),
        "strategies[0].config.order_id_tag",
        "plain ASCII",
    ),
    (lambda d: d["strategies"][0]["config"].update(tolerence="1"), "strategies[0].config.tolerence", '"tolerance"'),
    (lambda d: d.update(strategies={}), "strategies", "expected"),
    (lambda d: d["strategies"].append(d["strategies"][0]), "strategies[1].config.order_id_tag", "of its own"),
    (
        lambda d: d["backtest"]["venues"][0].update(account_type="CASHH"),
        "backtest.venues[0].account_type",
        '"CASH"',
    ),
    (lambda d: d["backtest"]["venues"][0].update(name="é"), "backtest.venues[0].name", "plain ASCII"),
    (
        lambda d: d["backtest"]["synthetic"].update(listings=[{"instrument_id": "XUSDT.SIM1", "kind": "sport"}]),
        "backtest.synthetic.listings[0].kind",
        "sport",
    ),
    (lambda d: d["backtest"].update(end="nonsense"), "backtest.end", "ISO 8601"),
    (lambda d: d["backtest"]["synthetic"].update(start="garbage"), "backtest.synthetic.start", "ISO 8601"),
    (
        lambda d: d["backtest"]["synthetic"].update(minutes=10_080, interval_ms=1),
        "backtest.synthetic.minutes",
        "quotes",
    ),
    (
        lambda d: d["backtest"].update(data=[{"catalog_path": "x", "data_cls": "nautilus_trader.model.data:QuoteTik"}]),
        "backtest.data[0].data_cls",
        "QuoteTick",
    ),
]


@pytest.mark.parametrize(("spoil", "path", "part"), CASES, ids=[case[1] + " " + case[2][:12] for case in CASES])
def test_each_mistake_is_named_by_its_json_path_and_cure(write, spoil, path, part):
    """One mistake, one message, at the place where the operator made it."""
    document = base()
    spoil(document)
    problems = problems_of(write(document))
    assert path in problems
    assert part in problems[path]
    assert 1 == len([name for name in problems if not name.startswith("data_clients.SIM-")] or [path])


def test_all_mistakes_come_at_once(write):
    """Nobody should have to start ten times to find ten mistakes."""
    document = base()
    spoiled = 0
    for spoil, path, _ in CASES[1:]:
        candidate = copy.deepcopy(document)
        try:
            spoil(candidate)
            expected = set(problems_of(write(document))) if spoiled else set()
            found = set(problems_of(write(candidate)))
        except (AttributeError, KeyError, TypeError):
            continue
        if path in found and expected <= found:
            document, spoiled = candidate, spoiled + 1
    assert spoiled > 12
    assert spoiled <= len(problems_of(write(document)))


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ('{"a": 1,}', "line 1, column 9"),
        ('{\n "a": \n}', "line 3, column 1"),
        ("", "line 1, column 1"),
        ('{"a": 1} x', "line 1, column 10"),
    ],
)
def test_broken_json_is_shown_by_line_and_column(write, text, place):
    """As an editor counts them."""
    assert place in problems_of(write(text))


def test_a_key_that_stands_twice_is_not_lost(write):
    """JSON would silently keep the last of the two."""
    assert "stands twice" in problems_of(write('{"trader_id": "A-1", "trader_id": "B-1"}'))["trader_id"]


@pytest.mark.parametrize("document", ["[]", "null", "3", '"x"'])
def test_a_file_that_is_no_object_is_refused(write, document):
    """Valid JSON, but no config."""
    assert "expected a JSON object" in problems_of(write(document))[""]


def test_a_missing_file_and_a_folder_are_refused(tmp_path):
    """The message says which path."""
    with pytest.raises(ConfigError, match="no such file"):
        load(tmp_path / "none.json")
    with pytest.raises(ConfigError, match="cannot be read"):
        load(tmp_path)


def test_variables_of_the_other_world_are_not_asked_for(write):
    """Paper and backtest need no venue key."""
    document = base()
    document["exec_clients"]["SIM1"]["config"]["base_currency"] = "${ONLY_LIVE}"
    document["backtest"]["start"] = "${ONLY_BACKTEST}"
    path = write(document)
    assert ["exec_clients.SIM1.config.base_currency"] == list(problems_of(path))
    assert ["backtest.start"] == list(problems_of(path, backtest=True))


def test_text_from_the_environment_becomes_a_number_where_one_is_wanted(write):
    """Everything in the environment is text."""
    document = base()
    document["database"] = {"pool_size": "${POOL}"}
    document["strategies"][0]["config"]["interval_s"] = "${EVERY}"
    path = write(document)
    config = load(path, environ={"POOL": "7", "EVERY": "9"})
    assert 7 == config.suite.database.pool_size
    assert 9 == config.tree["strategies"][0]["config"]["interval_s"]
    assert "expected" in problems_of(path, environ={"POOL": "seven", "EVERY": "9"})["database.pool_size"]


@pytest.mark.parametrize(
    ("document", "path", "part"),
    [
        ({"trading_node": {}}, "trading_node", "top level"),
        ({"external_adapters": {"DERIBIT": {}}}, "external_adapters", "exec_clients"),
        (
            {"risk_engine": {"max_orders_per_second": 7}},
            "risk_engine.max_orders_per_second",
            "risk.max_orders_per_second",
        ),
        ({"risk_engine": {"max_total_notional": "1"}}, "risk_engine.max_total_notional", "risk.max_total_notional"),
        ({"portfolio": {"accounts": []}}, "portfolio.accounts", "exec client"),
        ({"router": {}}, "router", "until it comes"),
        ({"logging": {"level": "INFO", "log_orders": True}}, "logging.log_orders", "logging_ext.log_orders"),
    ],
)
def test_keys_of_the_requirements_are_answered_with_their_new_name(write, document, path, part):
    """Whoever brings the documented configuration is told how each key is called here."""
    problems = problems_of(write({**base(), **document}))
    assert part in problems[path]


def test_a_secret_in_the_file_is_refused_without_showing_it(write):
    """Secrets come from the environment."""
    document = base()
    document["exec_clients"]["BYBIT"] = {
        "path": f"{BYBIT}.config:BybitExecClientConfig",
        "factory": {"path": f"{BYBIT}.factories:BybitLiveExecClientFactory"},
        "config": {"api_key": "${KEY}", "api_secret": "planted-in-the-file"},
    }
    problems = problems_of(write(document), environ={"KEY": "planted-in-env"})
    assert "${BYBIT_API_SECRET}" in problems["exec_clients.BYBIT.config.api_secret"]
    assert "planted" not in str(problems)


def test_a_clients_secret_stays_a_placeholder_until_the_client_is_built(write):
    """What Nautilus holds, prints or streams has no secret in it."""
    document = base()
    document["exec_clients"]["BYBIT"] = {
        "path": f"{BYBIT}.config:BybitExecClientConfig",
        "factory": {"path": f"{BYBIT}.factories:BybitLiveExecClientFactory"},
        "config": {"api_key": "${KEY}", "api_secret": "${SECRET}"},
    }
    document["database"] = {"url": "postgresql://u:planted-db@h/d"}
    config = load(write(document), environ={"KEY": "planted-key", "SECRET": "planted-secret"})
    shown = f"{config} {config.tree} {config.suite} {config.exec_clients} {config.secrets}"
    assert "planted" not in shown
    assert {"planted-key", "planted-secret", "planted-db"} <= config.secrets.masked
    assert "planted-secret" == config.secrets.reveal("${SECRET}")


def test_what_json_allows_and_no_config_needs_is_refused(write):
    """A number of thousands of digits, a nesting without end: one line each."""
    assert "too long" in problems_of(write('{"timeout_connection": ' + "9" * 5000 + "}"))[""]
    assert "levels deep" in problems_of(write('{"actors": ' + "[" * 200 + "]" * 200 + "}"))[""]
    assert "levels deep" in problems_of(write('{"actors": ' + "[" * 200_000 + "]" * 200_000 + "}"))[""]


def test_a_mark_in_front_of_the_file_is_no_fault(tmp_path):
    """Some editors put one there."""
    path = tmp_path / "config.json"
    path.write_bytes(b"\xef\xbb\xbf" + json.dumps(base()).encode())
    assert "TEST-001" == load(path, environ={}).trader_id


def test_variables_stand_for_numbers_and_objects_of_the_other_world(write):
    """Not filled in there, and no reason to fail."""
    document = base()
    document["backtest"]["synthetic"]["minutes"] = "${BT_MINUTES:-10}"
    document["exec_clients"]["SIM1"]["config"] = "${WHOLE}"
    path = write(document)
    assert 10 == load(path, backtest=True, environ={}).suite.backtest.synthetic.minutes
    assert "exec_clients.SIM1.config" in problems_of(path)
    document["exec_clients"] = base()["exec_clients"]
    assert load(write(document), environ={}).suite.backtest is None


def test_a_strategy_that_raises_its_secret_shows_it_in_no_problem(write):
    """What a constructor says is masked like everything else."""
    document = base()
    document["strategies"][0]["config"]["tolerance"] = "${DESK_TOKEN}"
    problems = problems_of(write(document), environ={"DESK_TOKEN": "planted-1.5"})
    assert "strategies[0].config.tolerance" in problems
    assert "planted" not in str(problems)


def test_streaming_is_refused_when_it_would_write_a_secret(write):
    """Nautilus writes its config to a file in clear."""
    document = base() | {"streaming": {"catalog_path": "x"}, "exec_engine": {"reconciliation": False}}
    document["strategies"][0]["config"]["order_id_tag"] = "${DESK_TOKEN}"
    problems = problems_of(write(document), environ={"DESK_TOKEN": "planted"})
    assert "strategies[0].config.order_id_tag" in problems["streaming"]


def test_what_a_client_leaves_out_comes_from_the_run(tmp_path, write):
    """A client that keeps files keeps them in the data folder, book by book; what the file says stays."""
    document = base()
    document["data_dir"] = str(tmp_path)
    document["exec_clients"]["SIM2"] = copy.deepcopy(document["exec_clients"]["SIM1"])
    for name, given in (("SIM1", {}), ("SIM2", {"book": "MINE"})):
        client = document["exec_clients"][name]
        client["path"] = f"{__name__}:KeepingConfig"
        client["config"] = {"venue": name, "starting_balances": ["1000 USDT"], **given}
    config = load(write(document)).for_run("TEST-001.paper", run=1, epoch=1)
    found = {spec.name: (spec.config.get("data_dir"), spec.config["book"]) for spec in config.exec_clients}
    assert {"SIM1": (str(tmp_path), "TEST-001.paper"), "SIM2": (str(tmp_path), "MINE")} == found
