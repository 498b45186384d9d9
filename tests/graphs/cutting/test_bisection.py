"""Finding the first wrong node by asking about few tensors at a time."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import onnx
import onnx_ir as ir

from graphs.cutting.bisection import Bisection

ALIKE = 60.0


def chain(length: int) -> ir.Model:
    body = "\n".join(f"t{i + 1} = Relu (t{i})" for i in range(length))
    return parsed(f"(float[4] t0) => (float[4] t{length}) {{ {body} }}")


def parsed(graph: str) -> ir.Model:
    proto = onnx.parser.parse_model(f'<ir_version: 10, opset_import: ["" : 21]> net {graph}')
    for node in proto.graph.node:
        node.name = node.output[0]
    return ir.from_proto(onnx.shape_inference.infer_shapes(proto))


class Asked:
    """Answers with the figures of ``bad`` tensors, and ``ALIKE`` for others; keeps what it was asked."""

    def __init__(self, bad: Mapping[str, float], unreadable: Sequence[str] = ()) -> None:
        self.bad, self.unreadable = bad, unreadable
        self.rounds: list[list[str]] = []

    def __call__(self, names: Sequence[str]) -> dict[str, float]:
        self.rounds.append(list(names))
        return {name: self.bad.get(name, ALIKE + 10) for name in names if name not in self.unreadable}


def test_a_thousand_nodes_take_four_rounds_of_eight() -> None:
    for first in (1, 137, 500, 999):
        asked = Asked({f"t{i}": 30.0 for i in range(first, 1001)})
        found = Bisection(chain(1000), asked).first_bad("t1000", 30.0, ALIKE)
        assert found is not None and found.node == f"t{first}" and found.begins_here
        assert len(asked.rounds) <= 4 and max(map(len, asked.rounds)) <= 8


BRANCHES = """(float[4] x) => (float[4] y) {
  a = Relu (x)
  left = Exp (a)
  left2 = Neg (left)
  right = Abs (a)
  right2 = Sqrt (right)
  y = Add (left2, right2)
}"""


def test_a_branch_that_is_right_says_nothing_of_the_other() -> None:
    """Right tensors stand behind wrong ones in graph order: what is wrong lies in the other branch."""
    found = Bisection(parsed(BRANCHES), Asked({"left": 20.0, "left2": 20.0}), width=1).first_bad("y", 21.0, ALIKE)
    assert found is not None and found.node == "left" and found.op_type == "Exp" and found.value == 20.0
    assert found.before == ALIKE + 10


def test_the_node_that_adds_an_error_is_found_where_another_makes_it_grow() -> None:
    """An error of 54 dB that grows by a little at each node: half way to alike it only passes through."""
    grown = {f"t{i}": 54.0 - 2 * (i - 5) for i in range(5, 18)}
    found = Bisection(chain(17), Asked(grown)).first_bad("t17", grown["t17"], ALIKE)
    assert found is not None and found.node == "t5" and found.begins_here


def test_an_error_that_only_grows_is_told_from_one_that_begins() -> None:
    slow = {f"t{i}": 62.0 - 2 * i for i in range(1, 17)}
    found = Bisection(chain(16), Asked(slow)).first_bad("t16", slow["t16"], ALIKE)
    assert found is not None and not found.begins_here


def test_what_cannot_be_read_is_passed_over() -> None:
    asked = Asked({f"t{i}": 30.0 for i in range(3, 9)}, unreadable=("t3", "t4"))
    found = Bisection(chain(8), asked).first_bad("t8", 30.0, ALIKE)
    assert found is not None and found.node == "t5" and found.before == ALIKE + 10


def test_it_stops_after_so_many_rounds_with_the_nearest_that_it_knows() -> None:
    asked = Asked({f"t{i}": 30.0 for i in range(300, 1001)})
    found = Bisection(chain(1000), asked, rounds=2).first_bad("t1000", 30.0, ALIKE)
    assert found is not None and len(asked.rounds) == 2 and 300 < int(found.node[1:]) < 320


def test_the_first_node_reads_the_graphs_inputs() -> None:
    found = Bisection(chain(3), Asked({"t1": 3.0, "t2": 3.0})).first_bad("t3", 3.0, ALIKE)
    assert found is not None and found.node == "t1" and math.isinf(found.before)


LOOPED = """(float[4] x, int64 n, bool go) => (float[4] y) {
  a = Exp (x)
  y = Loop (n, go, x) <body = inner (int64 i, bool on, float[4] s) => (bool on2, float[4] s2) {
    on2 = Identity (on)
    s2 = Add (s, a)
  }>
}"""


def test_what_a_body_reads_is_read_by_its_node() -> None:
    found = Bisection(parsed(LOOPED), Asked({"a": 10.0})).first_bad("y", 10.0, ALIKE)
    assert found is not None and found.node == "a"


def test_what_is_made_of_shapes_says_nothing_of_what_it_is_the_shape_of() -> None:
    """It is right whatever the data: the nodes before it are not out of question for that."""
    model = parsed("""(float[n, 4] x) => (float[n, 4] y) {
      a = Relu (x)
      b = Exp (a)
      size = Shape (b)
      wide = Cast <to = 1> (size)
      few = ReduceMax <keepdims = 0> (wide)
      y = Mul (b, few)
    }""")
    asked = Asked({"b": 20.0, "y": 20.0})
    found = Bisection(model, asked).first_bad("y", 20.0, ALIKE)
    assert found is not None and found.node == "b"
    assert not {"wide", "few"} & {name for names in asked.rounds for name in names}
