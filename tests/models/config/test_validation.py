"""Problems of a well-formed configuration, with their lines."""

from __future__ import annotations

from pathlib import Path

import pytest

from graphorch.errors import InputError
from graphorch.models.config.loader import parse_config, read_config
from graphorch.models.config.router import Router
from graphorch.models.config.schema import Config, PolicyConfig, TargetConfig
from tests.models.config.examples import WHOLE, read_changed
from tests.models.config.files import write_config

# What is replaced in the whole file, its replacement, and the line, field and text of the error.
WRONG = [
    (
        'endpoint = "direct"',
        'endpoint = "dircet"',
        r":16: policies\.careful\.targets\.1\.endpoint: there is no endpoint 'dircet'\. "
        "Did you mean 'direct'",
    ),
    (
        'default_endpoint = "main"',
        'default_endpoint = "mein"',
        r":2: default_endpoint: there is no endpoint 'mein'\. Did you mean 'main'",
    ),
    ('at_cap = "policy/split"', 'at_cap = "stop"', r":33: budgets\.run\.at_cap: at_cap='stop'"),
    (
        'base_url = "https://api',
        'base_url = "api',
        r":10: endpoints\.direct\.base_url: base_url is not an address",
    ),
    ('kind = "weighted"', 'kind = "cascade"', r":23: policies\.split: a cascade needs a check"),
    (
        'kind = "weighted"',
        'kind = "cheapest"\nfloor = 5',
        r":25: policies\.split\.floor: no target has a quality of 5",
    ),
    (
        'default_model = "policy/careful"',
        'default_model = "default"',
        r":1: default_model: 'default' stands for agents that name no model",
    ),
    (
        'default_model = "policy/careful"',
        'default_model = "openai/gpt-5 "',
        r":1: default_model: 'openai/gpt-5 ' begins or ends with a space",
    ),
    (
        'key_env = "OPENAI_API_KEY"',
        'key_env = "sk-proj-0123456789abcdefghij"',
        r":11: endpoints\.direct\.key_env: it holds the name of a variable, and this looks like",
    ),
    (
        'base_url = "https://api',
        'base_url = "http://api',
        r":10: endpoints\.direct\.base_url: it would send its key over plain http",
    ),
    (
        'dialect = "openai"',
        'dialect = "openai"\nfree = true\nmarkup = 0.1',
        r":14: endpoints\.direct\.markup: a free endpoint adds nothing",
    ),
    (
        'dialect = "openai"',
        'dialect = "openai"\ncaps_output = false\nmax_output = 5',
        r":14: endpoints\.direct\.max_output: the endpoint does not obey a limit",
    ),
    (
        'dialect = "requesty"',
        'dialect = "requesty"\noptions = { auto_cache = "no" }',
        r":8: endpoints\.main\.options: option 'auto_cache' of a requesty endpoint is a switch",
    ),
    (
        "[endpoints.direct]",
        '[endpoints.environment]\nbase_url = "https://x.example/v1"\n[endpoints.direct]',
        r":9: endpoints\.environment: that name is the one of the endpoint that OPENAI_BASE_URL",
    ),
    (
        '{ model = "gpt-5", endpoint = "direct" }',
        '{ model = "gpt-5", weight = 3 }',
        r":16: policies\.careful\.targets\.1\.weight: only a weighted policy reads weight",
    ),
    (
        'model = "openai/gpt-5-nano", weight = 1',
        'model = "openai/gpt-5-nano", quality = 1',
        r":25: policies\.split\.targets\.1\.quality: only a cheapest policy reads quality",
    ),
    (
        "attempt_timeout = 30",
        "floor = 0.5",
        r":21: policies\.careful\.floor: only a cheapest policy reads floor",
    ),
    (
        "attempt_timeout = 30",
        "on = []",
        r":21: policies\.careful\.on: no failure would lead to another target",
    ),
    (
        "attempt_timeout = 30",
        'on = ["timeout", "timeout"]',
        r":21: policies\.careful\.on\.1: 'timeout' is there twice",
    ),
    (
        "attempt_timeout = 30",
        "hedge_share = 0.5",
        r":21: policies\.careful\.hedge_share: no copies are sent without hedge_after",
    ),
    (
        "attempt_timeout = 30",
        "attempt_timeout = 30\nhedge_after = 30",
        r":22: policies\.careful\.hedge_after: an attempt ends after 30 s",
    ),
    (
        "[policies.split]",
        '[policies.single]\nkind = "fallback"\ntargets = ["a"]\nhedge_after = 2\n[policies.split]',
        r":26: policies\.single\.hedge_after: a copy goes to the next target, and there is ",
    ),
    (
        "[policies.split]",
        '[policies."policy/x"]\nkind = "fallback"\ntargets = ["a"]\n[policies.split]',
        r":23: policies\.policy/x: 'policy/x' is no name of a policy",
    ),
    (
        '"policy/split",\n',
        '{ model = "policy/split", endpoint = "direct" },\n',
        r":16: policies\.careful\.targets\.2: 'split' is a policy of this file",
    ),
    (
        '"policy/split",\n',
        '{ model = "policy/split", reaches = ["a"] },\n',
        r":16: policies\.careful\.targets\.2\.reaches: policy/split is a policy of this file",
    ),
    (
        '{ model = "gpt-5", endpoint = "direct" }',
        '{ model = "openai/gpt-5", endpoint = "main" }',
        r":16: policies\.careful\.targets\.1: 'openai/gpt-5' is there twice",
    ),
    (
        "rpm = 60\nconcurrency = 8\n",
        "",
        r":27: limits\.openai/gpt-5: it limits nothing",
    ),
    (
        '[limits."openai/gpt-5"]',
        '[limits."policy/split"]',
        r":27: limits\.policy/split: 'policy/split' is a policy",
    ),
    (
        '[prices."openai/gpt-5"]',
        '[prices."policy/split"]',
        r":44: prices\.policy/split: 'policy/split' is a policy",
    ),
    ("usd = 0.50\n", "", r":31: budgets\.run: it limits nothing"),
    ("tokens = 100_000", "", r":35: budgets\.tags\.research: it limits nothing"),
    (
        "attempt_timeout = 30",
        "retry = { first = 5, longest = 1 }",
        r":21: policies\.careful\.retry: .*first ≤ longest",
    ),
    (
        "attempt_timeout = 30",
        "latency = { explore = 4 }",
        r":21: policies\.careful\.latency: only a fastest policy reads latency",
    ),
    ("shares = [0.5, 0.8]", "shares = []", r":39: alerts\.shares: nothing would be announced"),
    (
        'secrets = "mask"',
        'secrets = { kinds = ["api_kye"] }',
        r":42: guards\.secrets\.kinds: .*there is no such kind\. Did you mean 'api_key'",
    ),
    (
        "attempt_timeout = 30",
        'on = ["timeout", "sever"]',
        r":21: policies\.careful\.on\.1: there is no failure 'sever'\. Did you mean 'server'",
    ),
]


