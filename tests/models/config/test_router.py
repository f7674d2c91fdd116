"""Routes from a name to the model that answers, with and without a configuration."""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import Mapping
from pathlib import Path

import pytest
from pydantic import BaseModel

from graphorch.clock import Runtime
from graphorch.errors import InputError, ModelError
from graphorch.models.budgets.budget import Account, Budget, CapReached, CapRules
from graphorch.models.config.loader import parse_config
from graphorch.models.config.router import Router, RouterParts
from graphorch.models.config.schema import Config
from graphorch.models.messages import Request, Response
from graphorch.models.openai.gateways import Connection
from graphorch.models.policies.failure_kinds import NotAnswered
from tests.models.fakes import Answer, FakeModel, Flat, Table, ignore, request_to, status
from tests.models.servers import (
    Handler,
    completion,
    hangs_up,
    never_answers,
    pieces_of,
    replies,
    serve,
    streams,
)
from tests.models.virtual import run
from tests.open_files import list_open_files


class Verdict(BaseModel):
    score: int


ENDPOINTS = {
    "main": {"base_url": "http://127.0.0.1:1/v1", "key_env": "MAIN_KEY"},
    "gateway": {
        "base_url": "http://127.0.0.1:2/v1",
        "dialect": "requesty",
        "key_env": "GATEWAY_KEY",
    },
}
KEYS = {"MAIN_KEY": "k1", "GATEWAY_KEY": "k2"}


class Endpoints:
    """Fake models behind the endpoints, with the connections that were made."""

    def __init__(self, **models: FakeModel) -> None:
        self.models = models
        self.connected: list[Connection] = []

    def connect(self, connection: Connection) -> FakeModel:
        self.connected.append(connection)
        return self.models.setdefault(connection.name, FakeModel())


def router(
    runtime: Runtime,
    config: Config,
    endpoints: Endpoints,
    *,
    prices: Mapping[str, Flat] | None = None,
    environment: Mapping[str, str] = KEYS,
) -> Router:
    def is_long(request: Request, response: Response) -> bool:
        return len(response.text) > 5

    parts = RouterParts(
        checks={"long": is_long},
        prices=Table(prices or {}),
        connect=endpoints.connect,
        runtime=runtime,
    )
    return Router(config, environment=environment, parts=parts)


def config(**tables: object) -> Config:
    return parse_config({"endpoints": ENDPOINTS, **tables})


def test_plain_model_uses_default_endpoint() -> None:
    """Send a plain model to the default endpoint."""

    async def main(runtime: Runtime) -> None:
        endpoints = Endpoints()
        response = await router(runtime, config(default_endpoint="gateway"), endpoints).complete(
            request_to("openai/gpt-5")
        )
        assert [
            (connection.name, connection.gateway.name) for connection in endpoints.connected
        ] == [("gateway", "requesty")]
        assert endpoints.models["gateway"].requests[0].model == "openai/gpt-5"
        assert response.decision is not None
        assert (response.decision.kind, response.decision.answered_by) == ("direct", "openai/gpt-5")

    run(main)


def test_router_works_from_environment() -> None:
    """Route with the environment alone."""

    async def main(runtime: Runtime) -> None:
        endpoints = Endpoints()
        environment = {
            "OPENAI_BASE_URL": "http://127.0.0.1:9/v1",
            "OPENAI_API_KEY": "k",
            "GRAPHORCH_MODEL": "small",
        }
        await router(runtime, Config(), endpoints, environment=environment).complete(
            request_to("default")
        )
        assert endpoints.connected[0].endpoint.host == "127.0.0.1:9"
        assert endpoints.models["environment"].requests[0].model == "small"

    run(main)


def test_policy_asks_targets_at_endpoints() -> None:
    """Ask each target of a policy at its own endpoint."""

    async def main(runtime: Runtime) -> None:
        endpoints = Endpoints(main=FakeModel(status(500)), gateway=FakeModel(Answer("second")))
        policies = {
            "p": {"kind": "fallback", "targets": ["m", {"model": "m", "endpoint": "gateway"}]}
        }
        response = await router(runtime, config(policies=policies), endpoints).complete(
            request_to("policy/p")
        )
        assert response.decision is not None
        assert [attempt.target for attempt in response.decision.attempts] == ["m", "m at gateway"]
        assert response.text == "second"

    run(main)


