"""Reads ``recipes``: ways to call a tool with some of it given already."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from py_code_mode.text import close_matches, quoted
from py_code_mode.tools.definition import ABSENT, Parameter, Recipe
from py_code_mode.tools.document import Document, Path
from py_code_mode.tools.format import OverridePart, RecipePart, read_part
from py_code_mode.tools.names import RESERVED_RECIPES, Names, python_name
from py_code_mode.tools.schema import Schema


def read_recipes(values: Any, schema: Schema, document: Document) -> dict[str, Recipe]:
    """Return the recipes by name; those with a problem are told to the document instead."""
    names = Names(document, "recipe", RESERVED_RECIPES)
    recipes = {}
    for name, given in (values if isinstance(values, dict) else {}).items():
        path: Path = ("recipes", name)
        called = names.take(name, path)
        part = read_part(RecipePart, given, document, path)
        if called is not None and part is not None:
            recipes[called] = _Reading(called, part, schema, document, path).recipe()
    return recipes


class _Reading:
    """One recipe being put together from its part of the file and the schema."""

    def __init__(
        self, name: str, part: RecipePart, schema: Schema, document: Document, path: Path
    ) -> None:
        self._name = name
        self._part = part
        self._schema = schema
        self._document = document
        self._path = path

    def recipe(self) -> Recipe:
        """Return the recipe, as far as it could be read."""
        presets = self._presets()
        params = self._overrides()
        accepted, fixed = [], {}
        for parameter in self._schema.parameters.values():
            name = parameter.name
            preset = presets.get(name, ABSENT)
            if name in params or (self._part.params is None and preset is ABSENT):
                accepted.append(self._overridden(parameter, params.get(name), preset))
            elif preset is not ABSENT or parameter.default is not ABSENT:
                fixed[name] = parameter.default if preset is ABSENT else preset
            elif parameter.required:
                self._refuse(
                    "params",
                    reason=f"{name!r} is required and neither in 'params' nor in 'preset', so "
                    f"nobody could call {quoted(self._name)}",
                )
        return Recipe(self._name, self._part.description, tuple(accepted), fixed)

    def _presets(self) -> dict[str, Any]:
        presets = {}
        for name, value in (self._part.preset or {}).items():
            parameter = self._known(name, "preset")
            where = (*self._path, "preset", name)
            if parameter is not None:
                self._schema.check_value(parameter, value, where, "the preset")
                presets[parameter.name] = value
        return presets

    def _overrides(self) -> dict[str, OverridePart | None]:
        params = {}
        for name, given in (self._part.params or {}).items():
            parameter = self._known(name, "params")
            where = (*self._path, "params", name)
            part = read_part(OverridePart, given, self._document, where)
            if parameter is not None:
                params[parameter.name] = part
        return params

    def _known(self, name: str, key: str) -> Parameter | None:
        known = self._schema.parameters
        parameter = known.get(python_name(name))
        if parameter is None and not self._schema.unsure:
            close = close_matches(python_name(name), known) or "; the schema has no parameters"
            self._refuse(key, name, reason=f"{quoted(name)} is not in the schema{close}")
        return parameter

    def _overridden(
        self, parameter: Parameter, part: OverridePart | None, preset: Any
    ) -> Parameter:
        """Return a parameter as this recipe has it."""
        if preset is not ABSENT:
            parameter = replace(parameter, default=preset, required=False)
        return parameter if part is None else self._changed(parameter, part)

    def _changed(self, parameter: Parameter, part: OverridePart) -> Parameter:
        if part.description is not None:
            parameter = replace(parameter, description=part.description)
        if part.type is not None and part.type != parameter.type:
            parameter = self._retyped(parameter, part)
        if part.required is not None:
            parameter = replace(parameter, required=part.required)
        if part.required:
            parameter = replace(parameter, default=ABSENT)
        elif part.required is False and part.default is None:
            self._check_omissible(parameter)
        if part.default is not None:
            parameter = self._defaulted(parameter, part)
        return parameter

    def _retyped(self, parameter: Parameter, part: OverridePart) -> Parameter:
        assert part.type is not None  # noqa: S101 - the caller's condition
        where = (parameter.name, "type")
        if "boolean" in {part.type, parameter.type} or parameter.kind == "stdin":
            self._refuse(
                "params",
                *where,
                reason=f"{parameter.name!r} is {parameter.type} in the schema and cannot be "
                f"{part.type} here",
            )
            return parameter
        limits = {"choices": parameter.choices, "pattern": parameter.pattern,
                  "minimum": parameter.minimum, "maximum": parameter.maximum}  # fmt: skip
        kept = [key for key, limit in limits.items() if limit not in (None, ())]
        if kept and not {part.type, parameter.type} <= {"integer", "number"}:
            self._refuse(
                "params",
                *where,
                reason=f"{parameter.name!r} has {', '.join(kept)} for the type "
                f"{parameter.type} in the schema, so it cannot be {part.type} here",
            )
        # A default of the schema has the schema's type.
        stays = parameter.default if part.default is None else ABSENT
        retyped = replace(parameter, type=part.type, default=stays)
        if stays is not ABSENT:
            path = (*self._path, "params", *where)
            self._schema.check_value(retyped, stays, path, "the schema's default")
        return retyped

    def _check_omissible(self, parameter: Parameter) -> None:
        name = parameter.name
        if self._schema.parameters[name].required and parameter.default is ABSENT:
            reason = (
                f"{name!r} is required by the schema; give a default, or make it optional there"
            )
            self._refuse("params", name, "required", reason=reason)

    def _defaulted(self, parameter: Parameter, part: OverridePart) -> Parameter:
        path = (*self._path, "params", parameter.name, "default")
        if part.required:
            self._document.refuse(path, "required and with a default: remove one of them")
        self._schema.check_value(parameter, part.default, path, "the default")
        return replace(parameter, default=part.default, required=False)

    def _refuse(self, *keys: str, reason: str) -> None:
        self._document.refuse((*self._path, *keys), reason)
