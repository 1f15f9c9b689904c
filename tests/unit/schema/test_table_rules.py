"""What every table keeps to."""

from __future__ import annotations

import pytest

from nautilus_ext.messages import RiskDecision, RoutingDecision
from nautilus_ext.persistence import rows
from nautilus_ext.persistence.rows import KEYS
from nautilus_ext.schema.tables import metadata

TABLES = metadata.sorted_tables
HOT = ["order_events", "unified_orders", "unified_fills", "venue_positions", "unified_positions", "risk_decisions"]
ROWS = {
    rows.JournalRow: "order_events",
    rows.OrderRow: "unified_orders",
    rows.FillRow: "unified_fills",
    rows.PositionRow: "venue_positions",
    rows.UnifiedPositionRow: "unified_positions",
    rows.AccountRow: "account_states",
    rows.InstrumentRow: "instruments",
    rows.RiskRow: "risk_decisions",
    rows.RoutingRow: "routing_decisions",
    rows.RejectionRow: "rejected_events",
}
ROADMAP_INDEXES = [
    "strategy_id",
    "created_at",
    "status strategy_id",
    "venue status",
    "operation",
    "atomic_group_id where atomic_group_id IS NOT NULL",
    "tx_hash where tx_hash IS NOT NULL",
    "operation status",
]


@pytest.mark.parametrize("table", TABLES, ids=str)
def test_keys_start_with_the_book(table):
    """Rows of two books never meet in one key."""
    unique = [index for index in table.indexes if index.unique]
    keys = [list(table.primary_key.columns), *(list(index.columns) for index in unique)]
    assert [key[0].name for key in keys] == ["book_id"] * len(keys)


@pytest.mark.parametrize("table", TABLES, ids=str)
def test_table_and_columns_say_what_they_hold(table):
    """Who looks into the database with any tool finds the meaning there."""
    assert table.comment
    assert [column.name for column in table.columns if not column.comment] == []


@pytest.mark.parametrize("table", TABLES, ids=str)
def test_the_application_never_deletes(table):
    """Each table says what the application's role may do, and what was written stays; old signals alone may go."""
    granted = set(table.info["grant"].replace(",", "").split())
    assert "SELECT" in granted
    assert not {"TRUNCATE", "ALL"} & granted
    assert (table.name == "signal_log") == ("DELETE" in granted)


@pytest.mark.parametrize("name", ["order_events", "risk_decisions", "routing_decisions", "rejected_events"])
def test_what_happened_is_only_added_to(name):
    """The journal and what stands beside it tell one history, whoever asks later."""
    assert metadata.tables[name].info["grant"] == "SELECT, INSERT"


@pytest.mark.parametrize("table", TABLES, ids=str)
def test_amounts_are_exact_and_texts_have_no_limit(table):
    """No venue's id is too long, no price is rounded, and no moment lacks its zone."""
    kinds = {type(column.type).__name__ for column in table.columns}
    assert kinds <= {"Text", "Integer", "BigInteger", "Numeric", "Boolean", "DateTime", "JSONB", "ARRAY", "LargeBinary"}
    assert [
        c.name for c in table.columns if getattr(c.type, "precision", None) or getattr(c.type, "length", None)
    ] == []
    assert [c.name for c in table.columns if getattr(c.type, "timezone", True) is False] == []
    assert [c.name for c in table.columns if c.name.endswith("_ns") and c.type.python_type is not int] == []


@pytest.mark.parametrize("name", HOT)
def test_tables_that_every_event_writes_refer_to_no_other(name):
    """A foreign key would lock a second row for each event."""
    assert metadata.tables[name].foreign_keys == set()


@pytest.mark.parametrize("table", TABLES, ids=str)
def test_indexes_serve_one_book(table):
    """A question is about one book; the index on last_heartbeat asks for nodes of all books."""
    first = {index.name: next(iter(index.columns)).name for index in table.indexes}
    first.pop("ix_instance_metadata_last_heartbeat", None)
    assert set(first.values()) <= {"book_id"}


@pytest.mark.parametrize("index", ROADMAP_INDEXES)
def test_the_indexes_of_the_roadmap_exist(index):
    """Each within its book; of those that are mostly empty only what is there."""
    columns, _, where = index.partition(" where ")
    found = {
        (" ".join(column.name for column in found.columns), str(found.dialect_options["postgresql"]["where"]))
        for found in metadata.tables["unified_orders"].indexes
    }
    assert (f"book_id {columns}", where or "None") in found


@pytest.mark.parametrize(
    ("table", "message"), [("risk_decisions", RiskDecision), ("routing_decisions", RoutingDecision)]
)
def test_decisions_have_the_fields_of_their_message(table, message):
    """What a capability says is what the table keeps, under the same names."""
    names = tuple(column.name for column in metadata.tables[table].columns)
    assert names == ("book_id", "run", "seq", *message.__struct_fields__)


@pytest.mark.parametrize(("row", "table"), ROWS.items(), ids=lambda value: getattr(value, "__name__", value))
def test_computed_rows_fit_their_tables(row, table):
    """A row is copied into its table field by field: same names, same order, same key."""
    columns = list(metadata.tables[table].columns)
    expected = [column.name for column in columns if column.server_default is None or column.name in row._fields]
    assert expected == list(row._fields)
    if row in KEYS:
        assert {column.name for column in metadata.tables[table].primary_key} == {"book_id", *KEYS[row]}


@pytest.mark.parametrize(("row", "table"), ROWS.items(), ids=lambda value: getattr(value, "__name__", value))
def test_a_field_that_may_be_none_has_a_column_that_may_be_null(row, table):
    """Otherwise the database would refuse a row that the fold finds right."""
    may_be_none = {
        name for name, kind in row.__annotations__.items() if "None" in str(getattr(kind, "__forward_arg__", kind))
    }
    assert may_be_none <= {column.name for column in metadata.tables[table].columns if column.nullable}
