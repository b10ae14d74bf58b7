"""The errors: one class a code, told apart by class and by code, and whole again after a pickle."""

import copy
import pickle

import pytest

import switchgear as sg
from switchgear.actors import errors
from switchgear.actors.errors import ErrorCode, ServiceError

FIELDS = {"service": "accounts", "request_id": "r-1", "attempts": 3, "retryable": True, "retry_at": 12.5}

# class -> (its own fields, whether trying again can help, unless said otherwise)
ALL = {
    errors.CircuitOpen: ({}, True),
    errors.RateLimited: ({"status": 429, "headers": (("retry-after", "1"),), "body": b"slow"}, True),
    errors.Overloaded: ({}, True),
    errors.CallTimeout: ({}, True),
    errors.AuthFailed: ({}, False),
    errors.NoHealthyInstances: ({}, True),
    errors.HTTPStatusError: ({"status": 404, "headers": (("a", "b"),), "body": b"x"}, False),
    errors.TransportError: ({"processed": "no"}, True),
    errors.DecodeError: ({"field": "$.id"}, False),
    errors.ResponseTooLarge: ({}, False),
    errors.FallbackFailed: ({}, False),
    errors.ActorCrashed: ({}, True),
    errors.ShuttingDown: ({}, False),
    errors.UnknownService: ({}, False),
    errors.ConfigError: ({}, False),
    errors.InvalidRequest: ({}, False),
}


def test_one_class_a_code_and_one_code_a_class():
    classes = ServiceError.__subclasses__()
    assert set(classes) == set(ALL)
    assert sorted(cls.code for cls in classes) == sorted(ErrorCode)
    assert all(code == code.name == code.value for code in ErrorCode)
    assert all(getattr(sg, cls.__name__) is cls for cls in classes)
    assert all(cls.__doc__ for cls in classes)


@pytest.mark.parametrize(("cls", "own"), [(cls, own) for cls, (own, _) in ALL.items()])
@pytest.mark.parametrize("fields", [{}, FIELDS])
def test_it_is_whole_after_a_pickle_and_a_copy(cls, own, fields):
    error = cls("went wrong", **own, **fields)
    error.add_note("and so did the fallback")
    for twin in (*(pickle.loads(pickle.dumps(error, n)) for n in range(6)), copy.copy(error), copy.deepcopy(error)):
        assert type(twin) is cls
        assert vars(twin) == vars(error)
        assert (twin.args, str(twin), repr(twin)) == (error.args, str(error), repr(error))
        assert twin.code is cls.code
        for name, value in (own | fields).items():
            assert getattr(twin, name) == value


@pytest.mark.parametrize(("cls", "own", "retryable"), [(cls, *rest) for cls, rest in ALL.items()])
def test_it_says_where_and_what_and_whether_to_try_again(cls, own, retryable):
    error = cls("went wrong", **own)
    assert (error.service, error.request_id, error.attempts, error.retry_at) == (None, None, 0, None)
    assert error.retryable is retryable
    assert cls("x", retryable=not retryable, **own).retryable is not retryable
    assert str(error) == "went wrong"
    assert str(cls("went wrong", service="accounts", **own)) == "accounts: went wrong"
    assert repr(cls("went wrong", **own, **FIELDS)) == (
        f"{cls.__name__}('went wrong', service='accounts', request_id='r-1', code={cls.code.value})"
    )


def test_bodies_headers_and_causes_are_not_shown():
    error = errors.HTTPStatusError("answered 500", status=500, headers=(("x", "canary"),), body=b"canary")
    assert "canary" not in f"{error} {error!r} {error.args}"


@pytest.mark.parametrize("status", [400, 404, 408, 425, 429, 500, 503])
def test_a_status_says_by_itself_whether_to_try_again(status):
    assert errors.HTTPStatusError("x", status=status).retryable is (status not in {400, 404})


def test_they_are_also_what_python_calls_them():
    assert issubclass(errors.UnknownService, KeyError)
    assert issubclass(errors.ConfigError, ValueError)
    assert issubclass(errors.InvalidRequest, ValueError)
    assert not issubclass(errors.CallTimeout, TimeoutError)
    with pytest.raises(KeyError) as caught:
        raise errors.UnknownService("no service 'acounts'; known: accounts")
    assert str(caught.value) == "no service 'acounts'; known: accounts"  # a KeyError would quote it
    for cls in ALL:
        assert issubclass(cls, ServiceError)
        assert sum(issubclass(cls, other) for other in ALL) == 1