@pytest.mark.parametrize("kind", ["fallback", "weighted", "cheapest", "fastest", "cascade"])
def test_policies_of_all_kinds_nest(kind: str) -> None:
    """Answer with every kind of policy, also nested."""

    async def main(runtime: Runtime) -> None:
        policies = {
            "outer": {"kind": kind, "targets": ["policy/inner"], "check": "valid"},
            "inner": {"kind": kind, "targets": ["a", "b"], "check": "long", "hedge_after": 60},
        }
        endpoints = Endpoints(main=FakeModel(Answer("short"), Answer("long enough")))
        response = await router(runtime, config(policies=policies), endpoints).complete(
            request_to("policy/outer")
        )
        assert response.text == "long enough"
        assert response.decision is not None
        assert (response.decision.kind, response.decision.answered_by) == (kind, "policy/inner")

    run(main)


def test_gateway_policy_is_passed_on() -> None:
    """Pass on a policy that belongs to the gateway."""

    async def main(runtime: Runtime) -> None:
        endpoints = Endpoints()
        await router(runtime, config(default_endpoint="gateway"), endpoints).complete(
            request_to("policy/theirs")
        )
        assert endpoints.models["gateway"].requests[0].model == "policy/theirs"

    run(main)


def test_model_without_policy_is_no_policy_in_error() -> None:
    """A model that was asked by its name is called a model, and equal attempts are counted."""

    async def main(runtime: Runtime) -> None:
        endpoints = Endpoints(main=FakeModel(*[status(500)] * 20))
        with pytest.raises(NotAnswered) as caught:
            await router(runtime, config(default_endpoint="main"), endpoints).complete(
                request_to("m")
            )
        count = len(endpoints.models["main"].requests)
        assert count > 1
        assert str(caught.value) == (
            f"Model 'm' gave no answer (m: server ({count} times)). "
            "See the cause, which says how to mend it."
        )

    run(main)


def test_retrying_gateway_is_asked_once() -> None:
    """Ask a gateway that retries by itself once a call."""

    async def main(runtime: Runtime) -> None:
        endpoints = Endpoints(
            gateway=FakeModel(status(500)), main=FakeModel(status(500), Answer("back"))
        )
        with pytest.raises(Exception, match="gave no answer"):
            await router(runtime, config(default_endpoint="gateway"), endpoints).complete(
                request_to("m")
            )
        assert len(endpoints.models["gateway"].requests) == 1
        assert (
            await router(runtime, config(default_endpoint="main"), endpoints).complete(
                request_to("m")
            )
        ).text == "back"

    run(main)


def test_policies_share_target_health() -> None:
    """Share the health of a target between the policies that name it."""

    async def main(runtime: Runtime) -> None:
        endpoints = Endpoints(
            main=FakeModel(*[status(500)] * 5, Answer("back")), gateway=FakeModel(Answer("other"))
        )
        other = {"model": "m", "endpoint": "gateway"}
        policies = {
            name: {"kind": "fallback", "targets": ["m", other], "rounds": 1} for name in ("p", "q")
        }
        both = router(runtime, config(policies=policies), endpoints)
        for _ in range(5):
            await both.complete(request_to("policy/p"))
        response = await both.complete(request_to("policy/q"))
        assert response.decision is not None
        assert response.decision.candidates[0].skipped == "its circuit is open for 30 s"

    run(main)


@pytest.mark.parametrize(
    ("name", "tables", "environment", "expected"),
    [
        (
            "policy/carefull",
            {"policies": {"careful": {"kind": "fallback", "targets": ["m"]}}},
            KEYS,
            r"no policy 'carefull'\. Did you mean 'careful'",
        ),
        ("m", {}, {}, r"Endpoint 'main' takes its key from MAIN_KEY, and that variable is not set"),
        ("default", {}, KEYS, "names no model, and there is no default"),
        (
            "policy/p",
            {"policies": {"p": {"kind": "cascade", "targets": ["m"], "check": "lnog"}}},
            KEYS,
            r"no check 'lnog'\. Did you mean 'long'",
        ),
        ("m", {"endpoints": {}}, {}, "Model 'm' has no endpoint. Set OPENAI_BASE_URL"),
    ],
)
def test_unknown_name_is_refused_early(
    name: str, tables: dict[str, object], environment: dict[str, str], expected: str
) -> None:
    """Refuse a name that leads nowhere before any call."""

    async def main(runtime: Runtime) -> None:
        endpoints = Endpoints()
        with pytest.raises(InputError, match=expected):
            await router(runtime, config(**tables), endpoints, environment=environment).complete(
                request_to(name)
            )
        assert all(model.requests == [] for model in endpoints.models.values())

    run(main)


