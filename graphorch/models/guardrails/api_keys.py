"""Detect keys of providers by their formats.

The formats are those that providers document for secret scanners (GitHub, "Supported secret
scanning patterns", 2026). Public parts of credentials (client ids, publishable keys) are not
secrets.
"""

from __future__ import annotations

import re

from graphorch.models.guardrails.detector import RegexDetector, locate_whole_match

_KEY_FORMATS = (
    r"sk-ant-[A-Za-z0-9_-]{24,200}+",  # Anthropic
    r"sk-or-v1-[0-9a-f]{32,128}+",  # OpenRouter
    r"(?:rqy[_-]|rqsty-sk-)[A-Za-z0-9_\-+/]{20,200}+",  # Requesty
    r"sk-lf-[0-9a-f-]{36}",  # Langfuse
    r"sk-(?:proj|svcacct|admin|None)-[A-Za-z0-9_-]{20,200}+",  # OpenAI
    r"sk-[A-Za-z0-9]{20,100}+",  # OpenAI, DeepSeek, LiteLLM and many that follow them
    r"AIza[A-Za-z0-9_-]{35}",  # Google
    r"GOCSPX-[A-Za-z0-9_-]{28}",
    r"ya29\.[A-Za-z0-9_-]{30,1024}+",
    r"(?:AKIA|ASIA|ABIA|ACCA)[A-Z2-7]{16}",  # AWS
    r"gh[pousr]_[A-Za-z0-9]{36,255}+",  # GitHub
    r"github_pat_[A-Za-z0-9_]{60,255}+",
    r"gl(?:pat|ptt|dt|rt|cbt|soat)-[A-Za-z0-9_-]{20,100}+",  # GitLab
    r"xox[abeoprs]-[A-Za-z0-9-]{20,250}+",  # Slack
    r"xapp-\d-[A-Za-z0-9-]{20,250}+",
    r"[rs]k_(?:live|test)_[A-Za-z0-9]{16,250}+",  # Stripe
    r"hooks\.slack\.com/services/T[A-Z0-9]{6,12}/B[A-Z0-9]{6,12}/[A-Za-z0-9]{20,30}+",
    r"discord(?:app)?\.com/api/webhooks/\d{17,20}/[A-Za-z0-9_-]{60,80}+",
    r"whsec_[A-Za-z0-9+/]{24,100}+",
    r"SK[0-9a-f]{32}",  # Twilio
    r"SG\.[A-Za-z0-9_-]{16,32}\.[A-Za-z0-9_-]{32,64}+",  # SendGrid
    r"hf_[A-Za-z0-9]{30,100}+",  # Hugging Face
    r"npm_[A-Za-z0-9]{36}",
    r"pypi-AgE[A-Za-z0-9_-]{50,500}+",
    r"gsk_[A-Za-z0-9]{40,100}+",  # Groq
    r"xai-[A-Za-z0-9]{60,100}+",
    r"pplx-[A-Za-z0-9]{32,100}+",  # Perplexity
    r"r8_[A-Za-z0-9]{37}",  # Replicate
    r"nvapi-[A-Za-z0-9_-]{40,100}+",
    r"tvly-[A-Za-z0-9-]{20,100}+",  # Tavily
    r"lsv2_(?:pt|sk)_[0-9a-f]{32}_[0-9a-f]{10}",  # LangSmith
    r"do[opr]_v1_[0-9a-f]{64}",  # DigitalOcean
    r"shp(?:at|ca|pa|ss)_[0-9a-fA-F]{32}",  # Shopify
    r"dapi[0-9a-f]{32}",  # Databricks
    r"dckr_pat_[A-Za-z0-9_-]{20,64}+",  # Docker
    r"ATATT3[A-Za-z0-9_\-=]{40,250}+",  # Atlassian
    r"ntn_[A-Za-z0-9]{40,60}+",  # Notion
    r"lin_api_[A-Za-z0-9]{32,64}+",  # Linear
    r"glsa_[A-Za-z0-9]{32}_[0-9a-f]{8}",  # Grafana
    r"hv[sb]\.[A-Za-z0-9_-]{24,200}+",  # Vault
    r"sq0(?:atp|csp)-[A-Za-z0-9_-]{22,43}+",  # Square
    r"key-[0-9a-f]{32}",  # Mailgun
    r"AGE-SECRET-KEY-1[A-Z0-9]{58}",
    r"\d{8,10}:AA[A-Za-z0-9_-]{33}",  # Telegram
    r"[MNO][A-Za-z0-9_-]{23,27}\.[A-Za-z0-9_-]{6}\.[A-Za-z0-9_-]{27,40}+",  # Discord
)
# First characters of all formats, so that a search can skip to them.
_FIRST = "[srAgGyxwSHhnpPtldMNO\\dakq]"
API_KEY = (
    RegexDetector(
        "api_key",
        re.compile(rf"(?={_FIRST})(?<![A-Za-z0-9_])(?:{'|'.join(_KEY_FORMATS)})(?![A-Za-z0-9])"),
        locate_whole_match,
    ),
)
