"""A vendor contract read before it is signed: three reviews at once, and one memo.

    graphorch run graphs/due_diligence.py
    graphorch run graphs/due_diligence.py --contract @contract.md \\
        --context "We move 212 shops within six months."

Lawyers, finance and engineers look at the contract at once, and each review has two minutes: one
that fails or is late does not delay the memo, which says what is missing and why. A review quotes
the clauses that it is about, so that a reader can check it.

Offline no language model reads: the embedded model picks the clauses that hold the words of each
question, and the memo is made of them. It cannot weigh them.
"""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, Field

from graphorch import Graph, agent, node
from graphorch.patterns import Gaps

EACH = 120.0  # seconds for a review

LEGAL = (
    "You are a lawyer for the customer. Which clauses put us at a legal risk? Look for: term, "
    "notice and termination; suspension;\n"
    "liability, its limit and indemnity; use of our data, subprocessors and breach of personal "
    "data; assignment and change of control; governing\n"
    "law; changes by the vendor alone."
)
FINANCIAL = (
    "You are a controller of the customer. Which clauses may cost more than the price that was "
    "quoted? Look for: fees, volume and\n"
    "set-up costs; yearly increase and index; invoices and interest; work outside of the scope "
    "and its rate per day; credits and their limit;\n"
    "audit; the price of leaving early."
)
TECHNICAL = (
    "You run the systems of the customer. Which clauses may leave our shops without a working "
    "system? Look for: availability and\n"
    "how it is measured; incidents; restoration and loss of data; the peak of orders per minute; "
    "limits of requests; versions that are not\n"
    "compatible; encryption, keys and sign-on; escrow."
)


class Contract(BaseModel):
    contract: str = Field(min_length=1, description="the text of the contract")
    context: str = Field(default="", description="what we want to do with it")


class Legal(BaseModel):
    legal: str = ""


class Financial(BaseModel):
    financial: str = ""


class Technical(BaseModel):
    technical: str = ""


class Memo(BaseModel):
    memo: str


class Deal(Contract, Legal, Financial, Technical, Gaps, Memo):
    """State of a run: the contract, three reviews, the missing ones, and the memo."""


def asked(contract: Contract) -> str:
    prompt = (
        "Name the seven sentences of the contract that matter most, "
        "with the numbers of their clauses, and say why.\n\n"
        f"Contract:\n{contract.contract}"
    )
    if contract.context:
        prompt += f"\n\nTask: {contract.context}"
    return prompt


@agent(output=Legal, instructions=LEGAL, max_tokens=1_200)
def legal(contract: Contract) -> str:
    return asked(contract)


@agent(output=Financial, instructions=FINANCIAL, max_tokens=1_200)
def financial(contract: Contract) -> str:
    return asked(contract)


@agent(output=Technical, instructions=TECHNICAL, max_tokens=1_200)
def technical(contract: Contract) -> str:
    return asked(contract)


@node
def write_memo(law: Legal, money: Financial, machines: Technical, gaps: Gaps) -> Memo:
    parts = {"Legal": law.legal, "Financial": money.financial, "Technical": machines.technical}
    missing = [f"- The {name} review is missing: {why}" for name, why in gaps.gaps.items()]
    chapters = [f"## {title}\n\n{text}" for title, text in parts.items() if text]
    return Memo(
        memo="\n\n".join(
            ["# Before we sign", *(["\n".join(missing)] if missing else []), *chapters]
        )
    )


@node
def open_file(contract: Contract) -> Contract | None:
    """Begin a run; refuse a text that is not a contract before three models read it."""
    words = len(contract.contract.split())
    if words < 50:
        raise ValueError(f"{words} words are no contract. Give its whole text: --contract @file.md")
    return None


graph = Graph("due_diligence", Deal, input=Contract, output=Memo)
graph.chain(open_file, [legal, financial, technical])
graph.fan_out([legal, financial, technical], write_memo, deadline=EACH)
flow = graph.build()

sample = Contract(
    contract=Path(__file__).with_name("samples").joinpath("vendor_contract.md").read_text("utf-8"),
    context=(
        "We want to move 212 shops before Christmas, "
        "and the last Black Friday had 1,750 orders per minute."
    ),
)


if __name__ == "__main__":
    print(f"Run this flow with: graphorch run {__file__}")