CHEAPER = {
    "dear": {"kind": "fallback", "targets": ["dear"]},
    "cheap": {"kind": "fallback", "targets": ["cheap"]},
}
PRICES = {"dear": Flat(1e-3), "cheap": Flat(1e-6)}


def test_cap_switches_to_cheaper_policy() -> None:
    """Ask the declared cheaper policy at the cap."""

    async def main(runtime: Runtime) -> None:
        account = Account("run", Budget(usd=0.25), rules=CapRules(at_cap="policy/cheap"))
        both = router(runtime, config(policies=CHEAPER), Endpoints(), prices=PRICES)
        request = request_to("policy/dear", payer=account, max_tokens=150)
        first, second = await both.complete(request), await both.complete(request)
        assert [response.model for response in (first, second)] == ["dear", "cheap"]
        assert (
            second.note
            == "'policy/dear' did not fit the budget of 'run' any more, so policy/cheap was asked"
        )

    run(main)


def test_cheaper_policy_may_not_fit() -> None:
    """Fail if the cheaper policy does not fit either."""

    async def main(runtime: Runtime) -> None:
        account = Account("run", Budget(usd=1e-9), rules=CapRules(at_cap="policy/cheap"))
        endpoints = Endpoints()
        request = request_to("policy/dear", payer=account, max_tokens=100)
        with pytest.raises(CapReached):
            await router(runtime, config(policies=CHEAPER), endpoints, prices=PRICES).complete(
                request
            )
        assert all(model.requests == [] for model in endpoints.models.values())

    run(main)


@pytest.mark.parametrize("at_cap", ["fail", "route"])
def test_cap_error_names_declaration(at_cap: str) -> None:
    """Raise a typed error at the cap, with the declared behaviour."""

    async def main(runtime: Runtime) -> None:
        account = Account("run", Budget(usd=1e-9), rules=CapRules(at_cap=at_cap))
        with pytest.raises(CapReached) as caught:
            await router(runtime, config(policies=CHEAPER), Endpoints(), prices=PRICES).complete(
                request_to("policy/cheap", payer=account)
            )
        assert caught.value.at_cap == at_cap

    run(main)


WIRE_FAILURES = {
    "500": replies({"error": {"message": "broken"}}, 500),
    "429": replies({"error": {"message": "slow down"}}, 429, {"retry-after": "3600"}),
    "timeout": never_answers,
    "web page": replies("<html>please log in</html>", kind="text/html"),
    "cut stream": streams(pieces_of("half an")[:2], then="cut"),
    "stream without an end": streams(pieces_of("half an", finish_reason=None)),
    "broken JSON": replies('{"choices": [', kind="application/json"),
    "invalid output": replies(completion('{"score": "high"}')),
    "hangs up": hangs_up,
}


@pytest.mark.parametrize(
    "failure",
    [
        pytest.param(name, marks=[pytest.mark.slow] if name == "timeout" else [])
        for name in WIRE_FAILURES
    ],
)
def test_fallback_endpoint_answers_at_once(
    failure: str,
) -> None:
    """Fail over to the next endpoint over the wire, each with its own key."""
    # its import takes seconds on a busy machine, and would count as the first attempt's time
    importlib.import_module("openai")

    async def no_pause(seconds: float) -> None:
        pytest.fail(f"it waited {seconds} s")

    async def main() -> None:
        async with (
            serve(WIRE_FAILURES[failure]) as broken,
            serve(replies({**completion('{"score": 3}'), "model": "m-2"})) as working,
        ):
            endpoints = {
                "first": {"base_url": broken.url, "key_env": "FIRST_KEY"},
                "second": {"base_url": working.url, "key_env": "SECOND_KEY"},
            }
            targets = [
                {"model": "m-1", "endpoint": "first"},
                {"model": "m-2", "endpoint": "second"},
            ]
            policies = {
                "p": {
                    "kind": "fallback",
                    "targets": targets,
                    "attempt_timeout": 1 if failure == "timeout" else 30,
                }
            }
            prices = {"m-1": {"input": 1, "output": 1}, "m-2": {"input": 2, "output": 4}}
            wired = Router(
                parse_config({"endpoints": endpoints, "policies": policies, "prices": prices}),
                environment={"FIRST_KEY": "sk-first", "SECOND_KEY": "sk-second"},
                parts=RouterParts(runtime=Runtime(sleep=no_pause)),
            )
            account = Account("run", Budget(usd=1))
            on_text = ignore if "stream" in failure else None
            response = await wired.complete(
                request_to("policy/p", schema=Verdict, payer=account, timeout=60.0), on_text
            )
            await wired.aclose()
            assert [server.asked[0].headers["authorization"] for server in (broken, working)] == [
                "Bearer sk-first",
                "Bearer sk-second",
            ]
            assert (len(broken.asked), len(working.asked)) == (1, 1)
            assert (response.model, response.usd_source) == ("m-2", "table")
            assert account.report().reserved.usd == 0
            assert account.spent.usd >= response.usd > 0

    asyncio.run(main())


