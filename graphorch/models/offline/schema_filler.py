"""Structured output without a language model: every field of a JSON schema is filled with what the text holds or with what was measured.

Rules of this file: nothing is invented. Text comes from the text, a number from the text or from a measurement, a label is the closest
one, a judgement follows the measured quality. What cannot be had is left out if the schema allows it, and is an `Unfillable` otherwise.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, TypeAlias, cast

from graphorch.models.offline.classifier import choose_label, find_mentioned_labels
from graphorch.models.offline.prompt_parser import (
    ParsedPrompt,
    Section,
    content_words,
    split_sentences,
    split_words,
    stem,
)
from graphorch.models.offline.summarizer import (
    Source,
    compose_text,
    explain_missing_text,
    quote_text,
)
from graphorch.models.offline.text_metrics import GOOD_QUALITY, TextMetrics, key_terms, measure_text

Schema: TypeAlias = Mapping[str, Any]

_DEEPEST = 6  # how often a schema may refer to itself
_ITEMS = 5  # of a list without bounds
_ROUND = 1e-9

# What the words of a field's name say about what belongs into it.
_JUDGED = frozenset(
    "accuracy clarity confidence coverage fit grade mark probability quality rank rating relevance score".split()
)
_OF_ONE = frozenset("confidence coverage fraction probability ratio relevance share".split())
_TERMS = frozenset(
    "category categories entity entities keyword keywords label labels tag tags term terms topics".split()
)
_TITLE = frozenset("headline heading name subject title".split())
_LONG = frozenset(
    "abstract answer article body content draft essay findings letter notes output report research result story summary text".split()
)
_WHY = frozenset(
    "comment comments critique explanation feedback issues justification problems rationale reason reasoning review why".split()
)
_LACKING = frozenset(
    "bad fail failed fails invalid lacks missing needs poor reject rejected retry revise revision weak wrong".split()
)
_JUDGEMENT = frozenset(
    "accept acceptable accepted adequate approve approved complete correct done enough fine good ok pass passed passes ready safe sound "
    "sufficient valid".split()
)

_FORMATS: Mapping[str, str] = {
    "date": r"\b\d{4}-\d{2}-\d{2}\b",
    "date-time": r"\b\d{4}-\d{2}-\d{2}[T ]\d{2}:\d{2}(?::\d{2}(?:\.\d+)?)?(?:Z|[+-]\d{2}:\d{2})?",
    "time": r"\b\d{2}:\d{2}(?::\d{2})?\b",
    "email": r"[\w.+-]+@[\w-]+(?:\.[\w-]+)+",
    "uri": r"\bhttps?://[^\s<>\"')]+[^\s<>\"').,;]",
    "uuid": r"\b[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}\b",
    "ipv4": r"\b\d{1,3}(?:\.\d{1,3}){3}\b",
    "duration": r"\bP(?:\d+[YMWD])*(?:T(?:\d+[HMS])+)?\b",
}
_FREE_FORMATS = frozenset(
    {"", "path", "file-path", "directory-path", "password", "binary", "json-string"}
)
# no dates, times or versions
_NUMBER = re.compile(r"(?<![\w./:-])[-+]?(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?(?![\w/:-]|[.,]\d)")


class Unfillable(Exception):
    """A required field that the text has nothing for: the name of the field and what it would need."""

    def __init__(self, name: str, needs: str) -> None:
        self.name = name
        self.needs = needs
        super().__init__(f"'{name}' needs {needs}")


@dataclass(frozen=True)
class SchemaFiller:
    """Fills schemas from one source, or from the part of it that one item of a list is about.

    `used` are the sentences that a field has taken already, so that fields do not repeat each other.
    """

    source: Source
    definitions: Mapping[str, Schema]
    most_characters: int
    depth: int = 0
    whole: Source | None = None  # of a filler that sees a part only
    used: set[int] = field(default_factory=set[int])

    @cached_property
    def measures(self) -> TextMetrics:
        """What was measured of the text."""
        return measure_text(self.source)

    def fill(self, schema: Schema, name: str) -> Any:
        """A value that fits the schema of a field. Raises `Unfillable`."""
        schema = self._resolved(schema, name)
        if "const" in schema:
            return schema["const"]
        if "enum" in schema:
            return self._label(schema["enum"])
        for union in ("anyOf", "oneOf"):
            if union in schema:
                return self._first_that_fits(schema, schema[union], name)
        kind = schema.get("type")
        if isinstance(kind, list):
            return self._first_that_fits(
                {}, [{**schema, "type": text} for text in cast("list[str]", kind)], name
            )
        return _KINDS.get(str(kind), SchemaFiller._text)(self, schema, name)

    def _resolved(self, schema: Schema, name: str) -> Schema:
        """The schema with its references followed; its own words (a description, a bound) win."""
        for _ in range(20):
            parts = [schema["$ref"]] if "$ref" in schema else []
            merged = [self.definitions[str(part).rsplit("/", 1)[-1]] for part in parts] + list(
                schema.get("allOf", [])
            )
            if not merged:
                return schema
            own = {key: value for key, value in schema.items() if key not in ("$ref", "allOf")}
            schema = {key: value for part in [*merged, own] for key, value in part.items()}
        raise Unfillable(name, "a schema whose references end")

    def _first_that_fits(self, schema: Schema, choices: Sequence[Schema], name: str) -> Any:
        """The first choice that can be filled, null last; of a union with a discriminator the one whose label is closest."""
        ordered = sorted(choices, key=lambda item: item.get("type") == "null")
        labels = list(schema.get("discriminator", {}).get("mapping", {}).items())
        if labels:
            best = choose_label([label for label, _ in labels], self.source, self.measures)
            ordered = [{"$ref": dict(labels)[best]}, *ordered]
        failure = Unfillable(name, "a choice")
        if _is_number_or_null(choices) and not self._tells_number(name):
            return None
        for choice in ordered:
            try:
                return self.fill(
                    {
                        **choice,
                        "description": schema.get("description", choice.get("description", "")),
                    },
                    name,
                )
            except Unfillable as error:
                failure = error
        raise failure

    def _label(self, labels: Sequence[Any]) -> Any:
        shown = [str(label) for label in labels]
        return labels[shown.index(choose_label(shown, self.source, self.measures))]

    def _null(self, schema: Schema, name: str) -> None:
        return None

    def _truth(self, schema: Schema, name: str) -> bool:
        """A judgement follows the quality; anything else is true if the text speaks of it."""
        words = set(_name_words(name))
        if words & _LACKING:
            return self.measures.quality < GOOD_QUALITY
        if words & _JUDGEMENT:
            return self.measures.quality >= GOOD_QUALITY
        sought = content_words(
            " ".join(word for word in words if word not in ("contains", "has", "is", "mentions"))
        )
        said = content_words(self.source.prompt.text)
        return bool(sought) and sought <= said

    def _whole_number(self, schema: Schema, name: str) -> int:
        return int(self._fitted(schema, name, whole=True))

    def _number(self, schema: Schema, name: str) -> float:
        return self._fitted(schema, name, whole=False)

    def _fitted(self, schema: Schema, name: str, *, whole: bool) -> float:
        """A number within the bounds of the schema: measured, found, or counted."""
        step = schema.get("multipleOf") or (1 if whole else None)
        low = _bound(schema, "minimum", "exclusiveMinimum", step, upwards=True)
        high = _bound(schema, "maximum", "exclusiveMaximum", step, upwards=False)
        if low is not None and high is not None and low > high:
            raise Unfillable(name, "bounds with a number between them")
        value = self._measured_number(name, low, high)
        if step:
            value = round(value / step) * step
        elif not whole:
            value = round(value, 2) if high is None or high > 1 else round(value, 4)
        if low is not None and value < low:
            value = math.ceil(low / step - _ROUND) * step if step else low
        if high is not None and value > high:
            value = math.floor(high / step + _ROUND) * step if step else high
        return value

    def _measured_number(self, name: str, low: float | None, high: float | None) -> float:
        words = set(_name_words(name))
        if words & _JUDGED:
            bottom = 0.0 if low is None else low
            top = high if high is not None else max(bottom, 1.0 if words & _OF_ONE else 10.0)
            return bottom + self.measures.quality * (top - bottom)
        counted = self._counted(words)
        if counted is not None:
            return counted
        found = [
            number
            for number in self._numbers(words)
            if (low is None or number >= low) and (high is None or number <= high)
        ]
        if found:
            return found[0]
        if low is not None and high is not None:
            return low + self.measures.quality * (high - low)
        return float(len(self.source.sentences))

    def _tells_number(self, name: str) -> bool:
        """Whether a number for a field can be had without guessing: measured, counted, or from a sentence that speaks of it."""
        words = set(_name_words(name))
        sought = {stem(word) for word in words}
        spoken = [
            sentence.text for sentence in self.source.prompt.sentences if sentence.words & sought
        ]
        return (
            bool(words & _JUDGED)
            or self._counted(words) is not None
            or any(_NUMBER.search(text) for text in spoken)
        )

    def _counted(self, words: set[str]) -> float | None:
        text = self.source.prompt.text
        if "word" in words or "words" in words:
            return float(len(text.split()))
        if words & {"character", "characters", "chars", "length"}:
            return float(len(text))
        if words & {"sentence", "sentences"}:
            return float(
                sum(
                    len(split_sentences(paragraph))
                    for section in self.source.prompt.sections
                    for paragraph in section.paragraphs
                )
            )
        return None

    def _numbers(self, words: set[str]) -> list[float]:
        """The numbers of the text; first those of sentences that speak of what the field is called."""
        sought = {stem(word) for word in words}
        texts = sorted(
            self.source.prompt.sentences, key=lambda sentence: -len(sentence.words & sought)
        )
        spoken = [sentence.text for sentence in texts] or [self.source.prompt.text]
        return [
            float(re.sub(r"[, ]", "", item)) for text in spoken for item in _NUMBER.findall(text)
        ]

    def _text(self, schema: Schema, name: str) -> str:
        """A string: found by its format or pattern, or taken from the sentences that suit the field's name."""
        form, pattern = str(schema.get("format", "")), schema.get("pattern")
        if form not in _FREE_FORMATS or pattern:
            return self._found(form, pattern, name)
        shortest, longest = (
            int(schema.get("minLength", 0)),
            int(schema.get("maxLength", self.most_characters)),
        )
        text = self._worded(schema, name, max(longest, 1))
        for sentence in self.source.sentences if len(text) < shortest else ():
            text = (
                f"{text} {quote_text(sentence.text)}"
                if quote_text(sentence.text) not in text
                else text
            )
        if len(text) < shortest:
            raise Unfillable(
                name, f"{shortest} characters, and the text has no more than {len(text)}"
            )
        return _cut(text, shortest, longest)

    def _found(self, form: str, pattern: str | None, name: str) -> str:
        sought = (
            _FORMATS.get(form, "") if not pattern else pattern.removeprefix("^").removesuffix("$")
        )
        try:
            found = [
                match.group()
                for match in re.finditer(sought, self.source.prompt.text)
                if match.group()
            ]
            fitting = [text for text in found if not pattern or re.search(pattern, text)]
        except re.error:  # a pattern of another language than Python's
            fitting = []
        if not fitting:
            raise Unfillable(name, f"text of the form '{pattern or form}', and the text holds none")
        return fitting[0]

    def _worded(self, schema: Schema, name: str, longest: int) -> str:
        words = set(_name_words(name))
        if words & _WHY:
            return self.measures.feedback
        if not self.source.order:
            return explain_missing_text(self.source)
        if words & _TITLE:
            headings = self.source.prompt.headings
            return headings[0] if headings else _titled(self.source.headline)
        if words & _LONG:
            purpose = f"{name} {schema.get('description', '')}"
            return compose_text(
                self.source, purpose=purpose, most_characters=min(longest, self.most_characters)
            )
        return quote_text(
            self.source.sentences[self._sentence(f"{name} {schema.get('description', '')}")].text
        )

    def _sentence(self, about: str) -> int:
        """The sentence that is closest to the words about a field; the most important one that no field has taken yet if none is close."""
        sought = content_words(about.replace("_", " "))
        fresh = [index for index in self.source.order if index not in self.used] or list(
            self.source.order
        )
        best = max(fresh, key=lambda index: len(self.source.sentences[index].words & sought))
        self.used.add(best)
        return best

    def _list(self, schema: Schema, name: str) -> list[Any]:
        """A list: labels that occur, or one item for each of the sentences that matter most, in the order of the text."""
        fewest = int(schema.get("minItems", 0))
        most = int(schema.get("maxItems", max(fewest, _ITEMS)))
        if "prefixItems" in schema:
            return [self.fill(entry, name) for entry in schema["prefixItems"]]
        item: Schema = schema.get("items", {})
        if self.depth >= _DEEPEST:
            most = fewest
        labels = self._resolved(item, name).get("enum")
        found = self._labels(labels, fewest) if labels else self._items(item, name, fewest, most)
        if schema.get("uniqueItems"):
            found = [entry for index, entry in enumerate(found) if entry not in found[:index]]
        if len(found) < fewest:
            raise Unfillable(name, f"{fewest} items, and the text gives {len(found)}")
        return found[:most]

    def _labels(self, labels: Sequence[Any], fewest: int) -> list[Any]:
        spoken = set(find_mentioned_labels([str(label) for label in labels], self.source)) or {
            str(self._label(labels))
        }
        chosen = [label for label in labels if str(label) in spoken]
        return [*chosen, *(label for label in labels if label not in chosen)][
            : max(fewest, len(chosen))
        ]

    def _items(self, item: Schema, name: str, fewest: int, most: int) -> list[Any]:
        if most <= 0:
            return []
        if self._resolved(item, name).get("type") == "string" and set(_name_words(name)) & _TERMS:
            terms = key_terms(self.source.prompt.text)[: max(fewest, min(most, _ITEMS))]
            return [term for term in terms if _holds(item, term)]
        singular = stem(_name_words(name)[-1]) if _name_words(name) else "item"
        made: list[Any] = []
        for filler in self._parts(fewest, most):
            try:
                made.append(filler.fill(item, singular))
            except Unfillable:
                if fewest and not made:
                    raise
        return made

    def _parts(self, fewest: int, most: int) -> list[SchemaFiller]:
        """One filler for each of the sentences that matter most, in their order; of the whole text if this part has too few."""
        if len(self.source.order) < fewest and self.whole is not None:
            return replace(self, source=self.whole, whole=None)._parts(fewest, most)
        return [
            self._about(index)
            for index in sorted(self.source.order[: max(fewest, min(most, _ITEMS))])
        ]

    def _about(self, index: int) -> SchemaFiller:
        """A filler that sees one sentence and the next one of its section only."""
        sentence = self.source.sentences[index]
        near = [
            item
            for item in self.source.sentences[index : index + 2]
            if item.section == sentence.section
        ]
        section = Section("", [item.text for item in near])
        material = ParsedPrompt(
            self.source.prompt.instructions,
            "",
            (section,),
            (),
            tuple(replace(item, section=0) for item in near[:1]),
        )
        return SchemaFiller(
            Source(material),
            self.definitions,
            self.most_characters,
            self.depth + 1,
            self.whole or self.source,
        )

    def _deeper(self) -> SchemaFiller:
        return replace(self, depth=self.depth + 1)

    def _object(self, schema: Schema, name: str) -> dict[str, Any]:
        """An object: its declared fields, or for an open one the terms of the text as keys."""
        if self.depth > _DEEPEST:
            raise Unfillable(name, "an object inside itself without end")
        inside = self._deeper()
        properties: Mapping[str, Schema] = schema.get("properties", {})
        required = set(schema.get("required", ()))
        made: dict[str, Any] = {}
        for key, item in properties.items():
            try:
                made[key] = inside.fill(item, key)
            except Unfillable:
                if key in required:
                    raise
        values = schema.get("additionalProperties")
        if not properties and isinstance(values, Mapping | bool) and values is not False:
            return inside._entries(
                schema, cast("Schema", values) if isinstance(values, Mapping) else {}, name
            )
        return made

    def _entries(self, schema: Schema, values: Schema, name: str) -> dict[str, Any]:
        fewest = int(schema.get("minProperties", 0))
        most = int(schema.get("maxProperties", max(fewest, 3)))
        names: Schema = self._resolved(schema.get("propertyNames", {}), name)
        terms = (
            [str(item) for item in names["enum"]]
            if "enum" in names
            else key_terms(self.source.prompt.text)
        )
        if "pattern" in names or "format" in names:
            terms = [self._text(names, name)] if fewest else []
        if len(terms) < fewest:
            raise Unfillable(name, f"{fewest} entries, and the text gives {len(terms)}")
        return (
            {
                key: self.fill(values, key)
                for key in terms[: most if "enum" not in names else max(most, len(terms))]
            }
            if most
            else {}
        )


