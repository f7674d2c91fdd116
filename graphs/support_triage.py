"""Support requests sorted by a classifier, with a second opinion where it is unsure.

    graphorch run graphs/support_triage.py --request "I was charged twice for March."
    graphorch compare graphs/support_triage.py:flow graphs/support_triage.py:one_for_all \\
        --inputs graphs/samples/support_requests.jsonl --score graphs/support_triage.py:right

Specialists answer from their pages. The labels are exhaustive by type: a category without a
specialist would not build. Below a confidence of 0.6 the second opinion counts, or the request goes
to the general desk, which asks back instead of guessing. The second opinion is a list of key words
here, so that it errs in other ways than a model does, and costs nothing. The compared flow is the
simple way: one model that classifies and answers in one go; 66 requests with their true category
say whether the router is worth it.

Offline no language model reads the requests: the embedded model sorts them by the words of the
prompt and answers with sentences of the help pages. So the figures of a comparison are about that,
not about models: name one with --model-a and --model-b.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, Field

from graphorch import Graph, Node, agent, node

Category = Literal["billing", "shipping", "technical", "account", "other"]
HELP = {
    title.strip(): text.strip()
    for title, text in re.findall(
        r"^# (.+)$\n+((?:(?!^# ).*\n?)*)",
        Path(__file__).with_name("samples").joinpath("support_help.md").read_text("utf-8"),
        re.M,
    )
}
KEYWORDS = {
    "billing": """
        bill charge charged invoice pay paid payment price refund money receipt discount vat
        card transfer
    """.split(),
    "shipping": """
        parcel package deliver delivery delivered courier tracking ship address return returned
        customs carton box collect ordered warehouse
    """.split(),
    "technical": """
        sensor app update updated error crashes battery light connect export display firmware
        api bluetooth widget offline notifications pairing
    """.split(),
    "account": """
        account password sign signed login household member members profile codes registration
        factor locked deleted
    """.split(),
}
ASKED = """Which desk should answer this request? Choose one category:
billing (invoices, charges, payments, refunds, prices, discounts);
shipping (parcels, delivery, tracking, damage on the way, returns, addresses of orders);
technical (the sensor, the app, errors, updates, connection, battery, measurements);
account (password, sign in, second factor, household members, profile, deletion of data);
other (press, jobs, partnerships, ideas, praise and complaints about us).

Request:
"""


class Request(BaseModel):
    request: str = Field(min_length=1, description="what the customer writes")


class Triage(BaseModel):
    category: Category = "other"
    confidence: float = Field(default=0, ge=0, le=1, description="1: only one desk can be meant")


class Reply(BaseModel):
    reply: str = ""


class Handled(Triage, Reply): ...


class Support(Request, Handled): ...


@agent(
    output=Triage,
    instructions=(
        "You sort support requests for a maker of weather sensors. You read all before you decide."
    ),
    max_tokens=200,
    timeout=60,
)
def classify(request: Request) -> str:
    return ASKED + request.request


@node
def by_keywords(request: Request) -> Triage:
    words = re.findall(r"[a-z]+", request.request.lower())
    hits: dict[Category, int] = {"billing": 0, "shipping": 0, "technical": 0, "account": 0}
    for category in hits:
        hits[category] = sum(word in KEYWORDS[category] for word in words)
    best = max(hits, key=lambda item: hits[item])
    if not hits[best]:
        return Triage(category="other", confidence=0.6)
    return Triage(category=best, confidence=hits[best] / sum(hits.values()))


def specialist(category: str) -> Node[Any]:
    @agent(
        output=Reply,
        name=category,
        instructions=f"You answer for the {category} desk, briefly and from the page only.",
        max_tokens=600,
        timeout=60,
    )
    def answer(request: Request) -> str:
        return (
            f"Page:\n{HELP[category]}\n\n"
            f"Task: answer this request in two sentences: {request.request}"
        )

    return answer


@agent(
    output=Reply,
    instructions=(
        "You are the general desk. You never guess: you say what is unclear and ask one question."
    ),
    max_tokens=300,
    timeout=60,
)
def general(request: Request, triage: Triage) -> str:
    return (
        "Which detail is missing to know whom to ask about this? "
        f"Our best guess is {triage.category}.\n\nRequest:\n{request.request}"
    )


@agent(
    output=Handled,
    instructions=(
        "You answer support requests for a maker of home weather sensors, from the pages only."
    ),
    max_tokens=600,
    timeout=60,
)
def answer_all(request: Request) -> str:
    return (
        f"{ASKED}{request.request}\n\nThen answer it in two sentences from these pages.\n\n"
        + "\n\n".join(HELP.values())
    )


def category_of(triage: Triage) -> Category:
    return triage.category


def confidence_of(triage: Triage) -> float:
    return triage.confidence


def right(request: Request, handled: Handled, line: dict[str, Any]) -> float:
    """Return the score of a comparison: 1 if the request came to the right desk."""
    return float(handled.category == line["category"])


desks: dict[Category, Node[Any]] = {
    "billing": specialist("billing"),
    "shipping": specialist("shipping"),
    "technical": specialist("technical"),
    "account": specialist("account"),
    "other": specialist("other"),
}
graph = Graph("support_triage", Support, input=Request, output=Handled)
graph.router(
    classify,
    category_of,
    desks,
    default=general,
    confidence=confidence_of,
    threshold=0.6,
    second_opinion=by_keywords,
)
flow = graph.build()
one_for_all = Graph("one_for_all", Support, input=Request, output=Handled).chain(answer_all).build()
sample = Request(
    request=(
        "The parcel with my sensor has not moved for six days, "
        "and the tracking page still says that a label was created."
    )
)


if __name__ == "__main__":
    print(f"Run this flow with: graphorch run {__file__}")