def test_router_repr_hides_keys() -> None:
    """Keep keys out of every representation."""

    async def main(runtime: Runtime) -> None:
        made = router(runtime, config(), Endpoints(), environment={"MAIN_KEY": "sk-secret"})
        await made.complete(request_to("m"))
        assert "sk-secret" not in repr(made) + repr(made.resolve("m"))

    run(main)


def test_endpoint_may_omit_finish_reason() -> None:
    """Take answers without a finish reason from an endpoint whose table says so."""

    async def main(table: dict[str, object]) -> str:
        async with serve(replies(completion("hi", None))) as server:
            config = Config.model_validate(
                {"endpoints": {"local": {"base_url": server.url, **table}}}
            )
            client = Router(config, environment={})
            try:
                return (await client.complete(request_to("m"))).text
            finally:
                await client.aclose()

    assert asyncio.run(main({"sends_finish_reason": False})) == "hi"
    with pytest.raises(ModelError, match="malformed"):
        asyncio.run(main({"attempts": 1}))


def test_routers_of_one_file_share_limits(tmp_path: Path) -> None:
    """Two routers whose configuration keeps spending in one file share a pause of a target."""

    async def main(runtime: Runtime) -> None:
        config = Config.model_validate(
            {
                "endpoints": {"e": {"base_url": "http://127.0.0.1:1/v1"}},
                "budgets": {"kept": str(tmp_path / "spend.db")},
            }
        )
        model = FakeModel(status(429, retry_after=20), Answer())
        parts = RouterParts(connect=lambda connection: model, runtime=runtime)
        first, second = (Router(config, environment={}, parts=parts) for _ in range(2))
        with pytest.raises(NotAnswered):
            await first.complete(request_to("m", timeout=5))
        with pytest.raises(NotAnswered, match="m was not asked: it asked to be left alone"):
            await second.complete(request_to("m", timeout=5))
        assert len(model.requests) == 1
        for router in (first, second):
            await router.aclose()
        assert not list_open_files(tmp_path)

    run(main)


@pytest.mark.parametrize(
    "first",
    [
        replies({"error": {"code": "content_filter", "message": "no"}}, 400),
        replies({"error": {"code": "context_length_exceeded", "message": "no"}}, 400),
        replies([{"error": {"message": "The input token count (9) exceeds the maximum"}}], 400),
        replies({"message": "Input is too long for requested model."}, 400),
        replies({"choices": None, "error": {"code": 502, "message": "no"}}),
        replies({"object": "error", "message": "maximum context length is 9", "code": 400}),
        replies(completion("", "content_filter")),
        replies(completion("<think>hm</think>")),
        replies(completion("half", None)),
    ],
)
@pytest.mark.parametrize("streamed", [False, True])
def test_fallback_follows_what_endpoint_says(first: Handler, streamed: bool) -> None:
    """Go on to the next endpoint from every failure that it may not have, in any words."""

    async def main() -> tuple[str, int]:
        async with serve(first) as one, serve(replies(completion("hi"))) as two:
            policy = {
                "kind": "fallback",
                "targets": [{"model": "m", "endpoint": "one"}, {"model": "m", "endpoint": "two"}],
            }
            endpoints = {
                "one": {"base_url": one.url, "attempts": 1},
                "two": {"base_url": two.url},
            }
            config = Config.model_validate({"endpoints": endpoints, "policies": {"p": policy}})
            client = Router(config, environment={})
            try:
                on_text = [].append if streamed else None
                response = await client.complete(request_to("policy/p"), on_text)
                return response.text, len(one.asked)
            finally:
                await client.aclose()

    assert asyncio.run(main()) == ("hi", 1)