@pytest.mark.parametrize(("old", "new", "expected"), WRONG)
def test_validation_error_names_its_line(tmp_path: Path, old: str, new: str, expected: str) -> None:
    """Name the line, the field and the problem of a well-formed but wrong value."""
    with pytest.raises(InputError, match=rf"graphorch\.toml{expected}"):
        read_changed(tmp_path, old, new)


def test_unknown_policy_gets_suggestion(
    tmp_path: Path,
) -> None:
    """Suggest a policy for an unknown one, unless the gateway may have it."""
    misspelt = WHOLE.replace('"policy/split",\n', '"policy/spilt",\n')
    # the default endpoint is Requesty, which has policies of its own
    read_config(write_config(tmp_path, misspelt))
    with pytest.raises(
        InputError,
        match=r":16: policies\.careful\.targets\.2: there is no policy 'spilt'\. "
        "Did you mean 'split'",
    ):
        read_config(
            write_config(tmp_path, misspelt.replace('dialect = "requesty"', 'dialect = "generic"'))
        )


def test_circle_of_policies_is_refused(tmp_path: Path) -> None:
    """Refuse policies that lead in a circle."""
    text = "".join(
        f'[policies.{a}]\nkind = "fallback"\ntargets = ["m", "policy/{b}"]\n'
        for a, b in ("ab", "bc", "ca")
    )
    with pytest.raises(
        InputError, match=r":3: policies\.a\.targets: the policies lead in a circle: a → b → c → a"
    ):
        read_config(write_config(tmp_path, text))
    with pytest.raises(InputError, match="circle: a → a"):
        parse_config({"policies": {"a": {"kind": "fallback", "targets": ["policy/a"]}}})


def test_zero_weights_are_refused() -> None:
    """Refuse weights that sum to zero."""
    targets = [{"model": "a", "weight": 0}, {"model": "b", "weight": 0}]
    with pytest.raises(InputError, match="the weights sum to nothing"):
        parse_config({"policies": {"p": {"kind": "weighted", "targets": targets}}})


def test_repeated_target_is_refused() -> None:
    """Refuse a target that appears twice."""
    with pytest.raises(InputError, match=r"targets\.1: 'm' is there twice"):
        parse_config({"policies": {"p": {"kind": "fallback", "targets": ["m", "m"]}}})


