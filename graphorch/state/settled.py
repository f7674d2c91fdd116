"""Core schemas for values that pydantic made already: they check a value, and convert nothing.

A node returns an instance of a model, so its values went through validation when the node made it.
Validating them by the same schema again would convert them again: cents would become euros twice,
text would be decoded twice, and a nested model would look for its values under their aliases. The
settled schema of a field checks instead what a finished value can be.

Rule 1: a value that the original schema returned passes, and nothing in it is converted.
Rule 2: a function of the user is called only if its code shows that it returns its argument; where
    another function had the last word, any value passes.
Rule 3: values of models are found by the names of fields, never by aliases.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, cast

from graphorch.state.check_functions import returns_argument
from graphorch.state.copiers import has_plain_instances

Json = dict[str, Any]

# Keys of a schema whose values are no schemas.
_VALUES: Final = frozenset(
    "metadata serialization config default default_factory expected members cls function "
    "computed_fields extras_schema".split()
)


@dataclass(frozen=True, slots=True)
class SettledSchema:
    """The settled form of a schema, in three degrees.

    `check` accepts finished values. `rebuild` accepts those whose models are of the very types that
    are declared; an instance of a subclass would be cut short by validation. `finish` also accepts
    mappings in the place of models that any data can make.

    `differs` says that the original may convert a finished value, or refuse it. `has_models` says
    that instances of models may be inside, and `has_hooks` that some of them hold more than
    validation of their fields makes. With `is_opaque` the type of some part is not known.
    """

    check: Json
    rebuild: Json
    finish: Json
    differs: bool
    has_models: bool
    has_hooks: bool
    is_opaque: bool


def settle(schema: Json, definitions: list[Json], config: Json | None) -> SettledSchema:
    """Return the settled form of a field's schema, with the definitions that it refers to."""
    needed = _find_needed(schema, {json["ref"]: json for json in definitions})
    checking = _Settler(_changes_case(config), _require_instance)
    rebuilding = _Settler(_changes_case(config), _require_type)
    finishing = _Settler(_changes_case(config), _accept_mapping)
    return SettledSchema(
        checking.visit_whole(schema, needed),
        rebuilding.visit_whole(schema, needed),
        finishing.visit_whole(schema, needed),
        checking.differs,
        checking.has_models,
        checking.has_hooks,
        checking.is_opaque,
    )


def _require_instance(model: Json, differs: bool) -> Json:
    return {"type": "chain", "steps": [{"type": "is-instance", "cls": model["cls"]}, model]}


def _require_type(model: Json, differs: bool) -> Json:
    """Return a schema that has `type` choose the model, which costs no call of Python code."""
    return {"type": "tagged-union", "choices": {model["cls"]: model}, "discriminator": type}


def _accept_mapping(model: Json, differs: bool) -> Json:
    """Return the schema of a model; if it differs, only the original could read a mapping."""
    return _require_instance(model, differs) if differs else model


def settle_config(config: Json | None) -> Json | None:
    """Return a configuration without bounds for text that is changed after they were checked."""
    if not _changes_case(config):
        return config
    bounds = ("str_min_length", "str_max_length")
    return {key: value for key, value in cast(Json, config).items() if key not in bounds}


def is_schema(json: Mapping[str, Any]) -> bool:
    """Return whether a mapping is a schema, not the schemas of fields by their names."""
    return isinstance(json.get("type"), str)


