# SPDX-License-Identifier: Apache-2.0
"""The fields of request bodies that a gateway forwards, by route.

Other fields are refused. Model servers have many of their own, and some of these set the length of an answer beside the
field that bounds its price (n_predict, max_new_tokens, generation_config), load code, tensors or adapters
(logits_processors, prompt_embeds, lora_path), or reach the template and the host (chat_template, mm_processor_kwargs,
kv_transfer_params, priority). A provider can allow more by name.
"""

from __future__ import annotations

from typing import Any, Final

from serving_network.gateway.refusals import RequestRefused
from serving_network.gateway.routes import Route

_SAMPLING: Final = {
    "temperature", "top_p", "top_k", "min_p", "typical_p", "presence_penalty", "frequency_penalty",
    "repetition_penalty", "length_penalty", "logit_bias", "seed", "stop", "stop_token_ids", "bad_words", "min_tokens",
    "ignore_eos", "skip_special_tokens", "spaces_between_special_tokens", "include_stop_str_in_output",
}  # fmt: skip
_STRUCTURE: Final = {
    "response_format", "structured_outputs", "guided_json", "guided_regex", "guided_choice", "guided_grammar", "regex",
    "ebnf", "json_schema",
}  # fmt: skip
_CALLER: Final = {"user", "metadata", "prompt_cache_key", "prompt_cache_retention", "safety_identifier"}
_STREAM: Final = {"model", "stream", "stream_options", "store"}

FIELDS: Final[dict[Route, frozenset[str]]] = {
    Route.CHAT: frozenset(
        {
            "messages", "max_tokens", "max_completion_tokens", "n", "logprobs", "top_logprobs", "tools", "tool_choice",
            "parallel_tool_calls", "functions", "function_call", "reasoning_effort", "reasoning", "include_reasoning",
            "separate_reasoning", "verbosity", "chat_template_kwargs",
        }
        | _STREAM | _SAMPLING | _STRUCTURE | _CALLER
    ),
    Route.COMPLETIONS: frozenset(
        {"prompt", "suffix", "echo", "best_of", "n", "logprobs", "max_tokens"}
        | _STREAM | _SAMPLING | _STRUCTURE | _CALLER
    ),
    Route.RESPONSES: frozenset(
        {
            "input", "instructions", "max_output_tokens", "tools", "tool_choice", "parallel_tool_calls", "text",
            "reasoning", "include", "truncation", "temperature", "top_p", "top_logprobs",
        }
        | _STREAM | _CALLER
    ),
    Route.MESSAGES: frozenset(
        {
            "model", "stream", "messages", "system", "max_tokens", "stop_sequences", "temperature", "top_k", "top_p",
            "tools", "tool_choice", "thinking", "metadata", "cache_control",
        }
    ),
    Route.EMBEDDINGS: frozenset({"model", "input", "encoding_format", "dimensions", "user"}),
    Route.IMAGES: frozenset(
        {
            "model", "prompt", "negative_prompt", "n", "size", "width", "height", "quality", "style", "seed", "user",
            "response_format", "background", "moderation", "output_format", "output_compression", "guidance_scale",
            "num_inference_steps",
        }
    ),
    Route.IMAGE_EDITS: frozenset(
        {
            "model", "prompt", "negative_prompt", "n", "size", "quality", "seed", "user", "response_format",
            "background", "output_format", "output_compression", "input_fidelity", "guidance_scale",
            "num_inference_steps",
        }
    ),
    Route.TRANSCRIPTIONS: frozenset(
        {
            "model", "language", "prompt", "response_format", "temperature", "timestamp_granularities[]", "stream",
            "include[]",
        }
    ),
}  # fmt: skip

_STATEFUL: Final = {
    "previous_response_id": "Send the whole conversation as input.",
    "conversation": "Send the whole conversation as input.",
    "prompt": "Send its text as instructions.",
    "background": "Send the request without background and read the answer as a stream.",
}
"""Fields of responses that make the model server keep an answer, or read one that it kept for any of its users."""
_TEMPLATE_SWITCHES: Final = {"enable_thinking", "thinking", "reasoning_effort"}
_STREAM_OPTIONS: Final = {"include_usage", "include_obfuscation", "continuous_usage_stats"}
_CLIENT_TOOLS: Final[dict[Route, set[Any]]] = {
    Route.CHAT: {"function", "custom"},
    Route.RESPONSES: {"function", "custom"},
    Route.MESSAGES: {None, "custom"},
}


def check_fields(route: Route, body: dict[str, Any], extra: frozenset[str] = frozenset()) -> None:
    """Check the names of a body's fields, and what tools and templates get. Raises RequestRefused with 400.

    `extra` are further fields that the provider allows. Stateful fields that are false are removed.
    """
    if route is Route.RESPONSES:
        for name, instead in _STATEFUL.items():
            if body.pop(name, False) is not False:
                raise RequestRefused(
                    400,
                    "stateful_request",
                    f"This gateway keeps no answers for later requests, so it does not take {name}.",
                    param=name,
                    next_step=instead,
                )
    known = FIELDS[route] | extra
    for name in body:
        if name not in known:
            raise RequestRefused(400, "unknown_parameter", f"{name} is not a parameter of this gateway.", param=name)
    _check_tools(route, body.get("tools"))
    _check_switches(body.get("chat_template_kwargs"))


def stream_options(body: dict[str, Any]) -> dict[str, Any]:
    """The stream options of a body. Raises RequestRefused."""
    options = body.get("stream_options")
    if options is None:
        return {}
    if not isinstance(options, dict) or options.keys() - _STREAM_OPTIONS:
        allowed = ", ".join(sorted(_STREAM_OPTIONS))
        raise RequestRefused(400, "invalid_value", f"stream_options takes {allowed} only.", param="stream_options")
    return options


def _check_tools(route: Route, tools: Any) -> None:
    if tools is None:
        return
    if not isinstance(tools, list):
        raise RequestRefused(400, "invalid_value", "tools is not a list.", param="tools")
    for place, tool in enumerate(tools):
        kind = tool.get("type") if isinstance(tool, dict) else 0
        if not (kind is None or isinstance(kind, str)) or kind not in _CLIENT_TOOLS[route]:
            raise RequestRefused(
                400,
                "unsupported_tool",
                f"tools.{place} is not a tool that the client runs itself; this gateway runs no tools.",
                param=f"tools.{place}.type",
            )


def _check_switches(switches: Any) -> None:
    """Template arguments are passed by name to the code that renders the template, so only known ones are forwarded."""
    if switches is None:
        return
    if (
        not isinstance(switches, dict)
        or switches.keys() - _TEMPLATE_SWITCHES
        or not all(isinstance(value, (bool, str)) for value in switches.values())
    ):
        allowed = ", ".join(sorted(_TEMPLATE_SWITCHES))
        raise RequestRefused(
            400, "invalid_value", f"chat_template_kwargs takes {allowed} only.", param="chat_template_kwargs"
        )
