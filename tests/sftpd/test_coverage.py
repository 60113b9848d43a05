"""Which bytes have come is known exactly, in whatever order they come."""

from hypothesis import given
from hypothesis import strategies as st

from sftpd.coverage import Coverage

SMALL = st.integers(0, 40)


@given(st.lists(st.one_of(st.tuples(st.just("add"), SMALL, st.integers(0, 9)), st.tuples(st.just("cut"), SMALL))))
def test_coverage_agrees_with_a_set_of_bytes(steps: list[tuple[object, ...]]) -> None:
    coverage, there = Coverage(), set[int]()
    for step in steps:
        match step:
            case ("add", int() as offset, int() as length):
                coverage.add(offset, length)
                there |= set(range(offset, offset + length))
            case ("cut", int() as size):
                coverage.cut(size)
                there = {byte for byte in there if byte < size}
        prefix = next(byte for byte in range(100) if byte not in there)
        assert coverage.prefix == prefix
        assert coverage.end == max(there, default=-1) + 1
        assert coverage.whole == (there == set(range(prefix)))
        assert coverage.islands == sorted(coverage.islands)


def test_blocks_that_fill_a_gap_join_what_lies_on_both_sides() -> None:
    coverage = Coverage()
    for offset in (0, 20, 40, 60):
        coverage.add(offset, 10)
    assert coverage.islands == [(20, 30), (40, 50), (60, 70)]
    coverage.add(30, 10)
    assert coverage.islands == [(20, 50), (60, 70)]
    coverage.add(10, 10)
    assert (coverage.prefix, coverage.islands) == (50, [(60, 70)])