class _Settler:
    """Visitor of one schema and of its definitions."""

    def __init__(self, changes_case: bool, restrict: Callable[[Json, bool], Json]) -> None:
        self._restrict_model = restrict
        self.differs = False
        self.has_models = False
        self.has_hooks = False
        self.is_opaque = False
        self._changes_case = changes_case
        self._is_in_model = False  # where functions are given the values of the fields before

    def visit_whole(self, schema: Json, needed: Mapping[str, Json]) -> Json:
        """Return the settled form of a schema, with the definitions that it needs."""
        settled = self.visit(schema)
        if not needed:
            return settled
        definitions = [{**self.visit(json), "ref": ref} for ref, json in needed.items()]
        return {"type": "definitions", "schema": settled, "definitions": definitions}

    def visit(self, schema: Any) -> Any:
        """Return the settled form of a schema, of a list of schemas, or of schemas by name."""
        if isinstance(schema, list | tuple):
            visited = [self.visit(item) for item in cast("list[Any]", schema)]
            return visited if isinstance(schema, list) else tuple(visited)
        if not isinstance(schema, dict):
            return schema
        mapping = cast(Json, schema)
        if not is_schema(mapping):
            return {name: self.visit(value) for name, value in mapping.items()}
        # What is referred to stands among the definitions, so other references are not needed.
        mapping = {key: value for key, value in mapping.items() if key != "ref"}
        settle_kind = _KINDS.get(mapping["type"], _Settler.visit_parts)
        return settle_kind(self, mapping)

    def visit_parts(self, schema: Json) -> Json:
        """Return a schema with all schemas in it settled."""
        return {
            key: value if key in _VALUES else self.visit(value) for key, value in schema.items()
        }

    # ---- functions -------------------------------------------------------------------------------
    def visit_before(self, schema: Json) -> Any:
        """Accept what the schema behind the function returns."""
        self.differs = True
        return self.visit(schema["schema"])

    def visit_after(self, schema: Json) -> Any:
        """Make a check again, and accept what a conversion may have returned."""
        function = schema["function"]
        if not returns_argument(function["function"]):
            return self.accept_any(schema)
        self.differs = True
        inner = self.visit(schema["schema"])
        # Outside of a model, `info.data` would be missing.
        if function["type"] == "with-info" and not self._is_in_model:
            return inner
        return {**schema, "schema": inner}

    def accept_any(self, schema: Json) -> Json:
        """Accept any value, since a function had the last word."""
        self.differs = self.is_opaque = True
        return {"type": "any"}

    # ---- conversions -----------------------------------------------------------------------------
    def visit_json(self, schema: Json) -> Any:
        """Accept what parsing the text returns."""
        self.differs = True
        return self.visit(schema["schema"]) if "schema" in schema else {"type": "any"}

    def visit_chain(self, schema: Json) -> Any:
        """Accept what the last step returns."""
        self.differs = True
        return self.visit(schema["steps"][-1])

    def visit_strict_branch(self, schema: Json) -> Any:
        """Accept what the strict branch returns, which converts less."""
        self.differs = True
        return self.visit(schema["strict_schema"])

    def visit_python_branch(self, schema: Json) -> Any:
        """Accept what an object of Python becomes, rather than JSON."""
        return self.visit(schema["python_schema"])

    def visit_text(self, schema: Json) -> Json:
        """Drop bounds that were checked before a change of case."""
        if not (self._changes_case or schema.get("to_lower") or schema.get("to_upper")):
            return schema
        bounds = ("pattern", "min_length", "max_length")
        settled = {key: value for key, value in schema.items() if key not in bounds}
        self.differs |= len(settled) < len(schema)
        return settled

    def visit_moment(self, schema: Json) -> Json:
        """Drop the bound that a moment is in the future, where it need not stay."""
        if schema.get("now_op") != "future":
            return schema
        self.differs = True
        return {key: value for key, value in schema.items() if key != "now_op"}

    # ---- models ----------------------------------------------------------------------------------
    def visit_model(self, schema: Json) -> Json:
        """Check what is inside an instance, without the hooks that run when one is made."""
        differs, in_model, case = self.differs, self._is_in_model, self._changes_case
        self.differs, self.has_models = False, True
        self._changes_case = _changes_case(schema.get("config"))
        inner, model = self.visit(schema["schema"]), schema["cls"]
        if "post_init" in schema or schema.get("custom_init") or not has_plain_instances(model):
            self.differs = self.has_hooks = True
        settled = {**schema, "schema": inner, "revalidate_instances": "always"}
        settled.pop("post_init", None)
        settled["custom_init"] = False
        settled["config"] = settle_config(schema.get("config"))
        restricted = self._restrict_model(settled, self.differs)
        self.differs |= differs
        self._is_in_model, self._changes_case = in_model, case
        return restricted

    def visit_fields(self, schema: Json) -> Json:
        """Ignore what a model holds beside its fields, such as cached properties."""
        in_model, self._is_in_model = self._is_in_model, True
        settled = self.visit_parts(schema)
        self._is_in_model = in_model
        if schema["type"] == "model-fields":
            self.differs |= schema.get("extra_behavior") == "forbid"
            settled.pop("extras_schema", None)
            if schema.get("extra_behavior") != "allow":
                settled["extra_behavior"] = "ignore"
        return settled

    def visit_field(self, schema: Json) -> Json:
        """Find the value by the name of the field."""
        settled = self.visit_parts(schema)
        if settled.pop("validation_alias", None) is not None:
            self.differs = True
        return settled

    def visit_default(self, schema: Json) -> Json:
        """Accept None as the default that it is: pydantic does not validate `note: str = None`."""
        settled = self.visit_parts(schema)
        if "default" in schema and schema["default"] is None:
            settled["schema"] = {"type": "nullable", "schema": settled["schema"]}
        return settled

    def visit_dataclass(self, schema: Json) -> Json:
        """Accept an instance of a dataclass as it is."""
        return {**schema, "revalidate_instances": "never"}

    def visit_tagged_union(self, schema: Json) -> Json:
        """Choose by the instance where the tag of a finished value may not be found."""
        differs, self.differs = self.differs, False
        settled = self.visit_parts({**schema, "discriminator": None})
        discriminator = schema["discriminator"]
        if callable(discriminator) and not _is_of_pydantic(discriminator):
            self.differs = True
        if self.differs:
            choices = list(settled["choices"].values())
            return {"type": "union", "choices": choices}
        self.differs = differs
        return {**settled, "discriminator": discriminator}


