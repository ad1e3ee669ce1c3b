"""Errors: one root, and each with a code of its own."""

import importlib
import pkgutil
from collections import Counter

import kuber_cron
from kuber_cron.common.errors import KuberCronError

# One class, many faults: the constructor takes the code.
TAKE_THEIR_CODE = {"RefusedError", "RequestError", "ScheduleError"}


def all_errors():
    for module in pkgutil.walk_packages(kuber_cron.__path__, "kuber_cron."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    found, left = [], [KuberCronError]
    while left:
        kind = left.pop()
        found.append(kind)
        left.extend(kind.__subclasses__())
    return [kind for kind in dict.fromkeys(found) if kind.__module__.startswith("kuber_cron.")]


def test_each_code_is_defined_by_one_error():
    codes = Counter(kind.code for kind in all_errors() if "code" in vars(kind))
    assert [code for code, count in codes.items() if count > 1] == []


def test_each_error_has_a_code_of_its_own_or_of_a_class_that_it_is_a_case_of():
    without = {kind.__name__ for kind in all_errors() if getattr(kind, "code", "") == KuberCronError.code}
    assert without == {"KuberCronError"} | TAKE_THEIR_CODE


def test_an_error_carries_code_message_and_hint():
    error = KuberCronError("it failed", hint="try again")
    assert (error.code, error.message, error.hint, str(error)) == (
        "error",
        "it failed",
        "try again",
        "it failed",
    )
