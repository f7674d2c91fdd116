"""Code written against tests: a model writes, a sandbox runs the tests, failures go back to it.

    graphorch run graphs/code_generation.py --model openai/gpt-5
    graphorch run graphs/code_generation.py                        # offline, see below
    graphorch run graphs/code_generation.py --task @task.md --tests @checks.py \\
        --attempts '[]' --model openai/gpt-5

The evaluator is not an opinion: it runs the tests behind bubblewrap, without network, in a folder
that is thrown away, with limits on time and memory (`sandboxed/isolation.py` lists what the system
enforces). `--sandbox container` takes podman or docker instead. Where neither can be had, the run
ends before a model is asked; `--sandbox none` runs the code with your own rights all the same. The
loop ends when all tests pass, after four rounds, or when two rounds brought nothing; the best
attempt is kept.

Offline there is no language model, and the embedded one cannot write code. Where an answer holds no
code, the next of the prepared `attempts` of the sample takes its place, and `by` in the output says
so: what you see then is the loop and the sandbox at work (the first attempt fails most tests, the
second one never ends, the third one passes), not the skill of a model.
"""

from __future__ import annotations

import ast
import re
from pathlib import Path

from pydantic import BaseModel, Field
from sandboxed import Isolation, Limits, check_isolation, run_tests

from graphorch import Graph, agent, node

_DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)


class Task(BaseModel):
    task: str = Field(min_length=1, description="what the code shall do")
    tests: str = Field(
        min_length=1, description="Python with functions test_…, which import from `solution`"
    )
    attempts: list[str] = Field(default=[], description="prepared code for answers that hold none")
    seconds: float = Field(
        default=1.0, gt=0, le=60, description="how long all tests together may take"
    )
    sandbox: Isolation = Field(default="bubblewrap", description="what the code runs behind")
    image: str = Field(default="python:3.11-slim", description="image of the container, if any")


class Answer(BaseModel):
    answer: str


class Code(BaseModel):
    code: str = ""
    by: str = Field(default="", description="who wrote it")
    round: int = 0


class Verdict(BaseModel):
    score: float = Field(default=0, ge=0, le=10, description="10: all tests pass")
    failures: str = ""


class Wall(BaseModel):
    enforced_by: str = Field(default="", description="what the code ran behind, with its version")


class Order(Task, Code, Verdict):
    """Input of the writer: the task, and later the last attempt with its failures."""


class Writing(Order, Answer): ...


class Solution(Code, Verdict, Wall): ...


class Programming(Task, Solution): ...


@node
def check(task: Task) -> Wall:
    """Fail before a model is paid, where the code could not be run afterwards."""
    return Wall(enforced_by=check_isolation(task.sandbox, task.image))


@agent(
    output=Answer,
    instructions=(
        "You write plain Python 3.11 without packages. You answer with one code block only."
    ),
    max_tokens=3_000,
    timeout=120,
)
def write(order: Order) -> str:
    asked = f"Write the module `solution`.\n\nTask:\n{order.task}\n\nTests:\n{order.tests}"
    if not order.code:
        return asked
    return (
        f"{asked}\n\nYour last attempt:\n{order.code}\n\n"
        f"It failed:\n{order.failures}\n\nCorrect it, and keep what works."
    )


@node
def take(order: Order, answer: Answer) -> Code:
    number = order.round + 1
    code = code_in(answer.answer)
    if not code and order.attempts:
        chosen = min(number, len(order.attempts))
        return Code(
            code=order.attempts[chosen - 1],
            by=f"prepared attempt {chosen}: the model's answer held no code",
            round=number,
        )
    return Code(code=code or answer.answer, by="the model", round=number)


def code_in(answer: str) -> str:
    """Return the longest code block of an answer, or the answer itself, that is Python, or "".

    Only Python that defines a function or class counts: a short example of use beside the module
    does not take its place.
    """
    blocks = re.findall(r"```(?:python|py)?\s*\n(.*?)```", answer, re.DOTALL)
    for text in sorted([answer, *blocks], key=len, reverse=True):
        try:
            tree = ast.parse(text)
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            continue
        if any(isinstance(item, _DEFINITIONS) for item in tree.body):
            return text
    return ""


@node
async def test(task: Task, code: Code) -> Verdict:
    limits = Limits(seconds=task.seconds)
    report = await run_tests(
        code.code, task.tests, limits, isolation=task.sandbox, image=task.image
    )
    lines = [
        f"{report.passed} of {report.total or 'no'} tests passed.",
        *(f"- {failure}" for failure in report.failures),
    ]
    if report.total > 0 and not report.failures:
        return Verdict(score=10, failures="")
    # Below 10 even if every test passed: something else went wrong.
    return Verdict(score=9 * report.passed / max(report.total, 1), failures="\n".join(lines))


def order_of(state: Programming) -> Order:
    return Order(**state.model_dump())


def code_of(code: Code) -> Code:
    return code


def passes(verdict: Verdict) -> bool:
    return verdict.score >= 10


def score_of(verdict: Verdict) -> float:
    return verdict.score


writing = Graph("writing", Writing, input=Order, output=Code).chain(write, take).build()
graph = Graph("code_generation", Programming, input=Task, output=Solution)
attempt = graph.sub("attempt", writing, enter=order_of, leave=code_of)
graph.chain(check, attempt)
flow = graph.evaluator_loop(
    attempt, test, accept=passes, score=score_of, scale=(0, 10), max_rounds=4
).build()

FILES = Path(__file__).with_name("samples") / "coding_task"
sample = Task(
    task=FILES.joinpath("task.md").read_text("utf-8"),
    tests=FILES.joinpath("checks.py").read_text("utf-8"),
    attempts=[path.read_text("utf-8") for path in sorted(FILES.glob("attempt_*.py"))],
)


if __name__ == "__main__":
    print(f"Run this flow with: graphorch run {__file__}")
