"""Values checked by JSON Schema, as far as this server's own parameters use it: one fragment serves checks and docs.

Left out: $ref, patterns, and whatever else no parameter needs.
"""

from typing import Any

from thinkling.serve.refusals import bad

Schema = dict[str, Any]
KINDS = {"integer": int, "number": (int, float), "boolean": bool, "string": str, "array": list, "object": dict}
NAMES = {"integer": "a whole number", "number": "a number", "boolean": "true or false", "string": "a text",
         "array": "a list", "object": "an object"}  # fmt: skip
SHOWN = 60  # characters of a value in a message


def check(schema: Schema, value: Any, name: str) -> None:
    """Raises ApiError, naming the parameter and the place in it, for a value that the schema does not allow."""
    if "anyOf" in schema:
        if not any(fits(option, value) for option in schema["anyOf"]):
            raise bad(name, f"must be {' or '.join(map(said, schema['anyOf']))}, not {shown(value)}")
        schema = next(option for option in schema["anyOf"] if fits(option, value))
    if not fits(schema, value):
        raise bad(name, f"must be {said(schema)}, not {shown(value)}")
    if isinstance(value, list) and "items" in schema:
        for place, item in enumerate(value):
            check(schema["items"], item, f"{name}[{place}]")
    if isinstance(value, dict) and "properties" in schema:
        for key, item in value.items():
            if key in schema["properties"]:
                if item is not None:
                    check(schema["properties"][key], item, f"{name}.{key}")
            elif not schema.get("additionalProperties", True):
                known = ", ".join(schema["properties"])
                raise bad(f"{name}.{key}", f"is not known; {name} may have {known}")


def fits(schema: Schema, value: Any) -> bool:
    """Is the value itself, without its items, what the schema allows?"""
    kind = schema.get("type")
    if kind and (not isinstance(value, KINDS[kind]) or (isinstance(value, bool) and kind in ("integer", "number"))):
        return False
    if "enum" in schema and value not in schema["enum"]:
        return False
    if isinstance(value, list):
        few, many = schema.get("minItems", 0), schema.get("maxItems", len(value))
        items = schema.get("items", {})
        plain = "type" in items and items["type"] not in ("array", "object")
        return few <= len(value) <= many and (not plain or all(fits({"type": items["type"]}, item) for item in value))
    if isinstance(value, str):
        return schema.get("minLength", 0) <= len(value)
    if isinstance(value, int | float) and not isinstance(value, bool):
        above = schema.get("exclusiveMinimum")
        low, high = schema.get("minimum", value), schema.get("maximum", value)
        return low <= value <= high and (above is None or value > above)
    return True


def said(schema: Schema) -> str:
    """What a schema allows, in words."""
    if "enum" in schema:
        return f"one of {', '.join(map(repr, schema['enum']))}"
    words = NAMES.get(schema.get("type", ""), "something")
    if schema.get("type") == "array":
        few, many = schema.get("minItems"), schema.get("maxItems")
        items = NAMES.get(schema.get("items", {}).get("type", ""), "")
        each = f", each {items}" if items else ""
        return words + (f" of {few or 0} to {many}" if many else f" of at least {few}" if few else "") + each
    if schema.get("minLength"):
        words += " that is not empty"
    signs = (("exclusiveMinimum", "above"), ("minimum", "from"), ("maximum", "up to"))
    bounds = [f"{word} {schema[key]:,}" for key, word in signs if key in schema]
    return " ".join([words, *bounds])


def shown(value: Any) -> str:
    text = value if isinstance(value, str) else repr(value)
    text = repr(text) if isinstance(value, str) else text
    return text if len(text) <= SHOWN else text[:SHOWN] + "..."
