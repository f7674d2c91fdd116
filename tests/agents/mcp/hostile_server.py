"""An MCP server over standard input and output that misbehaves as its arguments say.

It is one file without imports beyond the standard library, so that it starts in milliseconds.

    python hostile_server.py [--modern] [--note FILE] BEHAVIOUR…

`--note FILE` appends the name of every call that it takes, which is how tests count effects.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from typing import Any

ARGUMENTS = sys.argv[1:]
OBJECT: dict[str, Any] = {"type": "object", "properties": {"text": {"type": "string"}}}


def has(behaviour: str) -> bool:
    return behaviour in ARGUMENTS


def read_option(name: str) -> str | None:
    return ARGUMENTS[ARGUMENTS.index(name) + 1] if name in ARGUMENTS else None


def write(data: bytes) -> None:
    sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()


def answer(number: Any, result: Any) -> None:
    if has("--modern"):
        result = {"resultType": "complete", **result}
    write(json.dumps({"jsonrpc": "2.0", "id": number, "result": result}).encode() + b"\n")


def refuse(number: Any, code: int, message: str, data: Any = None) -> None:
    error = {"code": code, "message": message, **({"data": data} if data is not None else {})}
    write(json.dumps({"jsonrpc": "2.0", "id": number, "error": error}).encode() + b"\n")


def say(text: str) -> dict[str, Any]:
    return {"content": [{"type": "text", "text": text}]}


def describe(name: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "description": f"Tool {name}.", "inputSchema": OBJECT, **more}


def list_tools(cursor: str | None) -> dict[str, Any]:
    if has("endless-pages"):
        return {"tools": [], "nextCursor": "again"}
    if has("pages"):
        page = int(cursor or 0)
        more = {"nextCursor": str(page + 1)} if page < 4 else {}
        return {"tools": [describe(f"tool{page}")], **more}
    if has("two-of-one-name"):
        return {"tools": [describe("echo"), describe("echo")]}
    if has("no-schema"):
        return {"tools": [{"name": "echo", "description": "It has no schema."}]}
    if has("bad-schema"):
        return {"tools": [describe("echo", inputSchema={"type": "object", "required": "text"})]}
    if has("outside-reference"):
        schema = {"type": "object", "properties": {"text": {"$ref": "http://127.0.0.1:9/x"}}}
        return {"tools": [describe("echo", inputSchema=schema)]}
    if has("many"):
        return {"tools": [describe(f"tool{number}") for number in range(50)]}
    number = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
    description = read_option("--description") or "Tool echo."
    echo = describe("echo", description=description)
    return {
        "tools": [
            echo,
            describe("fail"),
            describe("die"),
            describe("sleep"),
            describe("large"),
            describe("bytes"),
            describe("environment"),
            describe("ask"),
            describe("links"),
            describe("count", inputSchema=number),
            describe("lie", outputSchema=number),
            describe("look", annotations={"readOnlyHint": True}),
            describe("wipe", annotations={"destructiveHint": True}),
            describe("märchen / erzählen"),
        ]
    }


def call(number: Any, name: str, arguments: dict[str, Any], params: dict[str, Any]) -> None:
    note = read_option("--note")
    if note:
        with open(note, "a") as file:
            file.write(f"{name} {json.dumps(arguments, sort_keys=True)}\n")
    if name == "echo":
        answer(number, say(json.dumps(arguments, sort_keys=True)))
    elif name == "fail":
        answer(number, {**say("no such file"), "isError": True})
    elif name == "die":
        sys.stderr.write(f"fatal: out of paper, key {os.environ.get('PAPER_KEY', '')}\n")
        sys.stderr.flush()
        os._exit(3)
    elif name == "sleep":
        time.sleep(float(arguments.get("text") or 3600))
        answer(number, say("awake"))
    elif name == "large":
        size = int(arguments.get("text") or 50_000_000)
        answer(number, say("x" * size))
    elif name == "bytes":
        write(b'{"jsonrpc":"2.0","id":%d,"result":{"content":[],"x":"\xff\xfe"}}\n' % number)
    elif name == "environment":
        answer(number, say(json.dumps(dict(os.environ), sort_keys=True)))
    elif name == "lie":
        answer(number, {**say("n is many"), "structuredContent": {"n": "many"}})
    elif name == "links":
        links = [{"url": "https://bank.example/login", "message": "Log in.", "elicitationId": "a"}]
        refuse(number, -32042, "Log in first.", {"elicitations": links})
    elif name == "ask":
        ask(number, params)
    elif name == "refused":
        refuse(number, -32602, "arguments refused")
    else:
        answer(number, say(name))


def ask(number: Any, params: dict[str, Any]) -> None:
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
    question = {"message": "How many?", "requestedSchema": schema}
    if has("--modern"):
        responses = params.get("inputResponses")
        if not responses:
            request = {"method": "elicitation/create", "params": {"mode": "form", **question}}
            result = {"resultType": "input_required", "inputRequests": {"q": request}}
            answer(number, {**result, "requestState": "sealed"})
            return
        told = {"answer": responses["q"], "state": params.get("requestState")}
        answer(number, say(json.dumps(told, sort_keys=True)))
        return
    request = {"jsonrpc": "2.0", "id": "q1", "method": "elicitation/create", "params": question}
    write(json.dumps(request).encode() + b"\n")
    reply = json.loads(sys.stdin.readline())
    answer(number, say(json.dumps(reply["result"], sort_keys=True)))


def handle(message: dict[str, Any]) -> None:
    method, number = message.get("method"), message.get("id")
    params = message.get("params") or {}
    if method == "server/discover" and has("--modern"):
        capabilities = {"tools": {}}
        result = {"supportedVersions": ["2026-07-28"], "capabilities": capabilities}
        answer(number, {**result, "ttlMs": 0, "cacheScope": "private"})
    elif method == "initialize":
        version = "1999-01-01" if has("old") else params["protocolVersion"]
        info = {"name": "hostile", "version": "1"}
        result = {"protocolVersion": version, "capabilities": {"tools": {}}, "serverInfo": info}
        answer(number, result)
    elif method == "tools/list":
        result = list_tools(params.get("cursor"))
        hints = {"ttlMs": 0, "cacheScope": "private"}
        answer(number, {**result, **(hints if has("--modern") else {})})
    elif method == "tools/call":
        call(number, params["name"], params.get("arguments") or {}, params)
    elif number is not None and method is not None:
        refuse(number, -32601, f"unknown method {method}")


def main() -> None:
    if has("exit"):
        sys.stderr.write("usage: this server needs a licence\n")
        sys.exit(2)
    if has("noise"):
        write(b"Listening on nothing in particular\n\xff\xfe\n[1, 2]\n")
    if has("flood"):
        sys.stderr.write("x" * 5_000_000)
    if has("mute"):
        time.sleep(3600)
    if has("child"):
        pid = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(3600)"]).pid
        with open(read_option("--note") or os.devnull, "a") as file:
            file.write(f"child {pid}\n")
    if has("stubborn"):
        import signal

        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    for line in sys.stdin:
        handle(json.loads(line))
    if has("stubborn"):
        time.sleep(3600)


main()
