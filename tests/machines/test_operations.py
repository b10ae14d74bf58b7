"""The figures of operations: a name for the first hundred, one for all others, and nothing is counted twice."""

from hypothesis import given, settings
from hypothesis import strategies as st

from switchgear.actors.machines.meter import Meter, add, empty
from switchgear.actors.machines.operations import MOST, OTHER

calls = st.lists(st.tuples(st.integers(0, 150), st.booleans()), max_size=400)


@settings(max_examples=50)
@given(calls, st.integers(1, 50))
def test_the_first_hundred_have_a_name_whatever_is_taken_between(made, every):
    meter, total = Meter(), empty()
    named, expected = [], {}
    for index, (number, failed) in enumerate(made):
        operation = ("GET", f"/{number}/{{id}}")
        if operation not in named and len(named) < MOST:
            named.append(operation)
        name = operation if operation in named else OTHER
        count, errors = expected.get(name, (0, 0))
        expected[name] = (count + 1, errors + failed)
        meter.operated(operation, "TIMEOUT" if failed else None, 1.0)
        if index % every == 0:
            add(total, meter.take())
    add(total, meter.take())
    found = {name: (tally.count, sum(tally.errors.values())) for name, tally in total.operations.items()}
    assert found == expected
    assert len(found) <= MOST + 1


def test_a_hundred_and_one_names_however_many_there_are():
    meter = Meter()
    for number in range(1000):
        meter.operated(("GET", f"/{number}"), None, 1.0)
    operations = meter.take().operations
    assert len(operations) == MOST + 1
    assert operations[OTHER].count == 1000 - MOST