_KINDS: Mapping[str, Callable[[SchemaFiller, Schema, str], Any]] = {
    "null": SchemaFiller._null,  # pyright: ignore[reportPrivateUsage]
    "boolean": SchemaFiller._truth,  # pyright: ignore[reportPrivateUsage]
    "integer": SchemaFiller._whole_number,  # pyright: ignore[reportPrivateUsage]
    "number": SchemaFiller._number,  # pyright: ignore[reportPrivateUsage]
    "string": SchemaFiller._text,  # pyright: ignore[reportPrivateUsage]
    "array": SchemaFiller._list,  # pyright: ignore[reportPrivateUsage]
    "object": SchemaFiller._object,  # pyright: ignore[reportPrivateUsage]
}


def _is_number_or_null(choices: Sequence[Schema]) -> bool:
    """Whether a union is an optional number; a `Decimal` may also come as a string with a pattern."""
    kinds = [str(schema.get("type")) for schema in choices if "pattern" not in schema]
    return (
        "null" in kinds
        and bool({"integer", "number"} & set(kinds))
        and set(kinds) <= {"null", "integer", "number"}
    )


def _holds(schema: Schema, text: str) -> bool:
    """Whether a string of a list is within the bounds of its schema."""
    return int(schema.get("minLength", 0)) <= len(text) <= int(
        schema.get("maxLength", len(text))
    ) and not {"pattern", "format"} & set(schema)