_KINDS: Final[Mapping[str, Callable[[_Settler, Json], Any]]] = {
    "function-before": _Settler.visit_before,
    "function-after": _Settler.visit_after,
    "function-wrap": _Settler.accept_any,
    "function-plain": _Settler.accept_any,
    "call": _Settler.accept_any,
    "generator": _Settler.accept_any,
    "json": _Settler.visit_json,
    "chain": _Settler.visit_chain,
    "lax-or-strict": _Settler.visit_strict_branch,
    "json-or-python": _Settler.visit_python_branch,
    "str": _Settler.visit_text,
    "date": _Settler.visit_moment,
    "datetime": _Settler.visit_moment,
    "model": _Settler.visit_model,
    "model-fields": _Settler.visit_fields,
    "typed-dict": _Settler.visit_fields,
    "model-field": _Settler.visit_field,
    "typed-dict-field": _Settler.visit_field,
    "default": _Settler.visit_default,
    "dataclass": _Settler.visit_dataclass,
    "tagged-union": _Settler.visit_tagged_union,
}
"""Kinds of schemas that can convert a finished value; parts of all others are settled alone."""


def _find_needed(schema: Any, definitions: Mapping[str, Json]) -> dict[str, Json]:
    """Return the definitions that a schema refers to, directly or through others."""
    needed: dict[str, Json] = {}
    pending = [schema]
    while pending:
        for ref in _list_references(pending.pop()):
            if ref not in needed and ref in definitions:
                needed[ref] = definitions[ref]
                pending.append(definitions[ref])
    return needed


def _list_references(schema: Any) -> list[str]:
    if isinstance(schema, list | tuple):
        return [ref for item in cast("list[Any]", schema) for ref in _list_references(item)]
    if not isinstance(schema, dict):
        return []
    mapping = cast(Json, schema)
    if mapping.get("type") == "definition-ref":
        return [mapping["schema_ref"]]
    ignored: frozenset[str] = _VALUES if is_schema(mapping) else frozenset()
    parts = [value for key, value in mapping.items() if key not in ignored]
    return _list_references(parts)


def _changes_case(config: Json | None) -> bool:
    config = config or {}
    return bool(config.get("str_to_lower") or config.get("str_to_upper"))


def _is_of_pydantic(function: Any) -> bool:
    return str(getattr(function, "__module__", "")).partition(".")[0] == "pydantic"
