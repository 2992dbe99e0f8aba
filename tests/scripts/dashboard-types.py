"""dashboard-types.py SDK DASHBOARD: reads a dashboard with the types that Grafana publishes, unpacked in the folder
SDK. Prints one line for each unknown field and each value of a wrong type, and nothing otherwise.

The types do not check their input: they drop an unknown field and keep a wrong value. So this script compares each
value with the annotation of its attribute, and their output with the input.
"""

import enum
import json
import sys
import types
import typing

# An export adds these around the dashboard.
WRAPPER = {"__inputs", "__elements", "__requires"}
# Prometheus' part of an annotation; the types leave it to the data source.
PROMETHEUS_ANNOTATION = {"expr", "titleFormat", "textFormat", "step", "useValueForTime"}


def main():
    folder, file = sys.argv[1:]
    sys.path.insert(0, folder)
    from grafana_foundation_sdk.cog.encoder import JSONEncoder
    from grafana_foundation_sdk.cog.plugins import register_default_plugins
    from grafana_foundation_sdk.models.dashboard import Dashboard

    register_default_plugins()
    with open(file, encoding="utf-8") as text:
        source = {key: value for key, value in json.load(text).items() if key not in WRAPPER}
    dashboard = Dashboard.from_json(source)
    written = json.loads(JSONEncoder().encode(dashboard))
    for line in [*wrong_types(dashboard, Dashboard, ""), *lost(source, written, "")]:
        print(line)


def wrong_types(value, kind, place):
    """Each place below this one whose value does not have the annotated type."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin in (typing.Union, types.UnionType):
        fit = [one for one in arguments if one is type(value)] or [one for one in arguments if one is not type(None)]
        problems = [list(wrong_types(value, one, place)) for one in fit]
        # The problems of the best matching type.
        yield from min(problems, key=len)
    elif origin is typing.Literal:
        if value not in arguments:
            yield f"{place}: {value!r} is not one of {arguments}"
    elif origin is list:
        if not isinstance(value, list):
            yield f"{place}: {value!r} is not a list"
            return
        for index, one in enumerate(value):
            yield from wrong_types(one, arguments[0], f"{place}[{index}]")
    elif origin is dict:
        if not isinstance(value, dict):
            yield f"{place}: {value!r} is not an object"
            return
        for key, one in value.items():
            yield from wrong_types(one, arguments[1], f"{place}.{key}")
    elif kind in (object, typing.Any):
        # The types leave this open, such as a panel's options: the value's own class has annotations.
        if hasattr(type(value), "from_json"):
            yield from wrong_attributes(value, place)
    elif kind is type(None):
        if value is not None:
            yield f"{place}: {value!r} is not null"
    elif kind is float:
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            yield f"{place}: {value!r} is not a number"
    elif isinstance(kind, type) and issubclass(kind, enum.Enum):
        if value not in [one.value for one in kind] and value not in list(kind):
            yield f"{place}: {value!r} is not one of {[one.value for one in kind]}"
    elif isinstance(value, dict) and hasattr(kind, "from_json"):
        # The types do not read some objects.
        read = kind.from_json(value)
        yield from wrong_attributes(read, place)
        yield from lost(value, json.loads(json.dumps(read.to_json())), place)
    elif not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        yield f"{place}: {value!r} is not of the type {kind.__name__}"
    elif hasattr(type(value), "from_json"):
        # The value's own class is one of several, such as a data source's query.
        yield from wrong_attributes(value, place)


def wrong_attributes(value, place):
    for name, kind in typing.get_type_hints(type(value)).items():
        yield from wrong_types(getattr(value, name), kind, f"{place}.{name}")


def lost(source, written, place):
    """Each place of the source that is missing or different in the output."""
    if isinstance(source, dict) and isinstance(written, dict):
        for key, value in source.items():
            where = f"{place}.{key}"
            if key in written:
                yield from lost(value, written[key], where)
            elif not (value is None or place.startswith(".annotations.list[") and key in PROMETHEUS_ANNOTATION):
                yield f"{where}: unknown"
    elif isinstance(source, list) and isinstance(written, list) and len(source) == len(written):
        for index, (one, other) in enumerate(zip(source, written)):
            yield from lost(one, other, f"{place}[{index}]")
    elif source != written:
        yield f"{place}: {source!r} is read as {written!r}"


if __name__ == "__main__":
    main()