def _titled(sentence: str) -> str:
    """The beginning of a sentence as a title: up to its first pause, ten words at most."""
    pause = re.search(r"[,;:.] |[.!?]$| (?:and|because|but|so|that|which|while) ", sentence[12:])
    words = (sentence[: 12 + pause.start()] if pause else sentence).split()
    return " ".join(words[:10]) + (" …" if len(words) > 10 else "")


def _name_words(name: str) -> list[str]:
    """The words of a field's name: `needsRevision` and `needs_revision` are two."""
    return split_words(re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name).replace("_", " "))


def _bound(
    schema: Schema, closed: str, opened: str, step: float | None, *, upwards: bool
) -> float | None:
    """The nearest number that a bound allows, or None without one."""
    limits = [float(schema[closed])] if closed in schema else []
    if opened in schema:
        edge = float(schema[opened])
        inside = (step or max(abs(edge), 1.0) * 1e-6) * (1 if upwards else -1)
        limits.append(edge + inside)
    return (max(limits) if upwards else min(limits)) if limits else None


def _cut(text: str, shortest: int, longest: int) -> str:
    """At most so many characters, at the end of a word if there is one late enough."""
    if len(text) <= longest:
        return text
    end = text.rfind(" ", shortest, longest)
    return text[: end if end > longest // 2 else longest]
