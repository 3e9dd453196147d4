"""A language model of a few hundred kilobytes whose every answer is known, in the form that llama.cpp loads.

It is a LLaMA of one layer that adds nothing to the residual: a token's embedding is one of the axes, so the output
matrix is a table of what follows what, with likelihoods of the test's choosing. After whatever prompt it says the
pieces that it was made of. It judges nothing; it shows that the judge and a real server understand each other.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import gguf
import numpy as np

BEGIN, END, ANSWER = "<s>", "</s>", "<|answer|>"
TEMPLATE = "{% for message in messages %}{{ message.content }}{% endfor %}" + ANSWER
WIDTH, HIDDEN, CONTEXT = 320, 32, 8192
NEVER = -60.0

Piece = str | Mapping[str, float]
"""What is said next; or what could be said, with likelihoods, the likeliest of which goes on."""


def write_model(path: Path, pieces: Sequence[Piece]) -> Path:
    """Write a model that answers `pieces`."""
    choices = [piece if isinstance(piece, Mapping) else {piece: 1.0} for piece in pieces]
    spoken = sorted({text for choice in choices for text in choice})
    known = ["<unk>", BEGIN, END, *(f"<0x{byte:02X}>" for byte in range(256)), ANSWER, *spoken]
    kinds = gguf.TokenType
    types = [kinds.UNKNOWN, kinds.CONTROL, kinds.CONTROL, *[kinds.BYTE] * 256, kinds.CONTROL]
    types += [kinds.USER_DEFINED] * len(spoken)

    writer = gguf.GGUFWriter(path, "llama")
    writer.add_context_length(CONTEXT)
    writer.add_embedding_length(WIDTH)
    writer.add_block_count(1)
    writer.add_feed_forward_length(HIDDEN)
    writer.add_head_count(1)
    writer.add_layer_norm_rms_eps(1e-6)
    writer.add_rope_dimension_count(WIDTH)
    writer.add_vocab_size(len(known))
    writer.add_tokenizer_model("llama")
    writer.add_token_list([token.encode() for token in known])
    writer.add_token_scores([0.0] * len(known))
    writer.add_token_types(types)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_unk_token_id(0)
    writer.add_add_space_prefix(value=False)
    writer.add_chat_template(TEMPLATE)
    for name, tensor in _tensors(known, choices).items():
        writer.add_tensor(name, tensor.astype(np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _tensors(known: Sequence[str], choices: Sequence[Mapping[str, float]]) -> dict[str, np.ndarray]:
    embedding = np.eye(len(known), WIDTH)
    follows = np.full((len(known), WIDTH), NEVER)
    now = known.index(ANSWER)
    for choice in [*choices, {END: 1.0}]:
        for text, likely in choice.items():
            follows[known.index(text), now] = math.log(likely)
        now = known.index(max(choice, key=choice.__getitem__))
    square, wide = np.zeros((WIDTH, WIDTH)), np.zeros((HIDDEN, WIDTH))
    return {
        "token_embd.weight": embedding,
        "output_norm.weight": np.ones(WIDTH),
        # The norm makes an axis as long as the root of the width.
        "output.weight": follows / math.sqrt(WIDTH),
        "blk.0.attn_norm.weight": np.ones(WIDTH),
        "blk.0.attn_q.weight": square,
        "blk.0.attn_k.weight": square,
        "blk.0.attn_v.weight": square,
        "blk.0.attn_output.weight": square,
        "blk.0.ffn_norm.weight": np.ones(WIDTH),
        "blk.0.ffn_gate.weight": wide,
        "blk.0.ffn_up.weight": wide,
        "blk.0.ffn_down.weight": wide.T,
    }
