"""Structured output without a language model: fields of a JSON schema filled from the text.

Rules of this file:
1. Nothing is invented. Text comes from the text, a number from the text or from a measurement, a
   label is the closest one, a judgement follows the measured quality.
2. A field without a value is left out if the schema allows it, and is an `Unfillable` otherwise;
   the client writes the default of what is left out.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
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
from graphorch.models.offline.text_metrics import (
    GOOD_QUALITY,
    TextMetrics,
    key_terms,
    measure_text,
)

Schema: TypeAlias = Mapping[str, Any]

_DEEPEST = 6  # how often a schema may refer to itself
_LONGEST_REFERENCE = 20  # references that lead to references
_ITEMS = 5  # of a list without bounds
_ENTRIES = 3  # of an open object without bounds
_ROUND = 1e-9

# Words of a field's name that decide what belongs into it.
_RATING_WORDS = frozenset(
    "accuracy clarity confidence coverage fit grade mark probability quality rank rating "
    "relevance score".split()
)
_FRACTION_WORDS = frozenset(
    "confidence coverage fraction probability ratio relevance share".split()
)
_TERM_WORDS = frozenset(
    "category categories entity entities keyword keywords label labels tag tags term terms "
    "topics".split()
)
_TITLE_WORDS = frozenset("headline heading name subject title".split())
_TEXT_WORDS = frozenset(
    "abstract answer article body content draft essay findings letter notes output report "
    "research result story summary text".split()
)
_REASON_WORDS = frozenset(
    "comment comments critique explanation feedback issues justification problems rationale "
    "reason reasoning review why".split()
)
_LACK_WORDS = frozenset(
    "bad fail failed fails invalid lacks missing needs poor reject rejected retry revise "
    "revision weak wrong".split()
)
_APPROVAL_WORDS = frozenset(
    "accept acceptable accepted adequate approve approved complete correct done enough fine "
    "good ok pass passed passes ready safe sound sufficient valid".split()
)
_CONTAINING_WORDS = frozenset({"contains", "has", "is", "mentions"})

_FORMATS: Mapping[str, str] = {
    "date": r"\b\d{4}-\d{2}-\d{2}\b",
    "date-time": (r"\b\d{4}-\d{2}-\d{2}[T ]\d{2}:\d{2}(?::\d{2}(?:\.\d+)?)?(?:Z|[+-]\d{2}:\d{2})?"),
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
# Not in dates, times or versions.
_NUMBER = re.compile(r"(?<![\w./:-])[-+]?(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?(?![\w/:-]|[.,]\d)")


class Unfillable(Exception):
    """A required field that the text has nothing for: its name, and what it would need."""

    def __init__(self, name: str, needs: str) -> None:
        self.name = name
        self.needs = needs
        super().__init__(f"'{name}' needs {needs}")


@dataclass(frozen=True)
class SchemaFiller:
    """Filler of schemas from one source, or from the part of it that a list item is about.

    `used` are the sentences that a field has taken already, so that fields do not repeat each
    other. `whole` is the complete source of a filler that sees only a part.
    """

    source: Source
    definitions: Mapping[str, Schema]
    most_characters: int
    depth: int = 0
    whole: Source | None = None
    used: set[int] = field(default_factory=set[int])

    @cached_property
    def metrics(self) -> TextMetrics:
        """Measurements of the text."""
        return measure_text(self.source)

    def fill(self, schema: Schema, name: str) -> Any:
        """Return a value that fits the schema of a field. Raises `Unfillable`."""
        schema = self._resolve(schema, name)
        # In this order: one value, labels, a union, a type or several.
        if "const" in schema:
            return schema["const"]
        if "enum" in schema:
            return self._choose_label(schema["enum"])
        for union in ("anyOf", "oneOf"):
            if union in schema:
                return self._fill_first_choice(schema, schema[union], name)
        kind = schema.get("type")
        if isinstance(kind, list):
            choices = [{**schema, "type": choice} for choice in cast("list[str]", kind)]
            return self._fill_first_choice({}, choices, name)
        return self._fill_type(str(kind), schema, name)

    def _fill_type(self, kind: str, schema: Schema, name: str) -> Any:
        match kind:
            case "null":
                return None
            case "boolean":
                return self._fill_boolean(name)
            case "integer":
                return int(self._fill_number(schema, name, is_whole=True))
            case "number":
                return self._fill_number(schema, name, is_whole=False)
            case "array":
                return self._fill_array(schema, name)
            case "object":
                return self._fill_object(schema, name)
            case _:
                return self._fill_string(schema, name)

    def _resolve(self, schema: Schema, name: str) -> Schema:
        """Return the schema with its references followed; its own keys (a bound) win."""
        for _ in range(_LONGEST_REFERENCE):
            parts: list[Schema] = []
            if "$ref" in schema:
                parts.append(self.definitions[str(schema["$ref"]).rsplit("/", 1)[-1]])
            parts += schema.get("allOf", [])
            if not parts:
                return schema
            own = {key: value for key, value in schema.items() if key not in ("$ref", "allOf")}
            schema = {key: value for part in [*parts, own] for key, value in part.items()}
        raise Unfillable(name, "a schema whose references end")

    # ---- choices

    def _fill_first_choice(self, schema: Schema, choices: Sequence[Schema], name: str) -> Any:
        """Return the value of the first choice that can be filled, null last.

        Of a union with a discriminator it is the one whose label is closest.
        """
        ordered = sorted(choices, key=lambda choice: choice.get("type") == "null")
        by_label = dict(schema.get("discriminator", {}).get("mapping", {}))
        if by_label:
            best = choose_label(list(by_label), self.source, self.metrics)
            ordered = [{"$ref": by_label[best]}, *ordered]
        # A number that may be missing is better missing than guessed.
        if _is_optional_number(choices) and not self._has_number_for(name):
            return None
        failure = Unfillable(name, "a choice")
        for choice in ordered:
            description = schema.get("description", choice.get("description", ""))
            try:
                return self.fill({**choice, "description": description}, name)
            except Unfillable as error:
                failure = error
        raise failure

    def _choose_label(self, labels: Sequence[Any]) -> Any:
        texts = [str(label) for label in labels]
        return labels[texts.index(choose_label(texts, self.source, self.metrics))]

    def _fill_boolean(self, name: str) -> bool:
        """Return a judgement by the quality, and any other truth by the words of the text."""
        words = set(_split_name(name))
        if words & _LACK_WORDS:
            return self.metrics.quality < GOOD_QUALITY
        if words & _APPROVAL_WORDS:
            return self.metrics.quality >= GOOD_QUALITY
        subject = content_words(" ".join(word for word in words if word not in _CONTAINING_WORDS))
        return bool(subject) and subject <= content_words(self.source.prompt.text)

    # ---- numbers

    def _fill_number(self, schema: Schema, name: str, *, is_whole: bool) -> float:
        """Return a number within the bounds of the schema: measured, found, or counted."""
        # 1. The bounds, moved inwards to the steps that are allowed.
        step = schema.get("multipleOf") or (1 if is_whole else None)
        low = _lower_bound(schema, step)
        high = _upper_bound(schema, step)
        if low is not None and high is not None and low > high:
            raise Unfillable(name, "bounds with a number between them")
        # 2. The number, rounded to a step, or to decimals that suit its range.
        value = self._find_number(name, low, high)
        if step:
            value = round(value / step) * step
        elif not is_whole:
            value = round(value, 2 if high is None or high > 1 else 4)
        # 3. Rounding may have left the bounds.
        if low is not None and value < low:
            value = math.ceil(low / step - _ROUND) * step if step else low
        if high is not None and value > high:
            value = math.floor(high / step + _ROUND) * step if step else high
        return value

    def _find_number(self, name: str, low: float | None, high: float | None) -> float:
        words = set(_split_name(name))
        if words & _RATING_WORDS:
            bottom = 0.0 if low is None else low
            top = high
            if top is None:
                top = max(bottom, 1.0 if words & _FRACTION_WORDS else 10.0)
            return bottom + self.metrics.quality * (top - bottom)
        count = self._count(words)
        if count is not None:
            return count
        for number in self._list_numbers(words):
            if (low is None or number >= low) and (high is None or number <= high):
                return number
        # The text holds none: a judgement between the bounds, or the size of the text.
        if low is not None and high is not None:
            return low + self.metrics.quality * (high - low)
        return float(len(self.source.sentences))

    def _has_number_for(self, name: str) -> bool:
        """Return whether there is a number for a field without guessing.

        It is measured, counted, or in a sentence that speaks of the field.
        """
        words = set(_split_name(name))
        if words & _RATING_WORDS or self._count(words) is not None:
            return True
        subject = {stem(word) for word in words}
        return any(
            _NUMBER.search(sentence.text)
            for sentence in self.source.prompt.sentences
            if sentence.words & subject
        )

    def _count(self, words: set[str]) -> float | None:
        """Return what a field asks to count in the text, or None if it asks for no count."""
        text = self.source.prompt.text
        if words & {"word", "words"}:
            return float(len(text.split()))
        if words & {"character", "characters", "chars", "length"}:
            return float(len(text))
        if not words & {"sentence", "sentences"}:
            return None
        count = 0
        for section in self.source.prompt.sections:
            count += sum(len(split_sentences(paragraph)) for paragraph in section.paragraphs)
        return float(count)

    def _list_numbers(self, words: set[str]) -> list[float]:
        """Return the numbers of the text; those of sentences that speak of the field first."""
        subject = {stem(word) for word in words}
        by_relevance = sorted(
            self.source.prompt.sentences, key=lambda sentence: -len(sentence.words & subject)
        )
        texts = [sentence.text for sentence in by_relevance] or [self.source.prompt.text]
        return [
            float(re.sub(r"[, ]", "", digits)) for text in texts for digits in _NUMBER.findall(text)
        ]

    # ---- strings

    def _fill_string(self, schema: Schema, name: str) -> str:
        """Return a string: found by its form, or taken from sentences that suit the field."""
        form, pattern = str(schema.get("format", "")), schema.get("pattern")
        if form not in _FREE_FORMATS or pattern:
            return self._find_form(form, pattern, name)
        shortest = int(schema.get("minLength", 0))
        longest = int(schema.get("maxLength", self.most_characters))
        text = self._write_text(schema, name, max(longest, 1))
        if len(text) < shortest:
            text = self._lengthen(text)
        if len(text) < shortest:
            reason = f"{shortest} characters, and the text has no more than {len(text)}"
            raise Unfillable(name, reason)
        return _cut(text, shortest, longest)

    def _lengthen(self, text: str) -> str:
        """Return the text with all sentences of the source that it does not hold yet."""
        for sentence in self.source.sentences:
            quoted = quote_text(sentence.text)
            if quoted not in text:
                text = f"{text} {quoted}"
        return text

    def _find_form(self, form: str, pattern: str | None, name: str) -> str:
        """Return the first text of a format or pattern."""
        # The pattern is searched inside of the text, so it must not be tied to its ends.
        search = _FORMATS.get(form, "")
        if pattern:
            search = pattern.removeprefix("^").removesuffix("$")
        try:
            for match in re.finditer(search, self.source.prompt.text):
                text = match.group()
                if text and (not pattern or re.search(pattern, text)):
                    return text
        except re.error:
            pass  # a pattern of another dialect than Python's: the text cannot be searched for it
        needs = f"text of the form '{pattern or form}', and the text holds none"
        raise Unfillable(name, needs)

    def _write_text(self, schema: Schema, name: str, longest: int) -> str:
        """Return text for a field by the words of its name."""
        words = set(_split_name(name))
        about = f"{name} {schema.get('description', '')}"
        if words & _REASON_WORDS:
            return self.metrics.feedback
        if not self.source.order:
            return explain_missing_text(self.source)
        if words & _TITLE_WORDS:
            headings = self.source.prompt.headings
            return headings[0] if headings else _shorten_to_title(self.source.headline)
        if words & _TEXT_WORDS:
            most_characters = min(longest, self.most_characters)
            return compose_text(self.source, purpose=about, most_characters=most_characters)
        return quote_text(self.source.sentences[self._take_sentence(about)].text)

    def _take_sentence(self, about: str) -> int:
        """Take the sentence closest to the words about a field, of those not taken yet.

        If none is close, it is the most important one.
        """
        subject = content_words(about.replace("_", " "))
        fresh = [index for index in self.source.order if index not in self.used]
        choices = fresh or list(self.source.order)
        sentences = self.source.sentences
        best = max(choices, key=lambda index: len(sentences[index].words & subject))
        self.used.add(best)
        return best

    # ---- lists

    def _fill_array(self, schema: Schema, name: str) -> list[Any]:
        """Return a list: labels that occur, or one item for each of the best sentences.

        The items are in the order of the text.
        """
        fewest = int(schema.get("minItems", 0))
        most = int(schema.get("maxItems", max(fewest, _ITEMS)))
        if "prefixItems" in schema:
            return [self.fill(item, name) for item in schema["prefixItems"]]
        item: Schema = schema.get("items", {})
        if self.depth >= _DEEPEST:
            most = fewest
        labels = self._resolve(item, name).get("enum")
        if labels:
            values = self._select_labels(labels, fewest)
        else:
            values = self._fill_items(item, name, fewest, most)
        if schema.get("uniqueItems"):
            values = [value for index, value in enumerate(values) if value not in values[:index]]
        if len(values) < fewest:
            raise Unfillable(name, f"{fewest} items, and the text gives {len(values)}")
        return values[:most]

    def _select_labels(self, labels: Sequence[Any], fewest: int) -> list[Any]:
        """Return the labels that the text mentions, at least one, and others up to `fewest`."""
        mentioned = set(find_mentioned_labels([str(label) for label in labels], self.source))
        if not mentioned:
            mentioned = {str(self._choose_label(labels))}
        chosen = [label for label in labels if str(label) in mentioned]
        others = [label for label in labels if label not in chosen]
        return [*chosen, *others][: max(fewest, len(chosen))]

    def _fill_items(self, item: Schema, name: str, fewest: int, most: int) -> list[Any]:
        if most <= 0:
            return []
        name_words = _split_name(name)
        is_string = self._resolve(item, name).get("type") == "string"
        if is_string and _TERM_WORDS & set(name_words):
            terms = key_terms(self.source.prompt.text)[: max(fewest, min(most, _ITEMS))]
            return [term for term in terms if _fits_bounds(item, term)]
        singular = stem(name_words[-1]) if name_words else "item"
        values: list[Any] = []
        for filler in self._split_source(fewest, most):
            try:
                values.append(filler.fill(item, singular))
            except Unfillable:
                # An item that cannot be filled is left out, but a list that needs items says why.
                if fewest and not values:
                    raise
        return values

    def _split_source(self, fewest: int, most: int) -> list[SchemaFiller]:
        """Return a filler for each of the best sentences, in their order.

        They are those of the whole text if this part has too few.
        """
        if len(self.source.order) < fewest and self.whole is not None:
            whole = replace(self, source=self.whole, whole=None)
            return whole._split_source(fewest, most)
        best = self.source.order[: max(fewest, min(most, _ITEMS))]
        return [self._narrow_to(index) for index in sorted(best)]

    def _narrow_to(self, index: int) -> SchemaFiller:
        """Return a filler that sees only one sentence and the next one of its section."""
        sentence = self.source.sentences[index]
        neighbours = self.source.sentences[index : index + 2]
        texts = [item.text for item in neighbours if item.section == sentence.section]
        prompt = ParsedPrompt(
            instructions=self.source.prompt.instructions,
            remarks="",
            sections=(Section("", texts),),
            headings=(),
            sentences=(replace(sentence, section=0),),
        )
        return SchemaFiller(
            Source(prompt),
            self.definitions,
            self.most_characters,
            self.depth + 1,
            self.whole or self.source,
        )

    # ---- objects

    def _fill_object(self, schema: Schema, name: str) -> dict[str, Any]:
        """Return an object: its declared fields, or for an open one terms of the text as keys."""
        if self.depth > _DEEPEST:
            raise Unfillable(name, "an object inside itself without end")
        inner = replace(self, depth=self.depth + 1)
        properties: Mapping[str, Schema] = schema.get("properties", {})
        required = set(schema.get("required", ()))
        values: dict[str, Any] = {}
        for key, item in properties.items():
            try:
                values[key] = inner.fill(item, key)
            except Unfillable:
                if key in required:
                    raise
        if properties:
            return values
        additional = schema.get("additionalProperties")
        if isinstance(additional, Mapping):
            return inner._fill_entries(schema, cast("Schema", additional), name)
        return inner._fill_entries(schema, {}, name) if additional is True else values

    def _fill_entries(self, schema: Schema, item: Schema, name: str) -> dict[str, Any]:
        """Return an open object whose keys are labels or terms of the text."""
        fewest = int(schema.get("minProperties", 0))
        most = int(schema.get("maxProperties", max(fewest, _ENTRIES)))
        names: Schema = self._resolve(schema.get("propertyNames", {}), name)
        if "pattern" in names or "format" in names:
            keys = [self._fill_string(names, name)] if fewest else []
        elif "enum" in names:
            keys = [str(label) for label in names["enum"]]
        else:
            keys = key_terms(self.source.prompt.text)
        if len(keys) < fewest:
            raise Unfillable(name, f"{fewest} entries, and the text gives {len(keys)}")
        # A declared set of keys is filled whole, unless the object has to be empty.
        if most and "enum" in names:
            most = len(keys)
        return {key: self.fill(item, key) for key in keys[:most]}


def _is_optional_number(choices: Sequence[Schema]) -> bool:
    """Return whether a union is a number or null.

    A `Decimal` may also come as a string with a pattern, which does not count.
    """
    kinds = {str(choice.get("type")) for choice in choices if "pattern" not in choice}
    return kinds in ({"null", "integer"}, {"null", "number"}, {"null", "integer", "number"})


def _fits_bounds(schema: Schema, text: str) -> bool:
    """Return whether a string of a list is within the bounds of its schema."""
    if "pattern" in schema or "format" in schema:
        return False
    shortest, longest = int(schema.get("minLength", 0)), int(schema.get("maxLength", len(text)))
    return shortest <= len(text) <= longest


def _shorten_to_title(sentence: str) -> str:
    """Return the beginning of a sentence: up to its first pause, ten words at most."""
    pause = re.search(r"[,;:.] |[.!?]$| (?:and|because|but|so|that|which|while) ", sentence[12:])
    words = (sentence[: 12 + pause.start()] if pause else sentence).split()
    title = " ".join(words[:10])
    return f"{title} …" if len(words) > 10 else title


def _split_name(name: str) -> list[str]:
    """Return the words of a field's name: `needsRevision` and `needs_revision` are two."""
    return split_words(re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name).replace("_", " "))


def _lower_bound(schema: Schema, step: float | None) -> float | None:
    """Return the smallest number that the bounds allow, or None without one."""
    limits = [float(schema["minimum"])] if "minimum" in schema else []
    if "exclusiveMinimum" in schema:
        edge = float(schema["exclusiveMinimum"])
        limits.append(edge + _smallest_distance(edge, step))
    return max(limits, default=None)


def _upper_bound(schema: Schema, step: float | None) -> float | None:
    """Return the largest number that the bounds allow, or None without one."""
    limits = [float(schema["maximum"])] if "maximum" in schema else []
    if "exclusiveMaximum" in schema:
        edge = float(schema["exclusiveMaximum"])
        limits.append(edge - _smallest_distance(edge, step))
    return min(limits, default=None)


def _smallest_distance(edge: float, step: float | None) -> float:
    return step or max(abs(edge), 1.0) * 1e-6


def _cut(text: str, shortest: int, longest: int) -> str:
    """Return at most so many characters, up to the end of a word if there is one late enough."""
    if len(text) <= longest:
        return text
    end = text.rfind(" ", shortest, longest)
    return text[: end if end > longest // 2 else longest]