KEYS = [
    "sk-proj-abcdefghijk1234567890", "sk_live_51H8abcdefghijklmnop",
    "hf_abcdefghijKLMNOPQRSTuvwxyz",
    "AIzaSyD4e5f6g7h8i9j0klmnopqrstuvwxyz123", "gsk_A8f3kLq9ZxWv7tYu2RnB5mC1", "my key", "",
    "xai-1234567890", "xai_1234567890abcdef12345678", "0123456789abcdef0123456789abcdef",
    "ABCDEF0123456789ABCDEF0123456789", "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl",
    "Bearer abc", "$OPENAI_API_KEY", "${KEY}", "A" * 65,
]  # fmt: skip
VARIABLES = [
    "OPENAI_API_KEY", "KEY", "key", "openai_api_key", "MY_COMPANY_OPENAI_API_KEY_V2", "_K", "R2",
    "AZURE_OPENAI_KEY_EAST_US_2", "TOGETHERAI_KEY_2026_11", "MyCompanyKey", "GATEWAY9_TOKEN",
]  # fmt: skip


@pytest.mark.parametrize("key", KEYS)
def test_pasted_key_is_refused_unseen(key: str) -> None:
    """Refuse a key where the name of a variable belongs, without repeating it."""
    endpoint = {"base_url": "https://x.example/v1", "key_env": key}
    with pytest.raises(InputError, match=r"endpoints\.main\.key_env: .*looks like a key") as caught:
        parse_config({"endpoints": {"main": endpoint}})
    assert not key or key not in str(caught.value)


@pytest.mark.parametrize("name", VARIABLES)
def test_name_of_variable_is_taken(name: str) -> None:
    """Take every usual name of a variable."""
    parse_config({"endpoints": {"main": {"base_url": "https://x.example/v1", "key_env": name}}})


# What is replaced in the whole file, its replacement, and the warning with its line and field.
ODD = [
    (
        '[limits."openai/gpt-5"]',
        '[limits."openai/gtp-5"]',
        r":27: limits\.openai/gtp-5: no policy, default_model or price names 'openai/gtp-5'\. "
        "Did you mean 'openai/gpt-5'",
    ),
    (
        '{ model = "gpt-5", endpoint = "direct" }',
        '"gpt-5"',
        r":9: endpoints\.direct: no target names it",
    ),
    (
        "[budgets.tags.research]",
        "[budgets.node]\nusd = 2\n[budgets.tags.research]",
        r":36: budgets\.node\.usd: a node never reaches \$2, since a whole run may spend \$0\.5",
    ),
    (
        "[policies.split]",
        '[policies.good]\nkind = "cheapest"\nfloor = 5\n'
        'targets = [{ model = "a", quality = 9 }, { model = "b", quality = 1 }]\n[policies.split]',
        r":26: policies\.good\.targets\.1: 'b' has a quality of 1, below the floor of 5",
    ),
    (
        "[policies.split]",
        '[policies.one]\nkind = "cascade"\ncheck = "valid"\ntargets = ["a"]\n[policies.split]',
        r":26: policies\.one\.targets: a cascade of one target checks nothing",
    ),
    ("input = 1.25", "input = 0.00000125", r":44: prices\.openai/gpt-5: prices are dollars per"),
    (
        "input = 1.25",
        "input = 1.25\ncached_input = 2",
        r":46: prices\.openai/gpt-5\.cached_input: input from the cache is dearer",
    ),
]


@pytest.mark.parametrize(("old", "new", "expected"), ODD)
def test_odd_value_is_warned_about(tmp_path: Path, old: str, new: str, expected: str) -> None:
    """Warn about what is odd and may be meant, with its line and field."""
    with pytest.warns(UserWarning, match=rf"graphorch\.toml{expected}"):
        read_changed(tmp_path, old, new)


def test_limits_of_known_models_are_fine(tmp_path: Path) -> None:
    """Do not warn about limits of models that a price or the list knows."""
    text = '[limits."openai/gpt-5"]\nrpm = 1\n[limits.house]\nrpm = 1\n'
    read_config(write_config(tmp_path, text + "[prices.house]\ninput = 1\noutput = 1\n"))


def test_model_of_program_is_checked() -> None:
    """Check a configuration that a program made like one of a file."""
    policy = PolicyConfig(kind="fallback", targets=[TargetConfig(model="policy/x")])
    with pytest.raises(InputError, match=r"policies\.x\.targets: the policies lead in a circle"):
        Router(Config(policies={"x": policy}), environment={})
