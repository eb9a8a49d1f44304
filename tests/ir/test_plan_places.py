"""A plan meets another version of its model: entries follow module and op, not numbered names."""

from __future__ import annotations

from dataclasses import replace

from qcompiler.ir.plan import Choice, Plan
from qcompiler.ir.plan_edits import difference, edited
from qcompiler.ir.plan_places import Spot, matched, spots_of

INT8, FLOAT = "int8", "float32"


def _choice(precision: str, module: str | None, ops: str) -> Choice:
    return Choice(precision, module=module, ops=ops)


BEFORE = {
    "node_conv2d": _choice(INT8, "stem", "Conv+Relu"),
    "node_conv2d_1": _choice(FLOAT, "body.a", "Conv"),
    "node_add": _choice(INT8, "body", "Add"),
    "node_add_1": _choice(FLOAT, "body", "Add+Relu"),
}
AFTER = {
    "node_conv2d": _choice(INT8, "stem", "Conv+Relu"),
    "node_conv2d_1": _choice(INT8, "new", "Conv"),
    "node_conv2d_2": _choice(FLOAT, "body.a", "Conv+Relu"),
    "node_add": _choice(INT8, "body", "Add"),
    "node_add_1": _choice(FLOAT, "body", "Add+Relu"),
}


def test_an_inserted_block_takes_nobodys_entry() -> None:
    found = matched(BEFORE, spots_of(AFTER))
    assert found.entries["node_conv2d_2"] == "node_conv2d_1"
    assert found.entries["node_add_1"] == "node_add_1"  # the second of two in its module
    assert found.regions_left == ("node_conv2d_1",)
    assert found.entries_left == ()


def test_what_did_not_match_is_known_on_both_sides() -> None:
    found = matched(AFTER, spots_of({**BEFORE, "node_linear": _choice(INT8, "head", "Gemm")}))
    assert found.entries_left == ("node_conv2d_1",)
    assert found.regions_left == ("node_linear",)


def test_a_name_alone_is_not_enough_where_the_op_is_known() -> None:
    plan = {"Op_3": _choice(INT8, None, "Conv")}
    assert matched(plan, [Spot("Op_3", None, "Gemm")]).regions_left == ("Op_3",)
    assert matched(plan, [Spot("Op_3", None, "Conv")]).entries == {"Op_3": "Op_3"}


def test_older_files_go_by_name() -> None:
    old = {key: Choice(each.precision) for key, each in BEFORE.items()}
    found = matched(old, spots_of(BEFORE))
    assert found.entries == {key: key for key in BEFORE}


def test_a_file_made_without_module_paths_goes_by_name_and_op() -> None:
    plain = {key: replace(each, module=None) for key, each in BEFORE.items()}
    assert matched(plain, spots_of(BEFORE)).entries == {key: key for key in BEFORE}


def test_a_difference_is_told_by_place() -> None:
    found = difference(Plan("t", BEFORE), Plan("t", AFTER))
    assert found.text() == "+ new Conv 'node_conv2d_1': int8"
    other = edited(Plan("t", AFTER), {"body": FLOAT})
    told = difference(Plan("t", AFTER), other).text()
    assert told == "  body Add 'node_add': int8 -> float32"


def test_an_edit_names_a_subtree_or_an_op() -> None:
    plan = edited(Plan("t", AFTER), {"op:Conv": INT8, "body.*": FLOAT})
    assert plan.precisions == {
        "node_conv2d": INT8, "node_conv2d_1": INT8, "node_conv2d_2": FLOAT,
        "node_add": FLOAT, "node_add_1": FLOAT,
    }  # fmt: skip
    assert plan.choices["node_conv2d_2"].module == "body.a"


def test_a_file_keeps_the_order_of_the_graph_and_where_each_region_is() -> None:
    plan = Plan("t", AFTER)
    again = Plan.from_json(plan.to_json())
    assert again == plan
    assert list(again.choices) == list(AFTER)
    assert again.bare.choices["node_conv2d_2"] == Choice(FLOAT, module="body.a", ops="Conv+Relu")


def test_what_plans_say_of_the_whole_differs_in_words() -> None:
    first = Plan("a", BEFORE)
    found = difference(first, replace(first, target="b", rewritten=False, variants=("gptq",)))
    assert found.text().splitlines() == [
        "target: a -> b",
        "float rewrites: kept -> left out",
        "accuracy passes: those of the recipe -> gptq",
    ]
