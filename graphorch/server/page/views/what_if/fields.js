// A schema for values of which only an example is at hand.
import { isObject } from "../../parts/json.js";
import { typeOf } from "../../forms/schema.js";

// `isOpen`: a person may add names.
export function inferSchema(value, isOpen = true) {
  if (isObject(value)) {
    const properties = Object.entries(value).map(([name, item]) => [name, inferSchema(item)]);
    return {
      type: "object",
      properties: Object.fromEntries(properties),
      additionalProperties: isOpen,
    };
  }
  const type = typeOf(value);
  return ["string", "integer", "number", "boolean"].includes(type) ? { type } : {};
}
